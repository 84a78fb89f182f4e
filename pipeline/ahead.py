"""A process of its own that flattens segments while this one loads them: ``python -m pipeline.ahead``.

Flattening and loading both keep Python busy, and threads of one process would take turns. The helper only reads the
archive, and need not be trusted to come to its end: what it does not hand over is flattened here. It waits where it is
not listened to, and ends when nobody is left to listen.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from pipeline.helper import environment
from pipeline.transform.flatten import flatten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.archive.segments import Archive
    from pipeline.handoff import Batch

#: Completions after which a helper is worth its start.
ENOUGH = 40_000
#: What Python may need of the environment to start; keys are not among it.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


def batches(archive: Archive, after: int, through: int | None = None, *, tokens: bool = False) -> Iterator[Batch]:
    """Flatten every segment behind ``after``, up to ``through``, in their order. Raises FolderError."""
    last = archive.last if through is None else through
    waiting = (footer.completions for footer in archive.footers if after < footer.number <= last)
    if sum(waiting) >= ENOUGH:
        for batch in _handed_over(archive, after, last, tokens=tokens):
            yield batch
            after = batch.bookmark.segment
    yield from (flatten(segment, tokens=tokens) for segment in archive.after(after, last))


def _handed_over(archive: Archive, after: int, last: int, *, tokens: bool) -> Iterator[Batch]:
    """Yield what a helper hands over: all of it, or as much as it comes to."""
    task = pickle.dumps((archive, after, last, tokens))
    with contextlib.suppress(OSError), _started(task) as said:  # it cannot be started, or is gone at once
        while (batch := next_batch(said)) is not None:
            yield batch


def next_batch(said: IO[bytes]) -> Batch | None:
    """Return what the helper hands over next; None where it ended, between two batches or halfway through one."""
    try:
        return cast("Batch", pickle.load(said))  # noqa: S301 - from our own process, over a pipe that nobody else holds
    except Exception:  # noqa: BLE001 - whatever came instead: an error that it met, we meet again
        return None


@contextlib.contextmanager
def _started(task: bytes) -> Iterator[IO[bytes]]:
    """Start a helper and yield what it says; end it when the block does, whatever it is doing."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.ahead"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, who then say what to do
        env=environment({name: os.environ[name] for name in _KEPT if name in os.environ}),
    ) as helper:
        told, said = cast("tuple[IO[bytes], IO[bytes]]", (helper.stdin, helper.stdout))
        try:
            with told:
                told.write(task)
            yield said
        finally:
            helper.kill()


def main(received: BinaryIO, out: BinaryIO) -> None:
    """Flatten what is asked for, and hand over each batch as it comes."""
    archive, after, last, tokens = pickle.load(received)  # noqa: S301 - as above
    for segment in archive.after(after, last):
        pickle.dump(flatten(segment, tokens=tokens), out, protocol=5)
        out.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
