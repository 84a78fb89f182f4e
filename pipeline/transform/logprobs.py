"""Log probabilities, one row per token; only where they are asked for, for they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.transform import strict
from pipeline.transform.columns import fields, table, texts
from pipeline.transform.tables import index_of

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.transform.shapes import Token
    from pipeline.transform.tables import Parents
    from pipeline.transform.versions import Versions


def rows(parents: Parents, versions: Versions, *, is_asked: bool) -> pa.Table:
    """Make one row per token; what does not fit stays in ``choices.logprobs`` alone."""
    found: list[tuple[int, int, str, int, Token]] = []
    for row, shape in enumerate(versions.completions if is_asked else ()):
        for place, choice in enumerate(shape.choices):
            told = strict.decode_logprobs(bytes(choice.logprobs)) if choice.logprobs else None
            for part in ("content", "refusal") if told else ():
                tokens = getattr(told, part) or ()
                found += [(row, index_of(choice, place), part, number, token) for number, token in enumerate(tokens)]
    shapes = [token for *_, token in found]
    return table(
        "logprobs",
        {
            **parents.children([row for row, *_ in found]),
            "choice_index": [index for _, index, *_ in found],
            "part": [part for _, _, part, *_ in found],
            "index": [number for *_, number, _ in found],
            **fields(shapes, "token", "logprob"),
            **texts(shapes, "bytes", "top_logprobs"),
        },
    )
