"""Whoever stores completions chooses ids, model names, metadata and contents: texts to us, whatever stands in them."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
from contextlib import closing

import pytest

import pipeline as library
from tests.cli.program import PROGRAM, environment, pipeline, settings
from tests.e2e.place import NOW, Place, archived, completion, in_parquet, in_snapshot

from .raw import RawServer

#: Sets a terminal's title, clears it, turns text around, and the same by one letter beyond ASCII.
STEERING = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"
FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", "\n=1+1")
INJECTED = "x'); DROP TABLE completions; --"
QUOTED = 'k"\'] , (SELECT 1) AS "'
IDS = (
    "../../../escaped",
    "/etc/escaped",
    "..",
    ".",
    "a/b\\c",
    "nul\x00id",
    "source=other/created_date=1970-01-01",
    INJECTED,
    "%2e%2e%2fescaped",
    "messages?after=x#y",
    "x" * 5_000,
    STEERING,
)
SPAN = ("--since", "2025-09-01", "--until", "2025-10-01")


@pytest.fixture(scope="module")
def fed(tmp_path_factory):
    """Export completions of chosen ids, models and metadata; hand out the place and how to name it to the program."""
    folder = tmp_path_factory.mktemp("texts")
    with Place(folder) as place:
        for number, id_ in enumerate(IDS):
            place.store.add({**completion(id_, NOW - 600 + number), "model": INJECTED, "metadata": {QUOTED: INJECTED}})
        for number, text in enumerate(FORMULAS):
            chosen = {"model": text, "metadata": {"team": text, QUOTED: text}}
            place.store.add({**completion(f"{text}{number}", NOW - 300 + number), **chosen})
        place.store.add({**completion("steering", NOW - 60), "model": STEERING, "metadata": {"team": STEERING}})
        file = settings(folder, place, tables=True, messages=True)
        asked = ("--config", file, "--data", place.data)
        assert pipeline("run", *asked).returncode == 0
        yield place, asked


@pytest.mark.slow
def test_no_id_names_a_file(fed, tmp_path):
    """Files and folders are named by source, table, date, number and hash; an id is a value in them, kept as it is."""
    place, _ = fed
    assert {row["id"] for row in archived(place.data)} >= set(IDS)
    assert in_parquet(place.data) == in_snapshot(place.data) == sorted(place.store.visible_ids())
    names = {path.name for path in place.data.parent.rglob("*")}
    assert not [name for name in names if "escaped" in name or "DROP" in name or "xxx" in name or "other" in name]
    assert not list(tmp_path.parent.rglob("escaped*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "by", ["source", "model", "tier", "metadata:team", f"metadata:{QUOTED}", f"metadata:{INJECTED}"]
)
def test_no_text_is_sql_in_cost(fed, by):
    """Grouped by whatever key, every completion is counted once, and everything is still there."""
    place, asked = fed
    done = pipeline("cost", *asked, "--by", by, *SPAN, "--format", "csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sum(int(row["requests"]) for row in rows) == len(in_snapshot(place.data))


@pytest.mark.slow
def test_no_text_is_sql_in_other_commands(fed, tmp_path):
    """Report, prices, time zones, sources and ids to be forgotten are compared, never run."""
    place, asked = fed
    held = len(in_snapshot(place.data))
    told = {
        ("report", *asked, *SPAN, "--tag", QUOTED, "--out", tmp_path / "report.html"): 0,
        ("cost", *asked, *SPAN, "--prices", INJECTED): 2,
        ("cost", *asked, *SPAN, "--tz", INJECTED): 2,
        ("focus", *asked, "--month", "2025-09", "--prices", INJECTED): 2,
        ("adopt", tmp_path, *asked, "--source", "../x"): 78,
        ("forget", *asked, "--yes", "--metadata", f"{QUOTED}=nobody"): 0,
        ("forget", *asked, "--yes", "--metadata", f"{INJECTED}={INJECTED}"): 0,
    }
    for call, code in told.items():
        done = pipeline(*call)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), (call, done.stderr)
    assert len(in_snapshot(place.data)) == held


@pytest.mark.parametrize("name", ["../x", "/x", "..", "a/b", "A", "", "x'y", "source=x", "x" * 65])
def test_no_source_is_named_like_a_path(tmp_path, name):
    """78: a source's name is a folder of the archive, so it is letters, digits, - and _."""
    (tmp_path / "pipeline.toml").write_text(f"[sources.{json.dumps(name)}]\n", encoding="utf-8")
    done = pipeline("config", "check", "--config", tmp_path / "pipeline.toml")
    assert (done.returncode, "must be named with a-z" in done.stderr) == (78, True)


