"""Fill a store from a file: recorded answers, pages of the list, or bare completions, one JSON value per line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.sandbox.store import Store


def load(store: Store, path: Path) -> int:
    """Add every completion that the file shows, each id once, and return how many the store took.

    The file is JSON lines, or one JSON value. Of an id shown twice the last one counts.
    """
    return len({store.add(body) for body in _completions(path)})


def _completions(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the completions in the file, wherever they stand."""
    for value in _values(path):
        shown = value.get("body", value)
        rows = shown.get("data", [shown])
        yield from (row for row in rows if "choices" in row)


def _values(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of the file."""
    text = path.read_text(encoding="utf-8")
    try:
        yield from [json.loads(text)]
    except ValueError:
        # Not splitlines: JSON may hold U+2028 as it is.
        for number, line in enumerate(text.split("\n"), 1):
            try:
                yield json.loads(line or "{}")
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: not JSON ({error})") from error
