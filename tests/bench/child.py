"""Processes to measure: a server that makes what it shows when it is asked, and the program, which tells its peak."""

from __future__ import annotations

import base64
import json
import os
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE, Popen, run
from typing import Any

from pipeline.cli.main import cli
from pipeline.sandbox.clock import Clock
from pipeline.sandbox.server import Server
from pipeline.sandbox.store import Store

NOW = 1_758_000_000
_STATUS = Path("/proc/self/status")


class Images(Sequence[Any]):
    """One message with one image of random bytes, made anew each time: the server holds none of them."""

    def __init__(self, number: int, size: int) -> None:
        self._number = number
        self._size = size

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: Any) -> Any:
        image = base64.b64encode(random.Random(self._number).randbytes(self._size)).decode()
        url = {"url": f"data:image/png;base64,{image}"}
        return {"role": "user", "content": [{"type": "image_url", "image_url": url}]}

    def __iter__(self) -> Iterator[Any]:
        yield self[0]


def completion(number: int, count: int) -> dict[str, Any]:
    """Make a small completion; ``count`` of them lie in a month."""
    message = {"role": "assistant", "content": f"The answer to question {number} is {number * number}."}
    return {
        "id": f"chatcmpl-{number:029d}",
        "object": "chat.completion",
        "created": NOW - 30 * 86_400 + number * 29 * 86_400 // count,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20 + number % 7, "completion_tokens": 9, "total_tokens": 29 + number % 7},
        "metadata": {"team": f"team-{number % 9}"},
    }


def serve(count: int, size: int) -> None:
    """Serve completions with an image each until standard input ends."""
    store = Store(Clock(NOW))
    for number in range(count):
        store.add(completion(number, count), messages=Images(number, size))
    with Server(store) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


def served(count: int, size: int) -> Popen[str]:
    """Start a process that serves; its first line of output is the base URL."""
    arguments = [sys.executable, "-m", "tests.bench.child", "serve", str(count), str(size)]
    return Popen(arguments, stdin=PIPE, stdout=PIPE, text=True)


def measured(*arguments: object) -> tuple[float, float]:
    """Run the program in a process of its own; return its peak memory in MB and the seconds that it took."""
    command = [sys.executable, "-m", "tests.bench.child", "program", *map(str, arguments)]
    environment = {**os.environ, "OPENAI_API_KEY": "any"}
    done = run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    told = json.loads(done.stderr.splitlines()[-1])
    return told["peak"], told["seconds"]


def program(arguments: list[str]) -> int:
    """Run the program here; tell on stderr, at last, how much memory it needed at most."""
    began = time.monotonic()
    code: int = cli.main(arguments, prog_name="pipeline", standalone_mode=False)
    told = {"peak": _peak(), "seconds": time.monotonic() - began}
    sys.stderr.write(f"\n{json.dumps(told)}\n")
    return code


def _peak() -> float:
    """Return the peak in MB; rusage would count what the parent held before the program began."""
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    told = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(told["VmHWM"].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(program(sys.argv[2:]))
