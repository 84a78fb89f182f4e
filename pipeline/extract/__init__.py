"""Reads the list of stored completions so that none is missed: the client, the retries, the walk."""
