"""Keeps what the API said, durable before anything is derived from it: segments, coverage, and what is held."""
