"""The report in a real browser without a network: nothing fails, nothing is asked for, everything fits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from urllib.parse import urlsplit

import pytest

from .reported import choice, snapshot, told
from .test_report import HOSTILE, some
from .warehouse import completion

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0",
)  # fmt: skip
#: Whom the browser itself looks for when it starts; the page has no business with them either, and cannot reach them.
ITS_OWN = (".google.com", ".googleapis.com", ".gvt1.com")
DARK = "--blink-settings=preferredColorScheme=0"
#: Loads the report beside a script of ours, which the report's own policy would not run, and lets it measure.
MEASURE = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe style="border:0; width:{width}px; height:40000px" srcdoc="{report}"></iframe><pre id="measured"></pre>
<script>
document.querySelector("iframe").onload = event => {{
  const frame = event.target, page = frame.contentDocument, view = frame.contentWindow;
  const seen = [...page.querySelectorAll("svg[role=img]")].map(chart => [...chart.querySelectorAll("text")]
    .map(text => [text.textContent, text.getBoundingClientRect()]).filter(([_, box]) => box.width > 0));
  const over = (one, other) => one.left < other.right - 1 && other.left < one.right - 1
    && one.top < other.bottom - 1 && other.top < one.bottom - 1;
  const crossing = seen.flatMap(texts => texts.flatMap(([name, box], place) =>
    texts.slice(place + 1).filter(([_, other]) => over(box, other)).map(([other]) => [name, other])));
  const outside = seen.flat().filter(([_, box]) => box.left < 0 || box.right > {width}).map(([name]) => name);
  document.querySelector("#measured").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth, outside, crossing, charts: seen.length, title: page.title,
    scripts: page.scripts.length, paper: view.getComputedStyle(page.documentElement).backgroundColor,
    ink: view.getComputedStyle(page.body).color, height: page.documentElement.offsetHeight,
  }});
  frame.remove();
  console.log("measured");
}};
</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None, reason="no Chromium here: apt-get install chromium, which make test-all does as root"
    ),
]


def browse(folder, *arguments):
    """Start the browser on something, and return what it printed and logged."""
    assert BROWSER
    flags = (*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}")
    return subprocess.run([BROWSER, *flags, *arguments], capture_output=True, text=True, timeout=100, check=True)


def measured(folder, page, width, *flags):
    """Return what the browser makes of the report at a width; the console must hold nothing but our own word."""
    wrapper = folder / "measure.html"
    wrapper.write_text(MEASURE.format(width=width, report=escape(page.html)), encoding="utf-8")
    done = browse(folder, "--dump-dom", *flags, wrapper.as_uri())
    console = re.findall(r"CONSOLE.*", done.stderr)
    assert len(console) == 1
    assert '"measured"' in console[0]
    (told_by_browser,) = re.findall(r'<pre id="measured">(.*)</pre>', done.stdout)
    return json.loads(unescape(told_by_browser))


def hosts_asked(folder):
    """Return the hosts that were asked for, besides those that the browser itself looks for."""
    urls = re.findall(r'"url":"([^"]*)"', (folder / "net.json").read_text(encoding="utf-8"))
    hosts = {urlsplit(url).hostname for url in urls if urlsplit(url).scheme in {"http", "https", "ws", "wss", "ftp"}}
    return {host for host in hosts if not (host or "").endswith(ITS_OWN)}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Make a report of usual data and one of hostile data."""
    folder = tmp_path_factory.mktemp("browser")
    usual = snapshot(folder / "usual", list(some(2000)))
    rows = [
        completion(n, source=text, service_tier=text, prompt_tokens=3 * 10**10 + n, metadata=[("key", text)])
        for n, text in enumerate(HOSTILE)
    ]
    rows += [completion(f"x{n}", model=text, metadata=[("key", text)]) for n, text in enumerate(HOSTILE)]
    choices = [choice(row, text, content=text) for row, text in zip(rows, HOSTILE, strict=False)]
    hostile = snapshot(folder / "hostile", rows, choices=choices)
    return {
        "usual": told(usual, month="2026-10", tags=("team",)),
        "hostile": told(hostile, month="2026-11", tags=("key", *HOSTILE[:3]), with_content=True),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 820, 1280])
@pytest.mark.parametrize("name", ["usual", "hostile"])
def test_everything_fits(pages, tmp_path, name, width, scheme):
    """Neither the page nor a word of a chart is wider than the screen, no two words meet, and nothing ran."""
    page = pages[name]
    found = measured(tmp_path, page, width, *([DARK] if scheme == "dark" else []))
    assert found["width"] <= width
    assert (found["outside"], found["crossing"]) == ([], [])
    assert found["charts"] >= 8
    assert found["scripts"] == 0
    assert found["title"] == page.root.all("title")[0].text
    light, dark = "rgb(252, 251, 248)", "rgb(20, 24, 28)"
    assert (found["paper"], found["ink"] != light) == ((light, True) if scheme == "light" else (dark, True))
    assert hosts_asked(tmp_path) == set()


@pytest.mark.parametrize("flags", [(), (DARK,)])
def test_it_is_no_blank_page(pages, tmp_path, flags):
    """A picture of the file itself holds more than paper."""
    (tmp_path / "report.html").write_text(pages["usual"].html, encoding="utf-8")
    picture = tmp_path / "picture.png"
    arguments = ("--window-size=1280,3000", f"--screenshot={picture}", *flags)
    done = browse(tmp_path, *arguments, (tmp_path / "report.html").as_uri())
    assert "CONSOLE" not in done.stderr
    assert picture.stat().st_size > 60_000
    assert hosts_asked(tmp_path) == set()


def test_it_prints_on_a4(pages, tmp_path):
    """Printed it is some pages of A4."""
    (tmp_path / "report.html").write_text(pages["usual"].html, encoding="utf-8")
    printed = tmp_path / "report.pdf"
    browse(tmp_path, f"--print-to-pdf={printed}", "--no-pdf-header-footer", (tmp_path / "report.html").as_uri())
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed.read_bytes())
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {(595, 842)}
    assert 3 < len(boxes) < 20
