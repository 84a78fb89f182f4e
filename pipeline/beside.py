"""A process of its own that loads what a long walk has archived, while the walk goes on: ``python -m pipeline.beside``.

Walking and loading both keep Python busy, and threads of one process would take turns. The helper reads the archive
like any destination that lags, so it need not be trusted: whatever it did not do, the run does itself afterwards. It
shares the run's lock on the data folder, and ends at once when the run is gone.
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
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from pipeline import assemble
from pipeline.archive.segments import Archive
from pipeline.catchup import CatchUp, Growing, Lane
from pipeline.errors import PipelineError
from pipeline.folder import DataFolder
from pipeline.helper import environment
from pipeline.secret import variable
from pipeline.stopping import LOOK, Stop, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.config import Config

#: Bytes received after which a helper is worth its start: nights are shorter, first exports longer.
ENOUGH = 16_000_000


class Loaded(msgspec.Struct):
    """What a helper did."""

    lanes: dict[str, tuple[int, int]] = {}
    """By destination: segments and completions loaded."""
    rejected: dict[str, dict[int, int]] = {}
    """By source and segment: completions with a value that could not be flattened."""


class _Told(msgspec.Struct):
    """One line from the run."""

    source: str = ""
    last: int = 0
    """The newest segment that stands in the ledger."""
    is_over: bool = False
    """Whether nothing more comes of the source; without a source, of any: stop."""


@dataclass(slots=True)
class Beside:
    """The run's side: starts a helper when there is enough to do, and tells it what has been archived.

    ``lock`` is the file that is locked: the helper holds it too. ``sources`` are loaded in this order.
    """

    config: Config
    sources: Sequence[str]
    lock: int
    _helper: subprocess.Popen[bytes] | None = None
    _told: dict[str, int] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

    def tell(self, source: str, last: int, received: int) -> None:
        """Say how far a source is archived, and how many bytes were received of it in this run."""
        if self._told.get(source) == last:
            return
        self._told[source] = last
        if self._helper is None and received >= ENOUGH:
            self._start()
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
        out, is_told = b"", False
        while (part := self._hear()) != b"":
            out += part or b""
            if stop.asked and not is_told:
                self._say(_Told(is_over=True))
                is_told = True
        try:
            return msgspec.json.decode(out, type=Loaded)
        except msgspec.MsgspecError:
            return Loaded()
        finally:
            self.kill()

    def _hear(self) -> bytes | None:
        """Read what the helper says; nothing at its end, None where it says nothing yet."""
        if self._helper is None or self._helper.stdout is None:
            return b""
        ready, _, _ = select.select([self._helper.stdout], [], [], LOOK)
        return os.read(self._helper.stdout.fileno(), 65_536) if ready else None

    def kill(self) -> None:
        """End the helper at once, where there still is one: what it did not settle is as if it had not been."""
        if self._helper is not None:
            self._helper.kill()
            with contextlib.suppress(OSError):  # it is gone, and took nothing more
                self._helper.communicate()

    def _start(self) -> None:
        with contextlib.suppress(OSError):
            self._helper = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.beside"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(self.lock,),
                start_new_session=True,  # Ctrl-C is for the run, which then says what to do
                env=environment(_without_keys(self.config)),
            )
            self._write(pickle.dumps((self.config, tuple(self.sources))))
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


def main(received: BinaryIO, gone: Callable[[], object]) -> Loaded:
    """Load what the run tells of; ``gone`` is called where the run ends without a word."""
    config, sources = pickle.load(received)  # noqa: S301 - from the run, over a pipe that nobody else holds
    folder = DataFolder(config.data)
    archives = (Archive(folder.archive, source, scratch=folder.scratch) for source in sources)
    growing = {archive.source: Growing(archive, archive.last) for archive in archives}
    stop = Stop()
    threading.Thread(target=_listen, args=(received, growing, stop, gone), daemon=True).start()
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


def _listen(received: BinaryIO, growing: dict[str, Growing], stop: Stop, gone: Callable[[], object]) -> None:
    """Take what the run says; it goes on to hold the pipe until the helper is done, so that an end of it is its own."""
    try:
        while line := received.readline():
            told = msgspec.json.decode(line, type=_Told)
            if not told.source:
                stop.ask()
            for source in [told.source] if told.source else growing:
                growing[source].reach(told.last)
                if told.is_over:
                    growing[source].end()
    finally:
        gone()


if __name__ == "__main__":
    # The listener waits for the run to the last: Python would not end in peace beside it.
    try:
        sys.stdout.buffer.write(msgspec.json.encode(main(sys.stdin.buffer, lambda: os._exit(1))))
        sys.stdout.buffer.flush()
    except PipelineError:
        os._exit(1)  # the run meets it again, and tells
    os._exit(0)
