"""The version of this program: on the command line, in the user agent and in every run's record."""

__version__ = "0.1.0"
