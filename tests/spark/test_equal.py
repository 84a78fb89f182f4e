"""What Spark makes of an archive equals a local rebuild, row for row, in every table."""

import json

import pytest

from pipeline import remote
from pipeline.adopt import adopt
from pipeline.archive.segments import Archive
from pipeline.archive.tombstones import digest
from pipeline.config import Config
from pipeline.nightly import Asked
from pipeline.repair import repair
from pipeline.sandbox.recordings import load
from tests.sandbox.asking import RECORDINGS, needs_recordings
from tests.truth.world import DAY, HOUR, NOW, World, completion

from .chance import Chance
from .session import counted, different, needs, submit, unsorted

pytestmark = needs("spark", "java")
#: Tables of which the story must hold rows, or it shows nothing: all.
ALL = {
    "completions", "choices", "tool_calls", "messages", "logprobs", "metadata_history", "rejects", "runs", "coverage",
    "organization_usage", "organization_costs",
}  # fmt: skip


@pytest.fixture
def story(tmp_path):
    """Export and sweep a served source, adopt into it, and let two more have had whatever may happen, by chance."""
    with World(tmp_path, limit=5, messages=True) as world:
        ids = [world.add(NOW - age)[0] for age in range(10 * DAY, 0, -12 * HOUR)]
        world.run()
        world.store.edit(ids[2], {"team": "search"})
        body = world.store.bodies()[ids[3]]
        for id_ in ids[3:5]:
            world.store.delete(id_)
        world.clock.advance(HOUR)
        world.run(asked=Asked(sweep=True))
        world.store.add(body)
        (tmp_path / "saved.jsonl").write_text(json.dumps(completion("saved", NOW - 90 * DAY)))
        adopt(world.config(), tmp_path / "saved.jsonl", source="prod")
        world.clock.advance(HOUR)
        world.run(asked=Asked(sweep=True))
    for seed, source in enumerate(("chance", "other")):
        Chance(world.folder, source, seed).segments(60)
    return world.folder


def forget_without_end(folder, source, id_):
    """Leave a forgetting as a kill leaves it: pending, and every segment still holds the completion."""
    archive = Archive(folder.archive, source, scratch=folder.scratch)
    archive.bury(archive.tombstones.adding([digest(id_)]))


def rebuilt(folder, **settings):
    """Make the dataset anew, locally."""
    assert repair(Config(data=folder.root, duckdb=False, **settings), "parquet")[0].exit_code == 0
    return folder.parquet


def test_everything_that_may_happen(story, tmp_path):
    """Edited, gone, back, moved, forgotten by half, adopted, fetched, billed: the job's tables are those of a rebuild.

    Whatever zone and kind of timestamp the session has; files are sorted, and nothing else lies there.
    """
    forget_without_end(story, "chance", "chance-3")
    submit(tmp_path, story.archive, tmp_path / "out", "--logprobs")
    local = rebuilt(story, logprobs=True)
    assert different(local, tmp_path / "out") == {}
    assert {name for name, rows in counted(local).items() if rows} == ALL
    assert unsorted(tmp_path / "out") == []
    assert {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".crc"} == {*ALL, "_SUCCESS"}


@needs_recordings
def test_the_recorded_pages(tmp_path):
    """Every completion that the real service was recorded to list; here the job reads what `archive push` copied."""
    with World(tmp_path, limit=20) as world:
        load(world.store, RECORDINGS / "list-walks.jsonl")
        world.clock.advance(60 * DAY)
        assert world.run().sources[0].new == 373
        remote.push(world.config(), str(tmp_path / "copy"))
    (tmp_path / "segments").write_text("\n".join(remote.segment_urls(str(tmp_path / "copy"))))
    submit(tmp_path, "@segments", tmp_path / "out")
    assert different(rebuilt(world.folder), tmp_path / "out") == {}
    assert counted(tmp_path / "out")["completions"] == 373
