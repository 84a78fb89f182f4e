"""The program as people start it: a process of its own, in an environment that holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.place import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.place import Place

PROGRAM = (sys.executable, "-m", "pipeline")
#: Far more than any command needs: a test that waits longer has found a command that hangs.
PATIENCE = 60


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which the program finds its key and nothing of this machine's user."""
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "OPENAI_API_KEY": KEY, "COLUMNS": "200"}
    return {name: text for name, text in {**bare, **more}.items() if text}


def pipeline(
    *arguments: object, cwd: Path | None = None, stdin: str | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=cwd,
        input=stdin,
        env=environment(**env),
    )


def started(*arguments: object, **env: str) -> subprocess.Popen[str]:
    """Start the program and leave it running."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**env),
    )


def settings(folder: Path, *places: Place, tables: bool = False, **more: object) -> Path:
    """Write a settings file that names servers as sources prod, prod2 and so on."""
    lines = []
    for number, place in enumerate(places, 1):
        told = {"base_url": place.server.base_url, "retry_attempts": 2, "retry_time": "20s", **more}
        name = "prod" if number == 1 else f"prod{number}"
        lines += [f"[sources.{name}]", *(f"{key} = {_toml(value)}" for key, value in told.items())]
    if not tables:
        lines += ["[destinations]", "parquet = false", "duckdb = false"]
    path = folder / "pipeline.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def assert_one_message(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Check that the program ended as it should, said why, and showed neither a traceback nor its key."""
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert KEY not in said
    for word in words:
        assert word in said
