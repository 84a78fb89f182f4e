"""Attacks below Python: the system calls of a run, as they come and as they fail."""
