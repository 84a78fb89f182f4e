"""A key is named, never written: ``env:NAME``, ``file:PATH`` or ``cmd:COMMAND``."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import NoReturn

from pipeline.errors import ConfigError, RefusedError

SCHEMES = ("env", "file", "cmd")
#: A password manager may ask for a fingerprint first.
COMMAND_SECONDS = 60


class Secret:
    """A key that shows itself only where it is asked to: not in repr, str, pickle or log."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the key, for the one header that carries it."""
        return self._value

    def hide_in(self, text: str) -> str:
        """Return ``text`` without the key, should a server have repeated it."""
        return text.replace(self._value, "***")

    def __repr__(self) -> str:
        return "Secret('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled: hand on its reference")


def check_reference(reference: str) -> str | None:
    """Return what is wrong with a reference, without repeating it (it may be a key), or None."""
    scheme, separator, rest = reference.partition(":")
    if separator and scheme in SCHEMES and rest:
        return None
    return "must name where the key is: env:NAME, file:PATH or cmd:COMMAND (never the key itself)"


def variable(reference: str) -> str | None:
    """Return the environment variable that holds the key, where one does."""
    scheme, _, rest = reference.partition(":")
    return rest if scheme == "env" else None


def resolve(reference: str, *, source: str) -> Secret:
    """Fetch the key of a source that ``reference`` names; raises RefusedError where there is none."""
    return fetch(reference, owner=f"source {source}", setting=f"sources.{source}.api_key")


def fetch(reference: str, *, owner: str, setting: str) -> Secret:
    """Fetch the key that a setting names; raises RefusedError where there is none."""
    if problem := check_reference(reference):
        raise ConfigError(f"{setting} {problem}")
    scheme, _, rest = reference.partition(":")
    value = {"env": _from_environment, "file": _from_file, "cmd": _from_command}[scheme](rest).strip()
    if not value or not value.isprintable() or not value.isascii():
        raise RefusedError(
            f"{owner}: no usable key in {scheme}:{rest if scheme != 'cmd' else '…'} "
            f"(setting {setting.rpartition('.')[2]})",
            hint={
                "env": f"set the environment variable {rest}",
                "file": f"put the key, and nothing else, into {rest}",
                "cmd": "let the command print the key, and nothing else",
            }[scheme],
        )
    return Secret(value)


def _from_environment(name: str) -> str:
    return os.environ.get(name, "")


def _from_file(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError, RuntimeError):  # of a path that is none, or whose home folder nobody has
        return ""


def _from_command(command: str) -> str:
    """Run a command without a shell and take what it prints."""
    try:
        done = subprocess.run(  # noqa: S603 - the command is the owner's own setting
            shlex.split(command), stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=True, text=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout
