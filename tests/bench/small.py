"""A small completion, and the server's now: what the benchmarks make many of."""

from __future__ import annotations

from typing import Any

NOW = 1_758_000_000


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
