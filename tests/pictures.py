"""The README's pictures, taken from the program itself: a terminal, and the report in a real browser.

``python -m tests.pictures`` (``make pictures``) runs the demo and writes both to ``.pictures``.
"""

from __future__ import annotations

import io
import os
import pty
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.cost.test_report_browser import BROWSER, FLAGS

PICTURES = Path(__file__).parents[1] / ".pictures"
COLUMNS = 118
SHOWN = (
    "pipeline verify --data demo-data",
    "pipeline cost --by model --data demo-data",
    "pipeline query --data demo-data 'SELECT finish_reason, count(*) AS choices FROM choices GROUP BY ALL'",
)
#: rich's own form asks a server for its font; here the reader's browser takes what it has.
FORM = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def typed(command: str, folder: Path) -> str:
    """Run a command on a terminal of its own, and return what it drew there."""
    ours, theirs = pty.openpty()
    told = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    words = [sys.executable, "-m", *shlex.split(command)]
    with subprocess.Popen(words, cwd=folder, env=told, stdin=theirs, stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        drawn = bytearray()
        try:
            while some := os.read(ours, 65536):
                drawn += some
        except OSError:  # how Linux says that the other side of a terminal was closed
            pass
    os.close(ours)
    assert running.returncode == 0, drawn
    return drawn.decode().replace("\r\n", "\n")


def terminal(folder: Path) -> str:
    """Draw what a terminal shows of a few commands."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for command in SHOWN:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text.from_ansi(typed(command, folder)))
    return console.export_svg(title="pipeline", code_format=FORM, unique_id="terminal")


def report(folder: Path) -> None:
    """Take a picture of the beginning of the demo's report."""
    assert BROWSER, "no Chromium here: make browser"
    shot = f"--screenshot={PICTURES / 'report.png'}"
    flags = (*FLAGS, "--window-size=1000,1240", f"--user-data-dir={folder / 'profile'}")
    page = (folder / "demo-data" / "report.html").as_uri()
    subprocess.run([BROWSER, *flags, shot, page], capture_output=True, check=True, timeout=100)


def main() -> None:
    """Run the demo and take both pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "pipeline", "demo"], cwd=folder, check=True, capture_output=True)
        (PICTURES / "terminal.svg").write_text(terminal(folder), encoding="utf-8")
        report(folder)


if __name__ == "__main__":
    main()
