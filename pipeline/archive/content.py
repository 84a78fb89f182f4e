"""What of a body is stored, decided before its first byte reaches the disk; pure.

``full`` keeps everything; base64 data URIs go to blobs and leave a reference. ``none`` keeps what usage and cost need,
by an allow-list that builds the body anew: a key that is not on it is withheld, whatever it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pipeline import jsontext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: A JSON string that is a base64 data URI; what encoders write as \/ is a slash. The repeats (++) never go back: else
#: the matcher would remember every letter, at a hundred bytes and more.
_LETTER = rb'(?:[^";,\\]|\\/)'
_DATA_URI = re.compile(
    rb'"data:(%b{0,100}+(?:;%b{1,100}+){0,4}?);base64,((?:[A-Za-z0-9+/=]++|\\/)++)"' % (_LETTER, _LETTER)
)
#: Longer texts in places where the API puts names are no names.
_LONGEST_NAME = 512
_TOOL_CHOICES = frozenset({b'"none"', b'"auto"', b'"required"'})


_NOTHING: Mapping[bytes, bytes] = MappingProxyType({})


class Stored(NamedTuple):
    """What goes to the archive of a body, and to the blobs."""

    body: bytes
    blobs: tuple[bytes, ...] = ()
    """SHA-256 of what was taken out, in order of appearance; the body names each as ``blob:``."""
    contents: Mapping[bytes, bytes] = _NOTHING
    """The bytes behind each."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content policy of a source."""

    keep: str = "full"
    """``full`` or ``none``."""
    metadata_keys: tuple[str, ...] | None = None
    """The metadata keys that are kept; None keeps all."""

    def completion(self, body: bytes) -> Stored:
        """Return what is stored of a completion."""
        if self.keep == "none":
            return Stored(_without_content(body, self.metadata_keys))
        if self.metadata_keys is not None:
            body = _with_metadata(body, self.metadata_keys)
        return _without_blobs(body)

    def messages(self, bodies: Sequence[bytes]) -> Stored:
        """Return what is stored of a completion's input messages: a JSON array, in the order given."""
        if self.keep == "none":
            raise ValueError("input messages are not fetched where content is withheld")
        return _without_blobs(b"[" + b",".join(bodies) + b"]")

    def same(self, held: bytes, under: Content, received: bytes) -> bool:
        """Tell whether a held body says what was received, as far as both policies keep it: policy makes no version."""
        common = self._and(under)
        ours, theirs = canonical(common.completion(held).body), canonical(common.completion(received).body)
        return ours is not None and ours == theirs

    def _and(self, other: Content) -> Content:
        keep = "none" if "none" in {self.keep, other.keep} else "full"
        if self.metadata_keys is None or other.metadata_keys is None:
            return Content(keep, other.metadata_keys if self.metadata_keys is None else self.metadata_keys)
        return Content(keep, tuple(key for key in self.metadata_keys if key in other.metadata_keys))


def canonical(body: bytes) -> bytes | None:
    """Write parsed JSON in one way: keys sorted, numbers and escapes as one writer makes them; None for no JSON."""
    try:
        return msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError, OverflowError):
        return None


# -- blobs --------------------------------------------------------------------------------------------------------


def _without_blobs(body: bytes) -> Stored:
    r"""Take data URIs out of a body, byte for byte the same elsewhere.

    The reference holds the media type as it was written and the SHA-256 of the bytes: these in base64 make the string
    again, as JSON reads it. Whether its slashes were written as \/ is kept of the media type only.
    """
    if b'"data:' not in body:
        return Stored(body)
    taken: list[bytes] = []
    contents: dict[bytes, bytes] = {}

    def take(found: re.Match[bytes]) -> bytes:
        content = _decoded(found[2])
        if content is None:
            return found[0]
        digest = hashlib.sha256(content).digest()
        taken.append(digest)
        contents[digest] = content
        return b'"blob:%b;sha256=%b"' % (found[1], digest.hex().encode())

    return Stored(_DATA_URI.sub(take, body), tuple(taken), contents)


def _decoded(text: bytes) -> bytes | None:
    """Decode base64; None where encoding it again would not give the same text."""
    text = text.replace(rb"\/", b"/")
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return content if base64.b64encode(content) == text else None


# -- the allow-list -----------------------------------------------------------------------------------------------


def _without_content(body: bytes, metadata_keys: tuple[str, ...] | None) -> bytes:
    """Build a completion anew from what is on the list; of a damaged one what can be read."""
    return _object(body, {**_COMPLETION, "metadata": partial(_metadata, keys=metadata_keys)}) or b"{}"


