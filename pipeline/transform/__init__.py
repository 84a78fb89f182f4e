"""Flattens the archive's raw rows into Arrow tables; pure; the only place that knows the API's field names."""

from pipeline.transform.flatten import flatten

__all__ = ["flatten"]