@pytest.mark.slow
def test_no_cell_of_csv_is_a_formula(fed):
    """A spreadsheet runs none of what `query` and `cost` write; JSON has every text as it is."""
    _, asked = fed
    sql = "SELECT id, model, metadata['team'] AS team FROM completions WHERE metadata['team'] IS NOT NULL"
    for call in (("query", *asked, sql), ("cost", *asked, *SPAN, "--by", "model", "--by", "metadata:team")):
        cells = [
            cell
            for row in csv.reader(io.StringIO(pipeline(*call, "--format", "csv").stdout, newline=""))
            for cell in row
        ]
        assert {f"'{text}".replace("\r", "\n") for text in FORMULAS} <= set(cells)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    models = {row["model"] for row in json.loads(pipeline("query", *asked, sql, "--format", "json").stdout)}
    assert set(FORMULAS) <= models


def on_a_terminal(*arguments):
    """Run the program with a terminal for output and errors; return what it wrote, without the ends of lines."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], stdout=theirs, stderr=theirs, env=environment(TERM="dumb")
    ) as child:
        os.close(theirs)
        shown = b""
        while part := _read(ours):
            shown += part
        child.wait(60)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def _read(terminal):
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux's way to say that the other end is gone
        return b""


@pytest.mark.parametrize(
    "call",
    [
        ("query", "SELECT id, model, metadata FROM completions", "--format", "table"),
        ("query", "SELECT id, model, metadata FROM completions", "--format", "csv"),
        ("query", "SELECT id, model, metadata FROM completions", "--format", "json"),
        ("query", "SELECT model::INTEGER FROM completions WHERE id = 'steering'"),
        ("cost", *SPAN, "--by", "model", "--by", "metadata:team"),
        ("cost", *SPAN, "--by", "model", "--by", "metadata:team", "--format", "md"),
    ],
    ids=lambda call: f"{call[0]}-{call[-1]}",
)
def test_no_text_steers_a_terminal(fed, call):
    """Whatever is stored, and whatever DuckDB quotes of it in an error, is shown and not obeyed."""
    _, asked = fed
    shown = on_a_terminal(call[0], *asked, *call[1:])
    assert "owned" in shown
    assert not {letter for letter in shown if not letter.isprintable()} - {"\n"}


def test_no_server_steers_a_terminal(tmp_path):
    """What a server says of an error, and how it names the request, is shown and not obeyed."""
    error = json.dumps({"error": {"message": STEERING, "code": STEERING, "type": "insufficient_quota"}}).encode()
    head = b"HTTP/1.1 429 X\r\nX-Request-Id: \xc2\x9b31m\r\nContent-Length: %d\r\n\r\n" % len(error)
    file = tmp_path / "pipeline.toml"
    with RawServer(lambda _: [head + error]) as server:
        file.write_text(f'[sources.prod]\nbase_url = "{server.base_url}"\n', encoding="utf-8")
        shown = on_a_terminal("run", "--config", file, "--data", tmp_path / "data")
    assert "owned" in shown
    assert not {letter for letter in shown if not letter.isprintable()} - {"\n"}


def test_the_snapshot_has_every_text_as_it_is(fed):
    """What is made harmless for people is exact for programs: ids, models and metadata are what was stored."""
    place, _ = fed
    with closing(library.connect(place.data)) as connection:
        rows = connection.execute("SELECT model, metadata['team'] FROM completions WHERE id = 'steering'").fetchall()
    assert rows == [(STEERING, STEERING)]
