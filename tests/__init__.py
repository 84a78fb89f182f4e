"""The tests, and what attacks and measures the program."""

import os

# Processes that are started here keep the program compiled, whatever the machine says of Python: each would compile it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
