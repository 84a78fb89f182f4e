"""Mutations: the program broken on purpose, one rule at a time, and the tests that must notice."""
