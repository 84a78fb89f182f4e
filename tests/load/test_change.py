"""What a load changes is worked out from all its batches in one pass."""

from __future__ import annotations

from pipeline.load import change

from .made import Source, Version


def test_each_batch_is_looked_at_a_few_times(monkeypatch):
    """However many segments a load brings, as after a year of small runs, none is looked at for each of the others."""
    looked, completions = [], change._completions
    monkeypatch.setattr(change, "_completions", lambda batch: looked.append(batch) or completions(batch))
    source = Source()
    batches = [source.batch(Version(f"v{number}")) for number in range(60)]
    assert change.work_out(batches, 0).rows["completions"].num_rows == 60
    assert len(looked) <= 3 * len(batches)
