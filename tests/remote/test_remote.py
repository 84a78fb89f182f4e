"""The archive's copy elsewhere is the archive: whole, of one machine at a time, and enough to start anew from."""

from __future__ import annotations

import itertools
import os
import shutil
from copy import copy
from dataclasses import replace
from io import BytesIO

import msgspec
import pyarrow.parquet as pq
import pytest

from pipeline import failpoints, objects, remote
from pipeline.archive import ledger
from pipeline.errors import CheckFailedError, FolderError, UsageError
from pipeline.failpoints import FailpointError
from pipeline.folder import DataFolder
from pipeline.forget import forget
from pipeline.nightly import export
from pipeline.repair import repair
from pipeline.seal import seal
from pipeline.verify import verify
from tests.cli.program import pipeline
from tests.truth.world import HOUR, World, completion, prove, rows_of_parquet, versions

URI = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Hold two nights of completions, with edits, deletions, messages and an image, for copies of it."""
    with World(tmp_path_factory.mktemp("original"), limit=10, messages=True) as one:
        one.turns = itertools.count()
        turn(one, 12)
        turn(one, 3)
        yield one


@pytest.fixture
def world(original, tmp_path):
    """Hold a copy of it."""
    return twin(original, tmp_path)


WHY = "and the archive cannot be derived again"
#: One of them.
GONE = "c0-3"


def turn(world, count):
    """Let an hour pass in which things happen, and run."""
    world.clock.advance(HOUR)
    parts = [{"type": "image_url", "image_url": {"url": URI, "detail": None}}]
    night = next(world.turns)
    for number in range(count):
        body = completion(f"c{night}-{number}", int(world.clock()) - 10 - number)
        world.store.add(body, messages=[{"role": "user", "content": parts}])
    held = sorted(world.store.bodies())
    world.store.edit(held[0], {"turn": str(world.clock())})
    world.store.delete(held[1])
    assert world.run().exit_code == 0


def twin(world, folder):
    """Return the same server with a copy of the data folder: what a restored backup is."""
    one = copy(world)
    one.data = folder / "data"
    shutil.copytree(world.data, one.data)
    one.folder = DataFolder(one.data)
    return one


def moved(world, folder):
    """Return the same server with an empty data folder: another machine."""
    one = copy(world)
    one.data = folder / "data"
    one.folder = DataFolder(one.data)
    return one


def lying(world):
    """Return every file of the archive and every blob."""
    places = (world.folder.archive, world.folder.blobs)
    return {
        path.relative_to(world.data): path.read_bytes()
        for place in places
        for path in place.rglob("*")
        if path.is_file()
    }


def test_a_lost_machine_is_restored(world, url, tmp_path):
    """From what was pushed the archive comes back byte for byte, the tables with it, and the next run goes on."""
    first = remote.push(world.config(), url)
    turn(world, 5)
    second = remote.push(world.config(), url)
    assert (first.segments, second.segments) == (first.held, second.held - first.held)
    before, tables = lying(world), rows_of_parquet(world.data)
    restored = moved(world, tmp_path / "new")
    done = remote.pull(restored.config(), url)
    assert (lying(restored), done.segments, done.blobs) == (before, done.held, 1)
    assert [result.error for result in repair(restored.config(), "all")] == [None, None]
    assert rows_of_parquet(restored.data) == tables
    assert verify(restored.config()).unexplained == 0
    turn(restored, 2)
    prove(restored.data)
    assert remote.push(restored.config(), url).segments >= 1


def test_nothing_new_copies_nothing(world, url):
    """What is there already is not copied again, and makes no new head."""
    first = remote.push(world.config(), url)
    again = remote.push(world.config(), url)
    assert (again.segments, again.blobs, again.bytes, again.head) == (0, 0, 0, first.head)
    assert remote.pull(world.config(), url).bytes == 0


def test_forgetting_reaches_the_copy(world, url):
    """What was forgotten here is in no object there after the next push, nor are its blobs."""
    remote.push(world.config(), url)
    there = objects.place(url)
    assert GONE in ids_in(there)
    forget(world.config(), ids=[GONE])
    assert remote.push(world.config(), url).removed >= 1
    assert GONE not in ids_in(there)
    assert list(there.there("segments/")) == sorted(remote._newest(there).segments())


def ids_in(there):
    """Name every completion in any object."""
    tables = [pq.read_table(BytesIO(there.read(name)), columns=["id"]) for name in there.there("segments/")]
    return {id_ for table in tables for id_ in table["id"].to_pylist()}


def test_forgetting_reaches_those_who_follow(world, url, tmp_path):
    """A folder that pulls loses what was forgotten elsewhere, from its own tables too."""
    remote.push(world.config(), url)
    follower = twin(world, tmp_path / "follower")
    forget(world.config(), ids=[GONE])
    remote.push(world.config(), url)
    remote.pull(follower.config(), url)
    assert GONE not in {row["id"] for row in rows_of_parquet(follower.data)["completions"]}
    assert verify(follower.config()).unexplained == 0
    assert follower.archive().tombstones == world.archive().tombstones


def test_a_follower_that_is_killed_on_the_way_forgets_all_the_same(world, url, tmp_path, monkeypatch):
    """Killed after it learnt what is forgotten, it passes it over at once; a rebuild, or the next pull, ends it."""
    remote.push(world.config(), url)
    follower = twin(world, tmp_path / "follower")
    forget(world.config(), ids=[GONE])
    remote.push(world.config(), url)
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "_plan", {"remote.pulled": ("raise", 1)})
        patch.setattr(failpoints, "_passed", {})
        with pytest.raises(FailpointError):
            remote.pull(follower.config(), url)
    repair(follower.config(), "parquet")
    assert GONE not in {row["id"] for row in rows_of_parquet(follower.data)["completions"]}
    remote.pull(follower.config(), url)
    assert verify(follower.config()).unexplained == 0


def test_two_machines_that_go_on_from_one_folder(world, url, tmp_path):
    """Where two went on from the same archive, the later one is refused, there and back, and nothing is changed."""
    remote.push(world.config(), url)
    other = twin(world, tmp_path / "other")
    turn(world, 2)
    turn(other, 3)
    remote.push(world.config(), url)
    there = objects.place(url)
    heads = list(there.there("heads/"))
    for refused in (remote.push, remote.pull):
        before = lying(other)
        with pytest.raises(FolderError, match="does not go on from it"):
            refused(other.config(), url)
        assert lying(other) == before
    assert list(there.there("heads/")) == heads
    restored = moved(world, tmp_path / "restored")
    remote.pull(restored.config(), url)
    assert lying(restored) == lying(world)


def pushing_meanwhile(monkeypatch, world, url):
    """Let somebody push between what the first pusher copies and its head."""
    begun = []

    def other_pushes(name):
        if name == "remote.copied" and not begun:
            begun.append(name)
            remote.push(world.config(), url)

    monkeypatch.setattr(remote, "reach", other_pushes)


def test_two_of_one_folder_who_push_at_once(world, url, tmp_path, monkeypatch):
    """Of two who went on from one folder and push at the same time one is refused; what lies there is the other's."""
    remote.push(world.config(), url)
    other = twin(world, tmp_path / "other")
    turn(world, 2)
    turn(other, 3)
    pushing_meanwhile(monkeypatch, other, url)
    with pytest.raises(FolderError, match="does not go on from it"):
        remote.push(world.config(), url)
    restored = moved(world, tmp_path / "restored")
    remote.pull(restored.config(), url)
    assert lying(restored) == lying(other)


