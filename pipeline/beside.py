"""A process of its own that loads what a long walk has archived, while the walk goes on: ``python -m pipeline.beside``.

Walking and loading both keep Python busy, and threads of one process would take turns. The helper reads the archive
like any destination that lags, so it need not be trusted: whatever it did not do, the run does itself afterwards. It
shares the run's lock on the data folder, and ends at once when the run is gone. When all walks have ended the run has a
core to spare: what is left it flattens for the helper, which only loads from then on.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from pipeline import assemble
from pipeline.ahead import next_batch
from pipeline.archive.segments import Archive
from pipeline.catchup import CatchUp, Growing, Lane
from pipeline.errors import PipelineError
from pipeline.folder import DataFolder
from pipeline.helper import environment
from pipeline.secret import variable
from pipeline.stopping import LOOK, Stop, StoppedError
from pipeline.transform.flatten import flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.config import Config
    from pipeline.handoff import Batch

#: Bytes received after which a helper is worth its start: nights are shorter, first exports longer.
ENOUGH = 16_000_000


class Loaded(msgspec.Struct):
    """What a helper did."""

    lanes: dict[str, tuple[int, int]] = {}
    """By destination: segments and completions loaded."""
    rejected: dict[str, dict[int, int]] = {}
    """By source and segment: completions with a value that could not be flattened."""
    is_told: bool = True
    """Whether the helper came to say so: what it made durable before it died counts all the same."""


class _Told(msgspec.Struct):
    """One line from the run."""

    source: str = ""
    last: int = 0
    """The newest segment that stands in the ledger."""
    is_over: bool = False
    """Whether nothing more comes of the source; without a source, of any: stop."""
    is_free: bool = False
    """Whether the run flattens what it is asked for."""


class _Asked(msgspec.Struct, array_like=True):
    """One line from the helper: the segments that the run is to flatten."""

    source: str
    after: int
    through: int


@dataclass(slots=True)
class Beside:
    """The run's side: starts a helper when there is enough to do, and tells it what has been archived.

    ``lock`` is the file that is locked: the helper holds it too. ``archives`` are loaded in this order.
    """

    config: Config
    archives: Sequence[Archive]
    lock: int
    _helper: subprocess.Popen[bytes] | None = None
    _batches: BinaryIO | None = None
    """Takes what is flattened for the helper."""
    _told: dict[str, int] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

    def expect(self, received: int) -> None:
        """Say how many bytes will be received of a source: where they are many, the helper is there when they come."""
        if self._helper is None and received >= ENOUGH and assemble.destination_names(self.config):
            self._start()

    def tell(self, source: str, last: int, received: int) -> None:
        """Say how far a source is archived, and how many bytes were received of it in this run."""
        if self._told.get(source) == last:
            return
        self.expect(received)
        self._told[source] = last
        self._say(_Told(source, last))

    def over(self, source: str, last: int) -> None:
        """Say that nothing more comes of a source."""
        self._told[source] = last
        self._over.add(source)
        self._say(_Told(source, last, is_over=True))

    def end(self, stop: Stop) -> Loaded:
        """Wait until everything that was told is loaded, or as far as it gets where a stop is asked for."""
        if self._helper is None:
            return Loaded()
        self._say(_Told(is_free=True))
        said, is_told = b"", False
        while (part := self._hear()) != b"":
            if stop.asked and not is_told:
                self._say(_Told(is_over=True))
                is_told = True
            *asked, said = (said + (part or b"")).split(b"\n")
            for line in asked:
                self._answer(line, stop)
        try:
            return msgspec.json.decode(said, type=Loaded)
        except msgspec.MsgspecError:
            return Loaded(is_told=False)
        finally:
            self.kill()

    def _answer(self, line: bytes, stop: Stop) -> None:
        """Hand over what the helper asks for; where not all of it comes, it flattens the rest itself."""
        try:
            asked = msgspec.json.decode(line, type=_Asked)
        except msgspec.MsgspecError:  # a library of its own that talks
            return
        if self._batches is not None and self._flatten(asked, stop) < asked.through:
            self._hang_up()

    def _flatten(self, asked: _Asked, stop: Stop) -> int:
        """Hand over segments in their order; return the number of the last one, which may be short of what is asked.

        The archive may have lost the newest ones, for which the helper would wait for ever.
        """
        archive = next(archive for archive in self.archives if archive.source == asked.source)
        handed = asked.after
        with contextlib.suppress(OSError, PipelineError):  # it is gone, and the run loads; or it will meet the same
            for segment in archive.after(asked.after, asked.through):
                if stop.asked or self._batches is None:
                    break
                pickle.dump(flatten(segment, tokens=self.config.logprobs), self._batches, protocol=5)
                self._batches.flush()
                handed = segment.number
        return handed

    def _hang_up(self) -> None:
        """Let the helper know that nothing more is handed over."""
        if self._batches is not None:
            with contextlib.suppress(OSError):  # it is gone, and took not all
                self._batches.close()
            self._batches = None

    def _hear(self) -> bytes | None:
        """Read what the helper says; nothing at its end, None where it says nothing yet."""
        if self._helper is None or self._helper.stdout is None:
            return b""
        ready, _, _ = select.select([self._helper.stdout], [], [], LOOK)
        return os.read(self._helper.stdout.fileno(), 65_536) if ready else None

    def kill(self) -> None:
        """End the helper at once, where there still is one: what it did not settle is as if it had not been."""
        if self._helper is not None:
            self._helper.kill()  # first: what still is in the pipe would wait for it
        self._hang_up()
        if self._helper is not None:
            with contextlib.suppress(OSError):  # it is gone, and took nothing more
                self._helper.communicate()

    def _start(self) -> None:
        with contextlib.suppress(OSError):
            received, batches = os.pipe()
            self._batches = os.fdopen(batches, "wb")
            try:
                self._helper = subprocess.Popen(
                    [sys.executable, "-P", "-m", "pipeline.beside"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=(self.lock, received),
                    start_new_session=True,  # Ctrl-C is for the run, which then says what to do
                    env=environment(_without_keys(self.config)),
                )
            finally:
                os.close(received)
            self._write(pickle.dumps((self.config, [archive.source for archive in self.archives], received)))
            for source, last in self._told.items():
                self._say(_Told(source, last, source in self._over))

    def _say(self, told: _Told) -> None:
        self._write(msgspec.json.encode(told) + b"\n")

    def _write(self, text: bytes) -> None:
        if self._helper is not None and self._helper.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone: the run does the rest itself
                self._helper.stdin.write(text)
                self._helper.stdin.flush()


def _without_keys(config: Config) -> dict[str, str]:
    """Return our environment for a process that asks no server."""
    named = [*(source.api_key for source in config.sources), config.organization.admin_key or ""]
    keys = set(map(variable, named))
    return {name: text for name, text in os.environ.items() if name not in keys}


# -- the helper's side ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Run:
    """The run as the helper sees it."""

    out: BinaryIO
    batches: BinaryIO
    is_free: bool = False

    def flattened(self, source: str, after: int, through: int) -> Iterator[Batch]:
        """Yield what the run flattens of these segments: nothing while it has something else to do."""
        if not self.is_free:
            return
        self.out.write(msgspec.json.encode(_Asked(source, after, through)) + b"\n")
        self.out.flush()
        while after < through and (batch := next_batch(self.batches)) is not None:
            yield batch
            after = batch.bookmark.segment


def main(received: BinaryIO, out: BinaryIO, gone: Callable[[], object]) -> Loaded:
    """Load what the run tells of; ``gone`` is called where the run ends without a word."""
    config, sources, batches = pickle.load(received)  # noqa: S301 - from the run, over a pipe that nobody else holds
    folder = DataFolder(config.data)
    run = _Run(out, os.fdopen(batches, "rb"))
    archives = (Archive(folder.archive, source, scratch=folder.scratch) for source in sources)
    # What lies there and is not entered the run may still have to write again.
    growing = {one.source: Growing(one, one.entered, partial(run.flattened, one.source)) for one in archives}
    stop = Stop()
    threading.Thread(target=_listen, args=(received, run, growing, stop, gone), daemon=True).start()
    with contextlib.ExitStack() as opened:
        # What must be made anew is the run's: readers see it until something whole takes its place.
        names = [name for name in assemble.destination_names(config) if not assemble.is_outdated(name, config, folder)]
        lanes = []
        for name in names:
            with contextlib.suppress(PipelineError):  # the run meets it again, and tells
                lanes.append(Lane(opened.enter_context(assemble.destination(name, config, folder))))
        catch_up = CatchUp(lanes, stop, config.logprobs)
        with contextlib.suppress(StoppedError, PipelineError):  # as above
            for one in growing.values():
                catch_up.follow(one)
    return Loaded({lane.destination.name: (lane.segments, lane.completions) for lane in lanes}, catch_up.rejected)


def _listen(received: BinaryIO, run: _Run, growing: dict[str, Growing], stop: Stop, gone: Callable[[], object]) -> None:
    """Take what the run says; it goes on to hold the pipe until the helper is done, so that an end of it is its own."""
    try:
        while line := received.readline():
            told = msgspec.json.decode(line, type=_Told)
            run.is_free = run.is_free or told.is_free
            if told.is_over and not told.source:
                stop.ask()
            for source in [told.source] if told.source else growing:
                growing[source].reach(told.last)
                if told.is_over:
                    growing[source].end()
    finally:
        gone()


if __name__ == "__main__":
    # The listener waits for the run to the last: Python would not end in peace beside it.
    with contextlib.suppress(PipelineError, OSError):  # the run meets it again, and tells
        sys.stdout.buffer.write(msgspec.json.encode(main(sys.stdin.buffer, sys.stdout.buffer, lambda: os._exit(1))))
        sys.stdout.buffer.flush()
        os._exit(0)
    os._exit(1)
