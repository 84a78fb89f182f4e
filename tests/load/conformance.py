"""What every destination promises; each one's test module inherits this class."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from pipeline import failpoints, schema
from pipeline.errors import DiskFullError
from pipeline.failpoints import FailpointError

from .made import DAY, TENTH, Memory, Source, Version, example

ROOT = Path(__file__).parents[2]


class Conformance:
    """A subclass says how its destination is opened, how its rows are read, and where it can be stopped."""

    failpoints: tuple[str, ...]
    slow_failpoints: tuple[str, ...] = ()
    stride = 1
    """It fails at every so many steps: where another subclass has the same steps, at some of them."""
    step = DAY
    """Seconds from one place to the next, where completions may lie apart."""

    def open(self, folder):
        raise NotImplementedError

    def contents(self, folder):
        """Read every table's rows from the files alone, as ``Memory.contents`` gives them."""
        raise NotImplementedError

    def load(self, folder, *loads, settle=True):
        """Open, load each group of batches, settled at once or all at the end, close."""
        destination = self.open(folder)
        try:
            for batches in loads:
                destination.load(batches, settle=settle)
            destination.settle()
            return destination.bookmarks()
        finally:
            destination.close()

    def begin(self, folder, batches):
        """Load what is there before something happens."""
        self.load(folder, batches)

    def both(self, folder, *loads):
        """Load into the destination and into the model; rows and bookmarks must be equal."""
        model = Memory()
        for batches in loads:
            model.load(batches)
        assert self.load(folder, *loads) == model.bookmarks()
        assert self.contents(folder) == model.contents()

    def test_starts_empty(self, tmp_path):
        """A destination that was never loaded has no bookmark."""
        assert self.load(tmp_path) == {}

    def test_what_is_settled_later_is_there_whole(self, tmp_path):
        """Loads that wait to be settled see each other, and are durable together when they are."""
        source, model, destination = Source(), Memory(), self.open(tmp_path)
        batches = [source.batch(example(), Version("b")), source.batch(example(text="edited")), source.batch()]
        for batch in batches:
            model.load([batch])
            destination.load([batch], settle=False)
            assert destination.bookmarks() == model.bookmarks()
        destination.settle()
        destination.close()
        assert self.contents(tmp_path) == model.contents()

    def test_load_nothing(self, tmp_path):
        """Loading no batches is no error and changes nothing."""
        self.both(tmp_path, [])

    def test_load(self, tmp_path):
        """Every row of every table is there, and the bookmark with them."""
        source = Source()
        self.both(tmp_path, [source.batch(example(), Version("b", TENTH + self.step))], [source.batch(Version("c"))])

    def test_load_again(self, tmp_path):
        """Loading what is held already changes nothing, even an older version of a row."""
        source = Source()
        batches = [source.batch(example()), source.batch(example(text="edited"))]
        self.both(tmp_path, batches, batches, batches[:1])

    def test_batch_without_completions(self, tmp_path):
        """A run that finds nothing still moves the bookmark and leaves its log rows."""
        source = Source()
        self.both(tmp_path, [source.batch(example())], [source.batch()])

    def test_new_version(self, tmp_path):
        """A new version replaces the row and all its children, also when it has fewer."""
        source = Source()
        first, second = source.batch(example(), Version("b")), source.batch(example(choices=1, calls=0, rejects=0))
        self.both(tmp_path, [first], [second])

    @pytest.mark.parametrize("steps", [-1, 1, None])
    def test_new_version_of_another_place(self, tmp_path, steps):
        """A new version whose created differs leaves nothing at the old place."""
        source, created = Source(), None if steps is None else TENTH + steps * self.step
        first, second = source.batch(example(), Version("b")), source.batch(example(created=created))
        self.both(tmp_path, [first], [second])

    def test_completions_change_places(self, tmp_path):
        """Two completions may each move to the other's place in one load."""
        source = Source()
        a, b = Version("a", TENTH), Version("b", TENTH + self.step)
        both = source.batch(Version("a", b.created), Version("b", a.created))
        self.both(tmp_path, [source.batch(a)], [source.batch(b)], [both])

    def test_versions_in_successive_batches(self, tmp_path):
        """Of several versions in one load the last one stays, wherever the earlier ones were."""
        source = Source()
        versions = [example(created=TENTH + n * self.step, choices=3 - n) for n in range(3)]
        self.both(tmp_path, [source.batch(versions[0])], [source.batch(versions[1]), source.batch(versions[2])])

    def test_no_row_is_left(self, tmp_path):
        """A new version that has no row still takes the older one's rows away."""
        source = Source()
        first, second = source.batch(example()), source.batch(example(choices=0, calls=0, rejects=0))
        second.tables["completions"] = second.tables["completions"].slice(0, 0)
        self.both(tmp_path, [first], [second])

    @pytest.mark.parametrize("together", [True, False])
    def test_messages_are_replaced_by_messages_only(self, tmp_path, together):
        """A new version leaves the input messages of a completion; messages fetched again replace them all."""
        source = Source()
        batches = [
            source.batch(example()),
            source.batch(fetched={"chatcmpl-1": 3}),
            source.batch(example(text="edited", created=TENTH)),
            source.batch(Version("b"), fetched={"chatcmpl-1": 2}),
        ]
        self.both(tmp_path, *([batches] if together else [[batch] for batch in batches]))

    @pytest.mark.parametrize("together", [True, False])
    def test_inline_messages_go_with_their_completion(self, tmp_path, together):
        """Messages that come with a completion are replaced with it, also where it moves to another date."""
        source = Source()
        batches = [source.batch(example(messages=3)), source.batch(example(messages=1, created=TENTH + self.step))]
        self.both(tmp_path, *([batches] if together else [[batch] for batch in batches]))

    @pytest.mark.parametrize("together", [True, False])
    def test_gone_and_listed_again(self, tmp_path, together):
        """A completion that went says so until a newer version comes; its history closes, and goes on."""
        source = Source()
        batches = [
            source.batch(example(), Version("b", TENTH + self.step), Version("c")),
            source.batch(gone=["chatcmpl-1", "b"]),
            source.batch(example(text="again")),
            source.batch(gone=["c"]),
            source.batch(gone=["chatcmpl-1"]),
        ]
        self.both(tmp_path, *([batches] if together else [[batch] for batch in batches]))

    @pytest.mark.parametrize("together", [True, False])
    def test_a_day_that_is_fetched_again_replaces_the_older_one(self, tmp_path, together):
        """Usage and costs are of the newest fetch of each day, also where nothing is left of it; others stay."""
        source = Source()
        batches = [
            source.batch(example(), days={0: 2, 1: 1, 2: 0}),
            source.batch(Version("b"), days={1: 3}),
            source.batch(days={0: 0, 2: 1}),
        ]
        self.both(tmp_path, *([batches] if together else [[batch] for batch in batches]))

    @pytest.mark.slow
    def test_some_gone_at_a_time(self, tmp_path):
        """Groups of segments end where they like: what went is closed once, wherever its version is held."""
        source = Source()
        batches = [
            source.batch(example(), Version("b")),
            source.batch(example(text="edited")),
            source.batch(gone=["chatcmpl-1"]),
            source.batch(example(text="again"), gone=["b"]),
            source.batch(example(text="once more")),
        ]
        for cut in range(1, len(batches)):
            self.both(tmp_path / str(cut), batches[:cut], batches[cut:])

    def test_replaced_is_not_needed_within_a_date(self, tmp_path):
        """Rows are replaced by identity even if nobody said that an older version is held."""
        source = Source()
        first, second = source.batch(example()), source.batch(example(text="edited"))
        second.replaced.clear()
        self.both(tmp_path, [first], [second])

    def test_sources_are_apart(self, tmp_path):
        """The same id in two sources is two completions."""
        one, two = Source("one"), Source("two with spaces/and=signs")
        self.both(tmp_path, [one.batch(example())], [two.batch(example())], [two.batch(example(text="edited"))])

    def test_values_survive(self, tmp_path):
        """Seeds, NULLs, maps, any Unicode and 10 MB of text come back as they went in."""
        source = Source()
        texts = ["", None, "\0", "a\0b", "\U0001f600 ﷺ \u2028 'quoted' \"twice\" \\", "x" * 10_000_000]
        metadata = [{}, None, {"": ""}, {"\0": "\0"}, {"k'": 'v"'}, {"ключ": "値"}]
        seeds = [4944116822809979520, -(2**63), 2**63 - 1, 0, None, -1]
        versions = [
            Version(f"id-{n}", TENTH + n, text, more={"metadata": metadata[n], "seed": seeds[n], "temperature": 0.1})
            for n, text in enumerate(texts)
        ]
        self.both(tmp_path, [source.batch(*versions, Version("\0"), Version("", 0))])

    def test_created_at_the_ends_of_time(self, tmp_path):
        """The first and the last second of the calendar, and no created at all, are loaded and replaced."""
        source = Source()
        times = [-62_135_596_800, 253_402_300_799, -1, 0, None]
        versions = [Version(f"id-{n}", created) for n, created in enumerate(times)]
        edited = [Version(version.id, version.created, "edited") for version in versions]
        self.both(tmp_path, [source.batch(*versions)], [source.batch(*edited)])

    def test_reopened(self, tmp_path):
        """What one process loaded the next one finds, and goes on from."""
        source, model = Source(), Memory()
        for n in range(3):
            batch = source.batch(Version(f"id-{n}"), example(text=str(n)))
            model.load([batch])
            assert self.load(tmp_path, [batch]) == model.bookmarks()
        assert self.contents(tmp_path) == model.contents()

    def test_other_layout(self, tmp_path, monkeypatch):
        """What was made with other tables counts as nothing and is replaced from the archive."""
        source = Source()
        batches = [source.batch(example()), source.batch(Version("b"))]
        self.load(tmp_path, batches)
        wider = schema.RUNS.columns.append(schema.column("more", schema.TEXT, "A column of another version."))
        monkeypatch.setitem(schema.TABLES, "runs", replace(schema.RUNS, columns=wider))
        destination = self.open(tmp_path)
        assert destination.bookmarks() == {}
        destination.close()
        monkeypatch.undo()
        self.both(tmp_path, batches)

    def story(self):
        """Make a base and a load after it in which completions come, go, return, move and change places."""
        source = Source()
        a, b, c = Version("a"), Version("b", TENTH + self.step, calls=1), example(id="c", created=None)
        base = [source.batch(a, c), source.batch(b), source.batch(Version("gone", TENTH + 4 * self.step))]
        moved = source.batch(
            *(Version("a", b.created, choices=2), Version("b", a.created), Version("d", TENTH + self.step)),
            fetched={"gone": 2},
            gone=["c", "gone"],
        )
        third, fourth = (TENTH + steps * self.step for steps in (2, 3))
        moved_again = source.batch(Version("a", third), Version("c", TENTH), Version("e", fourth))
        return base, [moved, moved_again]

    @pytest.mark.slow
    def test_failure_at_every_step(self, tmp_path, monkeypatch):
        """A load that fails anywhere leaves no completion twice and no untrue bookmark; the next one heals it."""
        base, later = self.story()
        self.begin(tmp_path / "base", base)
        for name in self.failpoints:
            for times in count(1, self.stride):
                folder = shutil.copytree(tmp_path / "base", tmp_path / f"{name}-{times}")
                monkeypatch.setattr(failpoints, "_plan", {name: ("raise", times)})
                monkeypatch.setattr(failpoints, "_passed", {})
                try:
                    self.load(folder, later)
                except FailpointError:
                    monkeypatch.undo()
                    self.check_and_heal(folder, base, later, regrouped=times % 2 == 0)
                else:
                    monkeypatch.undo()
                    assert times > 1, f"{name} is never passed"
                    break

    @pytest.mark.slow
    def test_kill_at_every_step(self, tmp_path):
        """A load that is killed anywhere leaves no completion twice and no untrue bookmark; the next one heals it."""
        base, later = self.story()
        self.begin(tmp_path / "base", base)
        for name in (*self.failpoints, *self.slow_failpoints):
            for times in (1, 2, 5, 13):
                folder = shutil.copytree(tmp_path / "base", tmp_path / f"{name}-{times}")
                if not self.in_another_process(folder, "load_later", {failpoints.VARIABLE: f"{name}=kill:{times}"}):
                    assert times > 1, f"{name} is never passed"
                    break
                self.check_and_heal(folder, base, later, regrouped=times % 2 == 0)

    @pytest.mark.slow
    def test_disk_full(self, tmp_path):
        """A full disk is said to be one; what was held before is intact, and loading again works."""
        source = Source()
        base, large = source.batch(example()), source.batch(self.large())
        self.load(tmp_path, [base])
        assert self.in_another_process(tmp_path, "load_on_full_disk", {})
        self.check_and_heal(tmp_path, [base], [large], regrouped=False)

    def large(self):
        """Make a version that does not compress to less than the limit of the test above."""
        return Version("large", text=random.Random(1).randbytes(2_000_000).hex())

    def load_on_full_disk(self, folder):
        """Fail as on a full disk: no file may grow beyond a megabyte; then be killed, as the test above expects."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        source = Source()
        source.batch(example())
        with pytest.raises(DiskFullError):
            self.load(folder, [source.batch(self.large())])
        os.kill(os.getpid(), signal.SIGKILL)

    def in_another_process(self, folder, method, environment):
        """Call a method of this suite there; say whether the process was killed."""
        code = f"import pathlib; from {type(self).__module__} import {type(self).__name__} as suite\n"
        code += f"suite().{method}(pathlib.Path({str(folder)!r}))"
        paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        done = subprocess.run([sys.executable, "-c", code], env=environment | paths, cwd=ROOT, check=False)
        assert done.returncode in {0, -signal.SIGKILL}
        return done.returncode != 0

    def load_later(self, folder):
        self.load(folder, self.story()[1])

    def check_and_heal(self, folder, base, later, *, regrouped):
        """Look at what a load that was stopped left, load again, and compare with the model."""
        model = Memory()
        model.load(base)
        before, old = model.contents(), model.bookmarks()
        model.load(later)
        bookmarks, contents = self.load(folder), self.contents(folder)
        self.check_ids(contents)
        self.check_stopped(contents, before, model.contents())
        assert bookmarks == old or (bookmarks, contents) == (model.bookmarks(), model.contents())
        if regrouped:
            self.load(folder, later[:1])
            self.check_ids(self.contents(folder))
        assert self.load(folder, later) == model.bookmarks()
        assert self.contents(folder) == model.contents()

    def check_ids(self, contents):
        ids = [row["id"] for row in contents["completions"]]
        assert len(ids) == len(set(ids))

    def check_stopped(self, contents, before, after):
        """Check what more a destination promises after a load that was stopped."""
