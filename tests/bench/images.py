"""A server of completions with an image each: ``python -m tests.bench.images COUNT BYTES``, until standard input ends.

It makes what it shows when it is asked, so that its own memory stays small. Its first line of output is the base URL.
"""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.sandbox.clock import Clock
from pipeline.sandbox.server import Server
from pipeline.sandbox.store import Store
from tests.bench.small import NOW, completion


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


def serve(count: int, size: int) -> None:
    """Serve completions with an image each until standard input ends."""
    store = Store(Clock(NOW))
    for number in range(count):
        store.add(completion(number, count), messages=Images(number, size))
    with Server(store) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