def _with_metadata(body: bytes, keys: tuple[str, ...]) -> bytes:
    """Leave metadata keys out that are not wanted; everything else stays byte for byte."""
    parts: list[bytes] = []
    copied = at = 0
    for key, value in _raw_members(body):
        start = body.index(value, body.index(key, at) + len(key))  # only blanks, a colon or a comma lie between
        at = start + len(value)
        if _name(key) == "metadata":
            parts += [body[copied:start], _metadata(value, keys=keys) or b"null"]
            copied = at
    return b"".join([*parts, body[copied:]])


def _object(raw: bytes, wanted: Mapping[str, Callable[[bytes], bytes | None]]) -> bytes | None:
    """Keep the members of an object that are wanted, each as its function keeps it; of equal keys the last counts."""
    if raw == b"null":
        return raw
    kept: dict[str, bytes] = {}
    for name, value in _members(raw):
        if name in wanted:
            kept.pop(name, None)
            if (text := wanted[name](value)) is not None:
                kept[name] = text
    return _written(kept) if raw.lstrip(b" \t\r\n").startswith(b"{") else None


def _written(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + text for name, text in members.items()) + b"}"


def _members(raw: bytes) -> list[tuple[str, bytes]]:
    """Return the members of an object whose keys can be read."""
    named = ((_name(key), value) for key, value in _raw_members(raw))
    return [(name, value) for name, value in named if name is not None]


def _raw_members(raw: bytes) -> list[tuple[bytes, bytes]]:
    """Return the members of an object; of text cut short, those before the cut; of anything else, none."""
    found: list[tuple[bytes, bytes]] = []
    try:
        found.extend(jsontext.members(raw))
    except jsontext.NotJSONError:
        return found
    return found


def _name(key: bytes) -> str | None:
    try:
        return jsontext.text(key)
    except jsontext.NotJSONError:
        return None


def _each(keep: Callable[[bytes], bytes | None], raw: bytes) -> bytes | None:
    """Keep every element of an array as ``keep`` does; one that is not kept is an empty object: positions stay true."""
    if raw == b"null":
        return raw
    try:
        items = jsontext.elements(raw)
    except jsontext.NotJSONError:
        return None
    return b"[" + b",".join(keep(bytes(item)) or b"{}" for item in items) + b"]"


def _text(raw: bytes) -> bytes | None:
    """Keep a name."""
    if raw == b"null":
        return raw
    try:
        text = jsontext.text(raw)
    except jsontext.NotJSONError:
        return None
    return raw if len(text) <= _LONGEST_NAME else None


_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_INTEGER = re.compile(rb"-?\d{1,25}")


def _number(raw: bytes) -> bytes | None:
    return raw if raw == b"null" or (len(raw) <= len("-1.7976931348623157e+308") and _NUMBER.fullmatch(raw)) else None


def _tool_choice(raw: bytes) -> bytes | None:
    return raw if raw == b"null" or raw in _TOOL_CHOICES else None


#: Counters lie two levels deep.
_DEEPEST = 8


def _counters(raw: bytes, levels: int = _DEEPEST) -> bytes | None:
    """Keep the integers of usage, some levels deep, also of counters not known today."""
    if raw == b"null" or _INTEGER.fullmatch(raw):
        return raw
    if not raw.startswith(b"{") or not levels:
        return None
    told = ((name, _counters(value, levels - 1)) for name, value in _members(raw) if _is_counter(name))
    return _written({name: text for name, text in told if text is not None})


#: A key that is no plain word might carry anything.
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _is_counter(name: str) -> bool:
    return _WORD.fullmatch(name) is not None


def _metadata(raw: bytes, keys: tuple[str, ...] | None) -> bytes | None:
    """Keep pairs of texts, those with the keys wanted."""
    if raw == b"null":
        return raw
    if not raw.startswith(b"{"):
        return None
    return _written(
        {name: value for name, value in _members(raw) if (keys is None or name in keys) and _is_text(value)}
    )


def _is_text(raw: bytes) -> bool:
    return raw == b"null" or _name(raw) is not None


_CALLED = partial(_object, wanted={"name": _text})
_TOOL_CALL = partial(_object, wanted={"id": _text, "type": _text, "function": _CALLED, "custom": _CALLED})
_MESSAGE = partial(_object, wanted={"role": _text, "tool_calls": partial(_each, _TOOL_CALL)})
_CHOICE = partial(_object, wanted={"index": _number, "finish_reason": _text, "message": _MESSAGE})
_COMPLETION: dict[str, Callable[[bytes], bytes | None]] = {
    **dict.fromkeys(("id", "object", "model", "request_id", "service_tier", "system_fingerprint", "input_user"), _text),
    **dict.fromkeys(("created", "seed", "temperature", "top_p", "presence_penalty", "frequency_penalty"), _number),
    "usage": _counters,
    "tool_choice": _tool_choice,
    "choices": partial(_each, _CHOICE),
}
