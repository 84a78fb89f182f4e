"""The public function from a segment's bytes to tables does what a load does, and nothing else."""

import dataclasses
import inspect

import pytest

import pipeline
from pipeline import arrow
from pipeline.archive.segments import Archive
from pipeline.archive.tombstones import digest
from pipeline.errors import FolderError, UsageError
from pipeline.folder import DataFolder
from pipeline.spark import flatten as on_spark
from pipeline.transform import flatten
from tests.spark.chance import Chance


@pytest.fixture
def archive(tmp_path):
    """Keep thirty segments of one source, in which everything happens."""
    folder = DataFolder(tmp_path)
    folder.scratch.mkdir(parents=True)
    chance = Chance(folder, "chance", 1)
    chance.segments(30)
    return chance.archive


def read(archive, number, **options):
    return pipeline.flatten_segment(archive.path(number).read_bytes(), **options)


def test_it_equals_what_a_load_is_given(archive):
    """Tables, and what replaces or closes older rows, are those of the batch that a load stores, segment by segment."""
    for segment in archive.after(0):
        assert read(archive, segment.number, logprobs=True) == flatten(segment, tokens=True)
        assert read(archive, segment.number) == flatten(segment)
        assert read(archive, segment.number, source="other") == flatten(dataclasses.replace(segment, source="other"))


def test_what_is_being_forgotten_is_passed_over(archive, tmp_path):
    """A completion that still has to be taken out of the segments comes out of none, as from the archive itself."""
    archive.bury(archive.tombstones.adding([digest("chance-3")]))
    forgotten = (tmp_path / "archive" / "chance" / "forgotten.json").read_bytes()
    there = Archive(tmp_path / "archive", "chance", scratch=tmp_path)
    batches = [read(archive, number, forgotten=forgotten) for number in range(1, 31)]
    assert batches == [flatten(segment) for segment in there.after(0)]
    assert "chance-3" in held(read(archive, number) for number in range(1, 31))
    assert "chance-3" not in held(batches)


def held(batches):
    return {id_ for batch in batches for id_ in batch.tables["completions"]["id"].to_pylist()}


def test_what_is_no_segment_is_refused_by_name(archive):
    """Bytes that are no segment, and a damaged list of what was forgotten, are told with the path that was given."""
    with pytest.raises(FolderError, match="s3://b/1 cannot be read as a segment"):
        pipeline.flatten_segment(b"PAR1", path="s3://b/1")
    with pytest.raises(FolderError, match=r"forgotten\.json of s3://b/1 is damaged"):
        read(archive, 1, forgotten=b"{}", path="s3://b/1")


def test_the_two_doors_are_one():
    """What ``pipeline`` hands out takes what the function behind it takes."""
    assert inspect.signature(pipeline.flatten_segment) == inspect.signature(arrow.flatten_segment)


def test_spark_that_is_not_there_is_told_in_a_sentence(monkeypatch):
    """Where PySpark is not installed the extra is named."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"PySpark is not installed.*\n.*pip install '\.\[spark\]'"):
        on_spark(None, "archive", "out")