def test_two_of_other_sources_who_push_at_once(world, url, tmp_path, monkeypatch):
    """One place collects the sources of several machines, also where they push at the same time."""
    (tmp_path / "other").mkdir()
    with World(tmp_path / "other", limit=10) as other:
        other.add(int(other.clock()) - 50, 3)
        config = replace(other.config(), sources=(replace(other.source(), name="second"),))
        assert export(config).exit_code == 0
        monkeypatch.setattr(other, "config", lambda: config)
        pushing_meanwhile(monkeypatch, other, url)
        done = remote.push(world.config(), url)
        both = moved(world, tmp_path / "both")
        remote.pull(both.config(), url)
        assert (done.head, lying(both)) == (2, lying(world) | lying(other))
        assert remote.pull(other.config(), url).segments == len(list(world.folder.archive.rglob("*.parquet")))


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["push", "pull"])
def test_interrupted_anywhere_it_goes_on(world, tmp_path, monkeypatch, direction):
    """A push or pull that fails at any place leaves what was there before true; made again, it ends well."""
    url = str(tmp_path / "elsewhere")
    remote.push(world.config(), url)
    other = moved(world, tmp_path / "other")
    remote.pull(other.config(), url)
    turn(world, 4)
    if direction == "pull":
        remote.push(world.config(), url)
    points = {"push": ("remote.put", "remote.copied", "remote.headed"), "pull": ("remote.pulled", "files.renamed")}
    copies = 0
    for point in points[direction]:
        for times in range(1, 100):
            copies += 1
            place = shutil.copytree(url, tmp_path / f"elsewhere-{copies}")
            here = twin(world if direction == "push" else other, tmp_path / f"here-{copies}")
            monkeypatch.setattr(failpoints, "_plan", {point: ("raise", times)})
            monkeypatch.setattr(failpoints, "_passed", {})
            act = getattr(remote, direction)
            try:
                act(here.config(), str(place))
            except FailpointError:
                monkeypatch.undo()
                restored = moved(world, tmp_path / f"restored-{copies}")
                remote.pull(restored.config(), str(place))
                assert lying(restored) in (lying(other), lying(world))
                act(here.config(), str(place))
            else:
                monkeypatch.undo()
                assert times > 1, f"{point} is never passed"
                break
            assert lying(here) == lying(world)
            remote.pull(restored.config(), str(place))
            assert lying(restored) == lying(world)


