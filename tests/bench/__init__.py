"""Benchmarks: what they print are ratios, for a machine's own speed says nothing; no test asserts a time."""
