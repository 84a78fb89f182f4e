"""Destinations: where batches end, behind the one interface ``handoff.Destination``, and the published snapshot.

``parquet``, ``duckdb`` and ``delta`` each keep everything of every batch; ``snapshot`` publishes DuckDB's file and
``reading`` opens what was published. Nothing is imported here: who needs no DuckDB does not wait for it.
"""
