"""The program as it is in a long export, however short: walked from both ends, loaded by a helper beside the walk."""

from pipeline import beside, nightly
from pipeline.cli.main import main

if __name__ == "__main__":
    beside.ENOUGH = nightly.LONG = nightly.SLOW = 0
    main()
