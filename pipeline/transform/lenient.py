"""The careful way to read a completion: value by value, whatever the body is; never raises.

- A key that a shape knows fills its field; of equal keys the last one counts, as for the strict decoder.
- A value that does not fit is left out and is a reject; its text is kept in ``extra`` under its own key, unless
  readers of JSON would stumble over it. An integer field takes integers only: 13.0 does not fit.
- An unknown key is kept in ``extra`` as the text it came as. Parts without a row of their own hand theirs up, nested:
  ``{"usage": {"new_counter": 1}}``.
- An element that is no object gives an empty row, so that positions stay true, and is kept under the empty key.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import inspect

from pipeline import jsontext
from pipeline.transform.readable import unreadable
from pipeline.transform.shapes import Completion, InputMessage, Shape

if TYPE_CHECKING:
    from collections.abc import Callable

_EXPECTED: dict[type[inspect.Type], str] = {
    inspect.IntType: "64-bit integer",
    inspect.FloatType: "64-bit number",
    inspect.StrType: "Unicode string",
    inspect.DictType: "object of Unicode strings",
}
_FIRST_BYTES = {b'"': "string", b"{": "object", b"[": "array", b"t": "boolean", b"f": "boolean", b"n": "null"}
_BLANKS: dict[type[inspect.Type], Any] = {inspect.IntType: 0, inspect.StrType: "", inspect.ListType: []}

_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Reject(NamedTuple):
    """A value that could not be flattened."""

    path: str
    reason: str


class Reading(NamedTuple):
    """What could be read of one body."""

    completion: Completion
    rejects: list[Reject]


class _UnfitError(ValueError):
    """The value does not fit; says why, without the value."""


class _Field(NamedTuple):
    """A field of a shape."""

    kind: inspect.Type
    """Its type; of an optional one, the type that is not None."""
    required: bool
    blank: Any
    """What stands there when nothing could be read."""
    decode: Callable[[bytes], Any]


@cache
def _fields(shape: type[msgspec.Struct]) -> dict[str, _Field]:
    return {known.name: _field(known) for known in msgspec.structs.fields(shape) if known.name != "extra"}


def _field(known: msgspec.structs.FieldInfo) -> _Field:
    kind = inspect.type_info(known.type)
    kind = kind.types[0] if isinstance(kind, inspect.UnionType) else kind
    default = known.default if known.default_factory is msgspec.NODEFAULT else known.default_factory()
    blank = _BLANKS[type(kind)] if known.required else default
    return _Field(kind, known.required, blank, msgspec.json.Decoder(known.type).decode)


def read(body: bytes) -> Reading:
    """Read what can be read of ``body``; the path of the body itself is ``$``."""
    rejects: list[Reject] = []
    completion = _part(Completion, body.strip(b" \t\n\r"), "$", rejects)
    return Reading(completion, [Reject(path.removeprefix("$."), reason) for path, reason in rejects])


def read_messages(body: bytes) -> tuple[list[InputMessage], list[Reject]]:
    """Read what can be read of a JSON array of input messages."""
    rejects: list[Reject] = []
    try:
        items = _elements(body)
    except jsontext.NotJSONError as error:
        return [], [Reject("messages", str(error))]
    return [_part(InputMessage, item, f"messages[{place}]", rejects) for place, item in enumerate(items)], rejects


def _part(shape: type[msgspec.Struct], raw: bytes, path: str, rejects: list[Reject]) -> Any:
    """Read what should be an object of this shape; what fits no field is in its ``extra``."""
    fields = _fields(shape)
    values = {name: known.blank for name, known in fields.items()}
    extra: dict[str, str] = {}
    for key, text in _members(raw, path, fields, rejects).items():
        try:
            if key in fields:
                values[key] = _value(fields[key], text, f"{path}.{key}", rejects)
            else:
                extra[key] = _readable(text)
        except _UnfitError as unfit:
            rejects.append(Reject(f"{path}.{key}", str(unfit)))
            if unreadable(text) is None:
                extra[key] = text.decode()
    extra |= {key: value.extra for key, value in values.items() if isinstance(value, Shape) and value.extra}
    return shape(**values, extra=_object(extra))


def _members(raw: bytes, path: str, fields: dict[str, _Field], rejects: list[Reject]) -> dict[str, bytes]:
    """Return the members of what should be an object; what is none stands under the empty key."""
    if not raw.startswith(b"{"):
        rejects.append(Reject(path, f"expected object, got {_got(raw)}"))
        return {} if unreadable(raw) else {"": raw}
    try:
        found = {key: bytes(text) for key, text in _object_decoder.decode(raw).items()}
    except _REFUSED:
        found = _tolerant_members(raw, path, rejects)
    rejects += [Reject(f"{path}.{name}", "missing") for name in fields if fields[name].required and name not in found]
    return found


def _tolerant_members(raw: bytes, path: str, rejects: list[Reject]) -> dict[str, bytes]:
    """Take apart an object that the decoder does not; of text cut short, return the members before the cut."""
    found: dict[str, bytes] = {}
    try:
        for key, text in jsontext.members(raw):
            try:
                found[jsontext.text(key)] = text
            except jsontext.NotJSONError:
                name = key[1:-1].decode("utf-8", "backslashreplace")
                rejects.append(Reject(f"{path}.{name}", "a key that is not Unicode"))
    except jsontext.NotJSONError as error:
        rejects.append(Reject(path, str(error)))
    return found


def _elements(raw: bytes) -> list[bytes]:
    try:
        return list(map(bytes, _array_decoder.decode(raw)))
    except _REFUSED:
        return jsontext.elements(raw)


def _value(known: _Field, raw: bytes, path: str, rejects: list[Reject]) -> Any:
    """Return what a field holds, or say why ``raw`` does not fit."""
    if raw == b"null" and not known.required:
        return known.blank
    match known.kind:
        case inspect.RawType():
            return msgspec.Raw(_readable(raw).encode())
        case inspect.StructType(cls=shape):
            return _part(shape, _whole(raw, "object"), path, rejects)
        case inspect.ListType(item_type=inspect.StructType(cls=shape)):
            items = _elements(_whole(raw, "array"))
            return [_part(shape, item, f"{path}[{place}]", rejects) for place, item in enumerate(items)]
    try:
        return known.decode(raw)
    except _REFUSED as error:
        raise _UnfitError(f"expected {_EXPECTED[type(known.kind)]}, got {_got(raw)}") from error


def _whole(raw: bytes, expected: str) -> bytes:
    if _got(raw) != expected:
        raise _UnfitError(f"expected {expected}, got {_got(raw)}")
    return raw


def _readable(raw: bytes) -> str:
    reason = unreadable(raw)
    if reason:
        raise _UnfitError(reason)
    return raw.decode()


def _got(raw: bytes) -> str:
    """Name what ``raw`` is, without saying what it holds."""
    if raw in {b"NaN", b"Infinity", b"-Infinity"}:
        return raw.decode()
    if raw.removeprefix(b"-")[:1].isdigit():
        return "integer" if raw.removeprefix(b"-").isdigit() else "number"
    return "empty string" if raw == b'""' else _FIRST_BYTES.get(raw[:1], "no JSON")


def _object(members: dict[str, str]) -> str:
    """Put JSON texts together into an object; none into nothing."""
    pairs = ",".join(f"{json.dumps(key)}:{text}" for key, text in members.items())
    return f"{{{pairs}}}" if members else ""
