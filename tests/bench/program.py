"""The program, watched from inside: ``python -m tests.bench.program ARGUMENTS`` runs it as its console script does.

Its last line on stderr tells what publishing cost, so that a benchmark can set it apart.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

_IO = Path("/proc/self/io")
_COMMANDS = ("run", "sweep")
_told = {"publishing": 0.0, "published": 0}


def written() -> int:
    """Return the bytes that this process handed to the disk; 0 where the system does not tell."""
    if not _IO.exists():
        return 0
    return int(dict(line.split(": ") for line in _IO.read_text().splitlines())["write_bytes"])


def watch() -> None:
    """Take the time and the bytes of every publishing from now on."""
    from pipeline import assemble  # noqa: PLC0415 - what publishes nothing starts as light as it is

    publish = assemble.publish

    def watched(*arguments: Any, **named: Any) -> Any:
        began, before = time.perf_counter(), written()
        try:
            return publish(*arguments, **named)
        finally:
            _told["publishing"] += time.perf_counter() - began
            _told["published"] += written() - before

    assemble.publish = watched


def main(arguments: list[str]) -> int:
    """Run the program here; return its exit code."""
    from pipeline.cli.main import cli  # noqa: PLC0415 - measured as part of the process

    if arguments and arguments[0] in _COMMANDS:
        watch()
    try:
        code: int = cli.main(arguments, prog_name="pipeline", standalone_mode=False)
    finally:
        sys.stderr.write(f"\n{json.dumps(_told)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