def test_damage_here_goes_no_further(world, url):
    """A segment that is not what was written is named, and not pushed."""
    path = world.archive().path(1)
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises((CheckFailedError, FolderError), match=path.name):
        remote.push(world.config(), url)
    assert objects.place(url).there("heads/") == {}


def test_damage_is_mended_from_there(world, url):
    """What is damaged or missing in the folder comes back from where it was pushed."""
    remote.push(world.config(), url)
    before = lying(world)
    archive = world.archive()
    archive.path(1).write_bytes(b"nothing of the kind")
    archive.path(archive.last).unlink()
    next(path for path in world.folder.blobs.rglob("*") if path.is_file()).write_bytes(b"no image")
    remote.pull(world.config(), url)
    assert lying(world) == before
    (world.folder.archive / "prod" / ledger.NAME).write_bytes(b"no ledger\n")
    remote.pull(world.config(), url)
    assert lying(world) == before
    assert verify(world.config()).unexplained == 0


@pytest.mark.parametrize("what", ["segments/", "blobs/", "heads/"])
def test_damage_there(world, url, tmp_path, what):
    """An object that is not what was pushed is named, and no segment of it is believed."""
    remote.push(world.config(), url)
    there = objects.place(url)
    name = list(there.there(what))[-1]
    there.put(name, there.read(name)[:-3] + b"xyz")
    restored = moved(world, tmp_path / "restored")
    with pytest.raises((CheckFailedError, FolderError), match=name.rpartition("/")[2]):
        remote.pull(restored.config(), url)


@pytest.mark.parametrize("field", ["source", "segment", "blob"])
def test_no_head_leads_out_of_the_archive(world, tmp_path, field):
    """Who may write where the copy lies cannot have a pull write anywhere else."""
    url = str(tmp_path / "elsewhere")
    remote.push(world.config(), url)
    there = objects.place(url)
    head = remote._newest(there)
    shelf = head.sources["prod"]
    entries = (msgspec.structs.replace(shelf.entries[0], sha256="../../../x"), *shelf.entries[1:])
    sources = {
        "source": {"../../out": shelf},
        "segment": {"prod": msgspec.structs.replace(shelf, entries=entries)},
        "blob": {"prod": msgspec.structs.replace(shelf, blobs=("../../x",))},
    }
    there.put("heads/00000002.json", seal(msgspec.structs.replace(head, number=2, sources=sources[field])))
    restored = moved(world, tmp_path / "restored")
    with pytest.raises(FolderError, match="names what is no part of an archive"):
        remote.pull(restored.config(), url)
    assert not restored.data.exists()


def test_an_older_copy_is_no_news(world, url):
    """A folder that has gone on since is not put back to what was pushed; what it lacks of that comes back."""
    remote.push(world.config(), url)
    lost = world.archive().path(2)
    turn(world, 2)
    before = lying(world)
    assert remote.pull(world.config(), url).segments == 0
    assert lying(world) == before
    lost.unlink()
    assert remote.pull(world.config(), url).segments == 1
    assert lying(world) == before


