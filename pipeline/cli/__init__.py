"""The command line: one file per command; parse, assemble, call, exit code. No logic lives here.

Modules import click and what is light; the rest is imported where a command runs, so that --help answers at once.
"""
