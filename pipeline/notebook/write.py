"""What `pipeline notebook` does: write the notebook, bound to a data folder."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pipeline import assemble, files
from pipeline.errors import UsageError
from pipeline.notebook import jupyter, marimo
from pipeline.recipes import recipes

if TYPE_CHECKING:
    from pathlib import Path

_HINT = "name another file with --out"


def notebook(data: Path, out: Path, *, is_jupyter: bool = False, replaces: bool = False) -> str:
    """Write the notebook and say how it is opened.

    Raises UsageError where ``out`` is there and is not to be replaced, FolderError where nothing was published.
    """
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}", hint=_HINT)
    if (out.exists() or out.is_symlink()) and not replaces:
        raise UsageError(f"{out} is there already", hint=f"{_HINT}, or replace it with --force")
    with closing(assemble.open_snapshot(data)):
        form = jupyter if is_jupyter else marimo
        text = form.written(recipes(), str(data.absolute()))
    files.write_out(out, text.encode("utf-8", "surrogateescape"))
    return f"{out}: {'jupyter lab' if is_jupyter else 'marimo edit'} {out}"
