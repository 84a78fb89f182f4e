"""Named places where a test may stop the program; they cost one comparison when unset.

``PIPELINE_FAILPOINTS="archive.renamed=kill:2;duckdb.commit=raise"`` kills the process the second time it
passes ``archive.renamed`` and raises at the first ``duckdb.commit``. ``NAMES`` lists every place, so that a
test can visit them all.
"""

import contextlib
import os
import signal
from collections.abc import Iterator

VARIABLE = "PIPELINE_FAILPOINTS"
NAMES: tuple[str, ...] = (
    "files.written",
    "files.synced",
    "files.renamed",
    "files.exchanged",
    "archive.cut",
    "archive.entered",
    "archive.rewritten",
    "run.page",
    "run.messages",
    "run.swept",
    "run.extracted",
    "run.loaded",
    "parquet.merged",
    "parquet.manifest",
    "duckdb.deleted",
    "duckdb.inserted",
    "duckdb.committed",
    "delta.written",
    "delta.committed",
    "snapshot.checkpointed",
    "snapshot.copied",
    "snapshot.renamed",
    "rebuild.loaded",
    "forget.buried",
    "forget.rewritten",
    "forget.rebuilt",
    "remote.put",
    "remote.copied",
    "remote.headed",
    "remote.pulled",
)


class FailpointError(RuntimeError):
    """A test asked for a failure at this place."""


def _parse(text: str) -> dict[str, tuple[str, int]]:
    """Read ``name=action[:n]`` pairs separated by semicolons."""
    plan = {}
    for item in filter(None, text.split(";")):
        name, _, action = item.partition("=")
        verb, _, count = action.partition(":")
        plan[name] = (verb, int(count or 1))
    return plan


_plan = _parse(os.environ.get(VARIABLE, ""))
_passed: dict[str, int] = {}


@contextlib.contextmanager
def armed(text: str) -> Iterator[None]:
    """Fail in this process as ``text`` says while the block runs."""
    _plan.update(_parse(text))
    try:
        yield
    finally:
        _plan.clear()
        _passed.clear()


def reach(name: str) -> None:
    """Do nothing, unless the environment asked for a failure at this pass of ``name``."""
    if not _plan:
        return
    _passed[name] = _passed.get(name, 0) + 1
    verb, count = _plan.get(name, ("", 0))
    if _passed[name] == count:
        if verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise FailpointError(f"failpoint {name}")