def test_a_run_after_the_newest_segment_was_lost_takes_no_number_again(world, url):
    """What a run stored meanwhile is kept, loaded and told beside what is lacking, and a pull brings that back."""
    remote.push(world.config(), url)
    archive = world.archive()
    archive.path(archive.last).unlink()
    world.clock.advance(HOUR)
    new = set(world.add(int(world.clock()) - 50, 2))
    result = world.run()
    assert (result.exit_code, result.sources[0].why_not) == (78, f"{archive.path(archive.last)} is missing, {WHY}")
    assert new <= {row["id"] for row in rows_of_parquet(world.data)["completions"]}
    with pytest.raises(FolderError, match="is missing"):
        remote.push(world.config(), url)
    assert remote.pull(world.config(), url).segments == 1
    assert world.run().exit_code == 0
    assert verify(world.config()).unexplained == 0
    assert set(world.store.bodies()) <= {row["id"] for row in rows_of_parquet(world.data)["completions"]}
    remote.push(world.config(), url)


@pytest.mark.slow
def test_a_pull_that_was_killed_is_no_archive(world, url, tmp_path, monkeypatch):
    """Nothing is made of a half; a run says what is lacking, and the next pull brings that beside what it kept."""
    remote.push(world.config(), url)
    half = moved(world, tmp_path / "half")
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "_plan", {"remote.pulled": ("raise", 1)})
        patch.setattr(failpoints, "_passed", {})
        with pytest.raises(FailpointError):
            remote.pull(half.config(), url)
    with pytest.raises(FolderError, match="is missing"):
        repair(half.config(), "all")
    assert half.run().exit_code == 78
    assert half.archive().last > world.archive().last
    remote.pull(half.config(), url)
    assert half.run().exit_code == 0
    assert verify(half.config()).unexplained == 0


def test_what_was_forgotten_here_does_not_come_back(world, url):
    """Of a copy that holds what was forgotten here nothing of it is taken, also where a damaged segment is mended."""
    remote.push(world.config(), url)
    forget(world.config(), ids=[GONE])
    before = lying(world)
    assert remote.pull(world.config(), url).segments == 0
    assert lying(world) == before
    damaged = [world.archive().path(footer.number) for footer in world.archive().footers]
    for path in damaged:
        path.write_bytes(b"nothing of the kind")
    assert remote.pull(world.config(), url).segments == len(damaged)
    assert GONE not in versions(world.archive())
    assert GONE not in {row["id"] for row in rows_of_parquet(world.data)["completions"]}
    assert verify(world.config()).unexplained == 0
    remote.push(world.config(), url)
    assert GONE not in ids_in(objects.place(url))


@pytest.mark.slow
@pytest.mark.parametrize("place", ["remote.copied", "remote.headed"])
@pytest.mark.parametrize("is_first", [True, False])
def test_forgetting_reaches_what_a_killed_push_left(world, url, monkeypatch, place, is_first):
    """Objects of a push that did not come to its end go with the next one, whether or not a head named them."""
    if not is_first:
        remote.push(world.config(), url)
        forget(world.config(), ids=[GONE])
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "_plan", {place: ("raise", 1)})
        patch.setattr(failpoints, "_passed", {})
        with pytest.raises(FailpointError):
            remote.push(world.config(), url)
    there = objects.place(url)
    assert GONE in ids_in(there)
    if is_first:
        forget(world.config(), ids=[GONE])
    remote.push(world.config(), url)
    assert GONE not in ids_in(there)
    assert {*there.there("segments/"), *there.there("blobs/")} == remote._newest(there).objects()


def test_what_nobody_ever_named_goes_after_a_day(world, url, monkeypatch):
    """It may be another push's that has just begun; a day later it is not."""
    there = objects.place(url)
    there.put("blobs/prod/" + "0" * 64, b"left")
    there.put("blobs/other/" + "0" * 64, b"not ours")
    remote.push(world.config(), url)
    assert there.read("blobs/prod/" + "0" * 64) == b"left"
    monkeypatch.setattr(remote, "_LEFT", -60)
    remote.push(world.config(), url)
    assert there.read("blobs/prod/" + "0" * 64) is None
    assert there.read("blobs/other/" + "0" * 64) == b"not ours"


def test_what_is_lacking_there_is_copied_again(world, url, tmp_path):
    """A push mends the copy where an object is gone or cut short, though it has nothing new."""
    remote.push(world.config(), url)
    there = objects.place(url)
    there.remove(next(iter(there.there("segments/"))))
    (blob,) = there.there("blobs/")
    there.put(blob, b"")
    done = remote.push(world.config(), url)
    assert (done.segments, done.blobs, done.head) == (1, 1, 1)
    restored = moved(world, tmp_path / "restored")
    remote.pull(restored.config(), url)
    assert lying(restored) == lying(world)


