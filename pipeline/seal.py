"""Small files of ours carry a hash of what they say, so that one byte changed in them is noticed; pure."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says, with the hash of all of it but the hash."""

    seal: str = ""


_T = TypeVar("_T", bound=Sealed)


def seal(value: _T) -> bytes:
    """Write a value as JSON with its seal."""
    return msgspec.json.encode(msgspec.structs.replace(value, seal=_hash(value)), order="sorted")


def unseal(text: bytes, kind: type[_T]) -> _T:
    """Read what ``seal`` wrote; raises msgspec.MsgspecError where it is not that, to the letter of its values."""
    try:
        value = msgspec.json.decode(text, type=kind)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error
    if value.seal != _hash(value):
        raise msgspec.ValidationError("it is not what was written: its seal differs")
    return value


def _hash(value: Sealed) -> str:
    bare = msgspec.structs.replace(value, seal="")
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()
