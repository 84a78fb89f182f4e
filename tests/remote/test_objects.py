"""Places keep objects whole, under names that one of several takers gets; a folder and a bucket promise the same."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline import failpoints, objects
from pipeline.errors import ConfigError, DiskFullError, FolderError, RefusedError, ServerError, UsageError
from pipeline.failpoints import FailpointError
from tests import s3


@pytest.fixture
def place(url):
    """Open the place."""
    return objects.place(url)


def test_what_is_put_is_there(place):
    """Any bytes come back under the name they were put under, and others are told of by prefix."""
    contents = {"a/b.json": b"", "a/c/d": bytes(range(256)) * 40_000, "ab/e": b"e"}
    for name, content in contents.items():
        place.put(name, content)
    assert {name: place.read(name) for name in contents} == contents
    assert (list(place.there("a/")), list(place.there("nothing/"))) == (["a/b.json", "a/c/d"], [])


def test_what_is_not_there(place):
    """Nothing is read where nothing is, and removing it is no error."""
    assert place.read("a/b") is None
    place.put("a/b", b"b")
    for _ in range(2):
        place.remove("a/b")
    assert (place.read("a/b"), list(place.there("a/"))) == (None, [])


def test_put_replaces(place):
    """An object that is put again is the newer one."""
    place.put("a/b", b"old")
    place.put("a/b", b"new")
    assert place.read("a/b") == b"new"


def test_a_new_name_is_taken_once(place):
    """Of several who take a name at once one is told yes, and theirs is what is there; later ones are told no."""
    takers = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(len(takers)) as pool:
        told = list(pool.map(lambda content: place.put_new("heads/1", content), takers))
    assert (told.count(True), place.put_new("heads/1", b"late")) == (1, False)
    assert place.read("heads/1") == takers[told.index(True)]
    assert list(place.there("heads/")) == ["heads/1"]


def test_a_folder_is_private(tmp_path):
    """What is put into a folder is its owner's alone, as the archive is."""
    (tmp_path / "one").mkdir(mode=0o700)
    place = objects.place(str(tmp_path / "one" / "two"))
    place.put("a/b", b"b")
    place.put_new("a/c", b"c")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "one").rglob("*") if path.is_file()}
    folders = {path.stat().st_mode & 0o777 for path in (tmp_path / "one").rglob("*") if path.is_dir()}
    assert (modes, folders, place.url("a/b")) == ({0o600}, {0o700}, str(tmp_path / "one" / "two" / "a" / "b"))


def test_a_folder_whose_parent_is_not_there(tmp_path):
    """A disk that is not mounted is told, and nothing is written where it should be."""
    with pytest.raises(FolderError, match=r"there is no folder .*/disk"):
        objects.place(str(tmp_path / "disk" / "backup")).put("a", b"a")
    assert not (tmp_path / "disk").exists()


def test_a_folder_as_a_url(tmp_path):
    """A file: URL is the folder that it names."""
    objects.place(f"file://{tmp_path}/there").put("a", b"a")
    assert (tmp_path / "there" / "a").read_bytes() == b"a"


@pytest.mark.parametrize("point", ["files.written", "files.synced", "files.renamed"])
def test_what_is_interrupted_in_a_folder_is_not_there(tmp_path, monkeypatch, point):
    """A name is taken by whole objects only, and what a killed one left goes a day later."""
    place = objects.place(str(tmp_path))
    monkeypatch.setattr(failpoints, "_plan", {point: ("raise", 1)})
    monkeypatch.setattr(failpoints, "_passed", {})
    with pytest.raises(FailpointError):
        place.put_new("a/b", b"b")
    monkeypatch.undo()
    assert list(place.there("a/")) == []
    left = tmp_path / ".temp" / "x.1.tmp"
    left.write_bytes(b"x")
    os.utime(left, (time.time() - 25 * 3600,) * 2)
    assert place.put_new("a/b", b"b")
    assert list((tmp_path / ".temp").iterdir()) == []


def test_a_full_disk_is_said_to_be_one(tmp_path, monkeypatch):
    """A folder on a full disk ends with a sentence about space."""
    place = objects.place(str(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(DiskFullError, match="no space left"):
        place.put_new("a/b", b"b")


@pytest.mark.parametrize(
    "url",
    [
        "s3://somebody:secret@bucket/x",
        "s3://secret@bucket/x",
        "az://container/x?sig=secret",
        "s3://AKIA:123/secret@bucket/x",
        "s3://AKIA:abc/secret",
    ],
)
def test_keys_have_no_place_in_a_url(url):
    """A URL with a key in it is refused, and the key not repeated."""
    with pytest.raises(UsageError, match="environment") as told:
        objects.place(url)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("url", ["", "/", "file://"])
def test_no_place_at_all(url):
    """Where no place is named, one is asked for."""
    with pytest.raises(UsageError, match="no place is named"):
        objects.place(url)


@pytest.mark.parametrize("url", ["file://mnt/copy", "memory://x", "memory:///"])
def test_a_place_that_is_none(url):
    """A folder that is meant otherwise, and what is gone when we are, are refused."""
    with pytest.raises(UsageError):
        objects.place(url)


def test_a_folder_as_others_write_it(tmp_path):
    """What a URL cannot hold as it is stands for itself."""
    objects.place(f"file://{tmp_path}/a%20b").put("a", b"a")
    assert (tmp_path / "a b" / "a").read_bytes() == b"a"


def test_one_object_put_by_many(place):
    """Several who put the same object at once all succeed, also where they cannot know of each other."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: place.put("a/b", b"b" * 1000), range(40)))
    assert place.read("a/b") == b"b" * 1000
    assert [found.size for found in place.there("a/").values()] == [1000]


def test_it_says_how_old_an_object_is(place):
    """Size and age are told, so that what is left by others can go."""
    place.put("a/b", b"bcd")
    (found,) = place.there("a/").values()
    assert found.size == 3
    assert -60 < found.age < 60


def test_a_store_that_nobody_knows():
    """A scheme that no object store has is named."""
    with pytest.raises(ConfigError, match="s4://bucket/x names no object store"):
        objects.place("s4://bucket/x")


def test_without_the_extra(monkeypatch):
    """Where the package for object stores is missing, its extra is named."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigError) as told:
        objects.place("s3://bucket/x")
    assert "pip install '.[remote]'" in told.value.hint


@pytest.mark.slow
def test_a_bucket_that_is_not_there(bucket):
    """A bucket that nobody made is said not to be there."""
    del bucket
    with pytest.raises(ConfigError, match="s3://nobodys-bucket"):
        list(objects.place("s3://nobodys-bucket").there("a/"))


@pytest.mark.slow
def test_a_wrong_key(bucket, monkeypatch):
    """A key that the store refuses ends with 77, and is told nowhere."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(RefusedError, match="refuses") as told:
        objects.place(bucket).put("a", b"a")
    assert "wrong-secret" not in str(told.value)
    assert s3.KEY not in str(told.value)


@pytest.mark.slow
def test_nobody_answers(bucket, monkeypatch):
    """A store that does not answer ends with 75."""
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ServerError, match="does not answer"):
        objects.place(bucket).read("a")