@pytest.mark.slow
def test_a_slow_push_is_not_lost(world, url, tmp_path, monkeypatch):
    """Where others made so many heads meanwhile that its number is free again, it still ends in the newest one."""
    monkeypatch.setattr(remote, "_KEPT", 1)
    (tmp_path / "other").mkdir()
    with World(tmp_path / "other", limit=10) as other:
        config = replace(other.config(), sources=(replace(other.source(), name="second"),))
        monkeypatch.setattr(other, "config", lambda: config)
        begun = []

        def others_push(name):
            if name == "remote.copied" and not begun:
                begun.append(name)
                for number in range(3):
                    other.clock.advance(HOUR)
                    other.add(int(other.clock()) - 50 - number)
                    assert export(config).exit_code == 0
                    remote.push(config, url)

        monkeypatch.setattr(remote, "reach", others_push)
        done = remote.push(world.config(), url)
    newest = remote._newest(objects.place(url))
    assert (done.head, set(newest.sources)) == (newest.number, {"prod", "second"})


@pytest.mark.slow
def test_what_one_forgets_hinders_nobody_who_follows(world, url, tmp_path):
    """A union of machines goes on pulling after one of them forgot, and holds an image that another still refers to."""
    (tmp_path / "other").mkdir()
    with World(tmp_path / "other", limit=10, messages=True) as other:
        parts = [{"type": "image_url", "image_url": {"url": URI, "detail": None}}]
        body = completion("pictured", int(other.clock()) - 50)
        other.store.add(body, messages=[{"role": "user", "content": parts}])
        config = replace(other.config(messages=True), sources=(replace(other.source(messages=True), name="second"),))
        assert export(config).exit_code == 0
        remote.push(config, url)
        remote.push(world.config(), url)
        union = moved(world, tmp_path / "union")
        remote.pull(union.config(), url)
        forget(world.config(), ids=list(versions(world.archive())))
        remote.push(world.config(), url)
        for _ in range(2):
            remote.pull(union.config(), url)
            other.clock.advance(HOUR)
            other.add(int(other.clock()) - 50)
            assert export(config).exit_code == 0
            remote.push(config, url)
        assert versions(union.archive()) == {}
        fresh = moved(world, tmp_path / "fresh")
        remote.pull(fresh.config(), url)
        assert [path.name for path in fresh.folder.blobs.rglob("*") if path.is_file()]
        assert set(versions(fresh.archive("second"))) == {"pictured", "c0", "c1"}


def test_a_copy_in_the_data_folder_is_none(world):
    """Where the copy would be lost with the original it is refused."""
    for place in (world.data / "copy", world.data):
        with pytest.raises(UsageError, match="lies in the data folder"):
            remote.push(world.config(), str(place))


def test_a_stranger_in_the_archive_is_not_pushed(world, url):
    """A folder there that no source can have is named before anything is copied, not after."""
    (world.folder.archive / "lost+found").mkdir()
    with pytest.raises(FolderError, match=r"lost\+found is no source's"):
        remote.push(world.config(), url)
    assert objects.place(url).there("segments/") == {}


def test_old_heads_go(world, url):
    """Of former heads a few stay, however often one pushes."""
    for _ in range(remote._KEPT + 2):
        world.clock.advance(HOUR)
        assert world.run(parquet=False, duckdb=False).exit_code == 0
        remote.push(world.config(), url)
    assert len(list(objects.place(url).there("heads/"))) == remote._KEPT


def test_it_is_told_what_was_done(world, url, tmp_path):
    """The commands say what was copied, where nothing was pushed, and where each segment is."""
    config = {"PIPELINE_DATA": str(world.data), "PIPELINE_CONFIG": ""}
    empty = pipeline("archive", "pull", url, **config | {"PIPELINE_DATA": str(tmp_path / "x")} | store_of(url))
    assert (empty.returncode, empty.stdout) == (78, "")
    assert "no archive was pushed to" in empty.stderr
    pushed = pipeline("archive", "push", url, **config | store_of(url))
    assert (pushed.returncode, pushed.stderr) == (0, "")
    held = len(list(world.folder.archive.rglob("*.parquet")))
    assert pushed.stdout.startswith(f"{held} segments and 1 blob pushed, ")
    again = pipeline("archive", "push", url, **config | store_of(url))
    assert again.stdout == f"nothing new: {held} segments at {url}, head 1\n"
    listed = pipeline("archive", "list", url, **store_of(url)).stdout.splitlines()
    assert (len(listed), {line.startswith(url) for line in listed}) == (held, {True})


def store_of(url):
    """Return what of the environment finds a bucket."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")} if "://" in url else {}
