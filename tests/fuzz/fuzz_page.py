"""Coverage-guided fuzzing of page decoding and flattening, with atheris, which is not among the project's tools.

``python tests/fuzz/fuzz_page.py -runs=200000``, with any further option of libFuzzer. It goes on after a failure, says
at the end how many inputs were tried and shows one input of each kind of failure: a case for ``test_found.py``.
"""

import json
import os
import sys
import tempfile
import traceback
from itertools import count
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
with atheris.instrument_imports(include=["pipeline.extract.page", "pipeline.jsontext", "pipeline.transform"]):
    from tests.fuzz.hostile import HOSTILE
    from tests.fuzz.promises import check

RUNS = 200_000
#: What libFuzzer puts together besides single bytes.
WORDS = (
    *("data", "has_more", "id", "created", "choices", "message", "tool_calls", "function", "usage", "prompt_tokens"),
    *("metadata", "tools", "extra", "logprobs", "\\ud800", "\\u0000"),
    *("NaN", "-Infinity", "null", "true", "1e999", "9223372036854775808", "{", "}", "[", "]", ":", ",", "{}", "[]"),
)


class Trial:
    """Tries inputs and remembers the shortest of each kind of failure; a kind is the place where it shows."""

    def __init__(self, runs: int) -> None:
        self._numbers = count(1)
        self._runs = runs
        self._found: dict[str, bytes] = {}

    def __call__(self, body: bytes) -> None:
        """Try one input; the last one ends the program."""
        try:
            if check(body) is None:
                check(b'{"data":[%b]}' % body)  # most inputs are no page, yet many are a row
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a find
            place = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"[:200]
            self._found[kind] = min(self._found.get(kind, body), body, key=len)
        if next(self._numbers) >= self._runs:
            self._end()

    def _end(self) -> None:
        sys.stdout.write(f"{self._runs} inputs tried, {len(self._found)} kinds of failure\n")
        for kind, body in self._found.items():
            sys.stdout.write(f"{kind}\n    {body!r}\n")
        sys.stdout.flush()
        os._exit(bool(self._found))  # libFuzzer's own end would count the seeds apart


def _quoted(word: str) -> str:
    """Make a name a JSON string; what is no name stays as it is."""
    return f'"{word}"' if word[0].islower() and word not in {"null", "true"} else word


def main(arguments: list[str]) -> None:
    """Fuzz until the budget is used."""
    runs = next((int(one.removeprefix("-runs=")) for one in arguments if one.startswith("-runs=")), RUNS)
    options = [one for one in arguments if not one.startswith("-runs=")]
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        example = (ROOT / "tests/data/list-example.json").read_bytes()
        for number, body in enumerate([example, *HOSTILE]):
            (seeds / str(number)).write_bytes(body)
        words = Path(folder) / "words"
        words.write_text("".join(f"{json.dumps(_quoted(word))}\n" for word in WORDS), encoding="utf-8")
        given = ["-max_len=20000", "-timeout=20", f"-dict={words}", *options, str(seeds)]
        atheris.Setup([sys.argv[0], *given], Trial(runs))
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
