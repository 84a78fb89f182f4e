"""What an engineer would write by hand: the official SDK's paging, pandas, Parquet and DuckDB.

``python -m tests.bench.peer_sdk URL FOLDER``, in the peers' environment; prints how many completions it got.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from openai import OpenAI


def rows(completion: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return one completion's row and its choices' rows; what is nested stays JSON."""
    told = completion.model_dump()
    choices = [
        {
            "completion_id": told["id"],
            "index": choice["index"],
            "finish_reason": choice["finish_reason"],
            "content": choice["message"]["content"],
            "message": json.dumps(choice["message"]),
        }
        for choice in told.pop("choices")
    ]
    usage = told.pop("usage") or {}
    counts = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    flat = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in told.items()}
    return {**flat, **counts, "usage": json.dumps(usage)}, choices


def main(url: str, folder: Path) -> int:
    """Walk, flatten and write; return how many completions came."""
    client = OpenAI(base_url=url, api_key="any")
    completions, choices = [], []
    for completion in client.chat.completions.list(order="asc", limit=100):
        row, below = rows(completion)
        completions.append(row)
        choices += below
    with duckdb.connect(folder / "export.duckdb") as connection:
        for name, held in (("completions", completions), ("choices", choices)):
            frame = pd.DataFrame(held)
            frame.to_parquet(folder / f"{name}.parquet")
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
    return len(completions)


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2])))
