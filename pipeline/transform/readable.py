"""What may stand in a JSON column: text that every reader takes."""

import msgspec

from pipeline import jsontext

#: Levels of nesting. How deep msgspec goes depends on how deep its caller stands (some 900); half of that always works.
DEEPEST = 500


def unreadable(raw: bytes) -> str | None:
    """Say why ``raw`` is not JSON that msgspec and DuckDB read; None where it is."""
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and jsontext.depth(raw) > DEEPEST:
        return f"JSON nested deeper than {DEEPEST} levels"
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "JSON with a lone surrogate, NaN, a number out of range, or bytes that are not UTF-8"
    return None
