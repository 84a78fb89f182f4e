"""Splits one answer of the list endpoint into rows as received: no row is lost because of another.

A page that the fast decoder refuses (a lone surrogate, a thousand levels of nesting, a row of the wrong shape) goes to
the tolerant splitter; only what is not JSON there is an error of the page.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pipeline import jsontext
from pipeline.handoff import Page, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_INT64 = range(-(2**63), 2**63)


class BadPageError(ValueError):
    """The body is not a list answer in JSON: cut short, an error page of a proxy, or something else."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What the server was asked to filter by."""

    model: str | None
    metadata: Mapping[str, str]

    def admit(self, row: Row) -> bool:
        """Tell whether the server honoured the filters for this row; an alias admits its dated snapshots.

        ``gpt-4o`` admits ``gpt-4o-2024-08-06``, and not ``gpt-4o-mini-2024-07-18``.
        """
        if self.model is None and not self.metadata:
            return True
        try:
            told = _filtered.decode(row.body)
        except msgspec.MsgspecError:
            return True
        by_model = self.model is None or _is_snapshot(told.model or "", self.model)
        return by_model and self.metadata.items() <= (told.metadata or {}).items()


def _is_snapshot(model: str, alias: str) -> bool:
    """Tell whether a model is the one named, or that with a date or another number behind it."""
    return model == alias or (model.startswith(f"{alias}-") and model[len(alias) + 1 :][:1].isdigit())


class _Envelope(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool


class _Head(msgspec.Struct, gc=False):
    id: str
    created: int


class _Heads(msgspec.Struct):
    data: list[_Head]


class _Filtered(msgspec.Struct):
    model: str | None = None
    metadata: dict[str, str] | None = None


_envelope = msgspec.json.Decoder(_Envelope)
_heads = msgspec.json.Decoder(_Heads)
_head = msgspec.json.Decoder(_Head)
_filtered = msgspec.json.Decoder(_Filtered)


def decode(body: bytes, *, server_time: int) -> Page:
    """Split ``body`` into rows, in the order sent, each byte for byte; raises BadPageError."""
    try:
        envelope = _envelope.decode(body)
        raw_rows, has_more = [bytes(raw) for raw in envelope.data], envelope.has_more
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raw_rows, has_more = _split(body)
    return Page(tuple(_rows(body, raw_rows)), has_more, server_time)


def _rows(page: bytes, raw_rows: list[bytes]) -> Iterable[Row]:
    """Read the head of each row: of all at once, which is cheaper, where none is unusual."""
    try:
        heads = _heads.decode(page).data
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return map(_row, raw_rows)
    return map(_headed, heads, raw_rows)


@dataclass(frozen=True, slots=True)
class Messages:
    """One page of a completion's input messages."""

    bodies: tuple[bytes, ...]
    """In the order sent, each byte for byte."""
    has_more: bool
    last: str | None
    """Id of the last one, to go on from."""


def decode_messages(body: bytes) -> Messages:
    """Split a page of messages; raises BadPageError."""
    try:
        envelope = _envelope.decode(body)
        bodies, has_more = [bytes(raw) for raw in envelope.data], envelope.has_more
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        bodies, has_more = _split(body)
    last = _odd_row(bodies[-1]).id if bodies else None
    return Messages(tuple(bodies), has_more, None if last is None or last.startswith("no-id:") else last)


def decode_row(body: bytes) -> Row:
    """Read the answer that shows one completion; raises BadPageError for what is no JSON object."""
    body = body.strip(b" \t\r\n")
    try:
        if body.startswith(b"{"):
            for _ in jsontext.members(body):
                pass
            return _row(body)
    except jsontext.NotJSONError as error:
        raise BadPageError(f"the body is not JSON: {error}") from error
    raise BadPageError("the body is JSON but not a completion")


def rows_of(bodies: Iterable[bytes]) -> Iterator[Row]:
    """Make rows of raw completions."""
    return map(_row, bodies)


def _split(body: bytes) -> tuple[list[bytes], bool]:
    """Take the envelope apart by the tolerant splitter."""
    try:
        members = {_key(raw): value for raw, value in jsontext.members(body)}
        return jsontext.elements(members["data"]), members.get("has_more") == b"true"
    except jsontext.NotJSONError as error:
        raise BadPageError(f"the body is not JSON: {error}") from error
    except KeyError as error:
        raise BadPageError("the body is JSON but not a page: it has no 'data'") from error


def _key(raw: bytes) -> str:
    try:
        return jsontext.text(raw)
    except jsontext.NotJSONError:
        return repr(raw)


def _row(body: bytes) -> Row:
    try:
        head = _head.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _odd_row(body)
    return _headed(head, body)


def _headed(head: _Head, body: bytes) -> Row:
    if not head.id or head.created not in _INT64:
        return _odd_row(body)
    return Row(head.id, head.created, body)


def _odd_row(body: bytes) -> Row:
    """Make out what can be made out of a row that is not as the API documents it."""
    try:
        members = {_key(raw): value for raw, value in jsontext.members(body)}
    except jsontext.NotJSONError:
        members = {}
    return Row(_id(members.get("id", b"")) or no_id(body), _second(members.get("created", b"")), body)


def _id(raw: bytes) -> str:
    try:
        return jsontext.text(raw)
    except jsontext.NotJSONError:
        return ""


def no_id(body: bytes) -> str:
    """Name a row that has no usable id by its content, so that it is still kept exactly once."""
    return f"no-id:{hashlib.sha256(body).hexdigest()}"


def _second(raw: bytes) -> int | None:
    digits = raw.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > len("9223372036854775808"):
        return None
    return int(raw) if int(raw) in _INT64 else None
