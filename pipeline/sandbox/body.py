"""JSON text as the sandbox writes it, and what it can read of text that others wrote."""

import json
from typing import Any

import msgspec


def encode(value: Any) -> bytes:
    """Return compact JSON in UTF-8; escaped ASCII where a lone surrogate has no UTF-8."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def glance(text: bytes) -> dict[str, Any]:
    """Return the object that ``text`` holds; empty where Python cannot read it, which a server need not mind."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
