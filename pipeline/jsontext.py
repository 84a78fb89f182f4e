"""Splits JSON text into the raw text of its parts, where a decoder refuses the whole.

Any nesting depth, any number, duplicate keys, lone surrogates, bytes that are not UTF-8, NaN and Infinity pass through
untouched; text that breaks the grammar in another way is not JSON. Time is linear, and nothing is recursive.
"""

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

# Possessive repeats (*+, ++) never go back: that keeps the time linear and the matcher's memory flat.
_SPACE = rb"[ \t\n\r]*+"
_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_WORD = rb"true|false|null|NaN|-?Infinity"

_BLANK = re.compile(_SPACE)
_TOKEN = re.compile(_STRING)
_SCALAR = re.compile(rb"%b|%b|%b" % (_STRING, _WORD, _NUMBER))


class _Grammar(NamedTuple):
    """How a container is written; group 1 of ``begin`` and ``after`` is its end, of ``key`` the key."""

    begin: re.Pattern[bytes]
    key: re.Pattern[bytes]
    after: re.Pattern[bytes]


def _grammar(opener: bytes, closer: bytes, key: bytes) -> _Grammar:
    parts = (rb"%b%b(%b)?" % (opener, _SPACE, closer), key, rb"%b(?:,%b|(%b))" % (_SPACE, _SPACE, closer))
    return _Grammar(*map(re.compile, parts))


_OBJECT = _grammar(rb"\{", rb"\}", rb"(%b)%b:%b" % (_STRING, _SPACE, _SPACE))
_ARRAY = _grammar(rb"\[", rb"\]", rb"()")
_CONTAINERS = {b"{": _OBJECT, b"[": _ARRAY}

_LEVELS = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_NO_BRACKET = bytes(set(range(256)) - set(_LEVELS))


class NotJSONError(ValueError):
    """The text is not JSON; ``position`` is the byte at which that shows."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason, position)
        self.reason = reason
        self.position = position

    def __str__(self) -> str:
        return f"{self.reason} at byte {self.position}"


def members(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the raw key (quotes included) and raw value of each member of an object, in order.

    Members before the place where text turns out not to be JSON are yielded first. Of equal keys all are yielded.
    """
    return _parts(text, _OBJECT)


def elements(text: bytes) -> list[bytes]:
    """Return the raw elements of an array, in order."""
    return [value for _, value in _parts(text, _ARRAY)]


def text(raw: bytes) -> str:
    """Decode a JSON string, quotes included; lone surrogates and bytes that are not UTF-8 are refused."""
    if not _TOKEN.fullmatch(raw):
        raise NotJSONError("not a string", 0)
    try:
        value = str(raw[1:-1], "utf-8")
    except UnicodeDecodeError as error:
        raise NotJSONError("bytes that are not UTF-8", 1 + error.start) from error
    return _unescaped(value) if "\\" in value else value


def depth(text: bytes) -> int:
    """Return how many levels of arrays and objects JSON text nests."""
    brackets = _TOKEN.sub(b"", text).translate(None, delete=_NO_BRACKET)
    return max(accumulate(_LEVELS[bracket] for bracket in brackets), default=0)


def _unescaped(inner: str) -> str:
    value: str = json.loads(f'"{inner}"')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise NotJSONError("a lone surrogate in the string that begins", 0) from error
    return value


def _parts(text: bytes, grammar: _Grammar) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each entry of the one container that ``text`` holds."""
    step = _match(grammar.begin, text, _match(_BLANK, text, 0).end())
    while not step[1]:
        key = _match(grammar.key, text, step.end())
        end = _end(text, key.end())
        yield key[1], text[key.end() : end]
        step = _match(grammar.after, text, end)
    rest = _match(_BLANK, text, step.end()).end()
    if rest != len(text):
        raise NotJSONError("text after the end", rest)


def _end(text: bytes, at: int) -> int:
    """Return where the value that begins at ``at`` ends."""
    within: list[_Grammar] = []
    while True:
        container = _CONTAINERS.get(text[at : at + 1])
        step = _match(container.begin if container else _SCALAR, text, at)
        at = step.end()
        if container and not step[1]:
            within.append(container)
        else:
            at = _close(text, at, within)
        if not within:
            return at
        at = _match(within[-1].key, text, at).end()


def _close(text: bytes, at: int, within: list[_Grammar]) -> int:
    """Leave the containers that end after the value before ``at``, up to a comma; return where that leads."""
    while within:
        step = _match(within[-1].after, text, at)
        at = step.end()
        if not step[1]:
            break
        within.pop()
    return at


def _match(pattern: re.Pattern[bytes], text: bytes, at: int) -> re.Match[bytes]:
    found = pattern.match(text, at)
    if found is None:
        raise NotJSONError("not JSON" if at < len(text) else "the text ends too early", at)
    return found
