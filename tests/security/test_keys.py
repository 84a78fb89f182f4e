"""Where a key goes: into one header, to the configured host, and nowhere else."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import assemble, beside
from pipeline import run as pipeline_run
from pipeline.archive.segments import Archive
from pipeline.beside import Beside
from pipeline.config import Config, Organization, Source
from pipeline.errors import PipelineError
from pipeline.extract.walk import Request
from pipeline.files import locked
from pipeline.sandbox.faults import Fault
from pipeline.stopping import Stop
from tests.cli.program import pipeline, settings
from tests.e2e.place import KEY, NOW, Place, archived

from .raw import RawServer

ADMIN = "sk-admin-of-the-tests"


@pytest.fixture
def place(tmp_path):
    """Serve some completions beside an empty data folder."""
    with Place(tmp_path) as one:
        for number in range(6):
            one.add(NOW - 60 + number)
        yield one


def test_the_helper_is_given_no_key(place, monkeypatch):
    """The process that loads beside a long walk asks no server, and finds no key in its environment."""
    monkeypatch.setattr(beside, "ENOUGH", 0)
    monkeypatch.setenv("THE_KEY", KEY)
    monkeypatch.setenv("THE_ADMIN_KEY", ADMIN)
    monkeypatch.setenv("ANYTHING", "else")
    place.run(bare=True)
    source = replace(place.source(), api_key="env:THE_KEY")
    told = replace(place.config(), sources=(source,), organization=Organization(admin_key="env:THE_ADMIN_KEY"))
    with locked(place.data / ".writer" / "lock") as lock:
        helper = Beside(told, [Archive(place.data / "archive", "prod", scratch=place.data)], lock)
        helper.tell("prod", 1, 1)
        try:
            environment = Path(f"/proc/{helper._helper.pid}/environ").read_bytes()
            arguments = Path(f"/proc/{helper._helper.pid}/cmdline").read_bytes()
        finally:
            helper.kill()
    assert b"ANYTHING=else" in environment
    for key in (KEY.encode(), ADMIN.encode()):
        assert key not in environment
        assert key not in arguments


@pytest.mark.parametrize("fault", ["401", "429", "500", "html", "reset", "hang-up", "302:http://127.0.0.1:9/"])
def test_an_error_holds_no_key(place, fault):
    """Neither the error, nor a whole traceback with every local variable's repr, nor what caused it shows the key."""
    place.server.app.faults = (Fault.parse(f"1-:{fault}"),)
    source = replace(place.source(), retry_attempts=1)
    with pytest.raises(PipelineError) as raised, assemble.client(source, None, Stop()) as client:
        client.list(Request(None, 5))
    told = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    text = "".join(told.format())
    assert "_attempt" in text
    assert KEY not in text


def test_only_one_header_holds_the_key(tmp_path):
    """On the wire it stands once, as a credential: not in a URL, which servers and proxies write into their logs."""
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    with RawServer(lambda _: [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]) as server:
        source = Source("prod", base_url=server.base_url, api_key=f"file:{tmp_path / 'key'}", retry_attempts=1)
        pipeline_run(Config(data=tmp_path / "data", sources=(source,)))
    (head,) = server.heard
    assert [line for line in head.split(b"\r\n") if KEY.encode() in line] == [b"Authorization: Bearer " + KEY.encode()]


def test_what_a_command_prints_is_shown_to_nobody(place, tmp_path):
    """A key by cmd: is run without a shell; neither what it prints nor its arguments are told, whatever goes wrong."""
    script = tmp_path / "print key; touch shell.py"
    script.write_text("import sys; print(sys.argv[1][::-1]); sys.exit(int(sys.argv[2]))", encoding="utf-8")
    for code, wanted in ((0, 0), (3, 77)):
        reference = f"cmd:{sys.executable} '{script}' {KEY[::-1]} {code} $(touch shell.py) ; touch shell.py"
        file = settings(tmp_path, place, api_key=reference)
        done = pipeline("run", "--json", "--log-format", "json", "--config", file, "--data", place.data, cwd=tmp_path)
        assert done.returncode == wanted, done.stderr
        for key in (KEY, KEY[::-1]):
            assert key not in done.stdout + done.stderr
    assert not (tmp_path / "shell.py").exists()
    assert len(archived(place.data)) == 6


@pytest.mark.slow
def test_a_report_and_its_like_hold_no_key(place, tmp_path):
    """Report, FOCUS and the forms of cost tell what was asked and spent, and not with what."""
    file = settings(tmp_path, place, tables=True)
    asked = ("--config", file, "--data", place.data)
    span = ("--since", "2025-09-01", "--until", "2025-10-01")
    assert pipeline("run", *asked).returncode == 0
    out = tmp_path / "out"
    out.mkdir()
    for call in (
        ("report", *asked, *span, "--with-content", "--out", out / "report.html"),
        ("focus", *asked, "--month", "2025-09", "--out", out / "focus.csv"),
        ("cost", *asked, *span, "--format", "json"),
        ("status", *asked, "--format", "json"),
        ("verify", *asked, "--against-api", "--json"),
        ("config", "show", *asked, "--format", "json"),
        ("doctor", *asked, "--format", "json"),
    ):
        done = pipeline(*call)
        assert done.returncode in {0, 4}, done.stderr
        assert KEY not in done.stdout + done.stderr
    files = [*out.iterdir(), *(path for path in place.data.rglob("*") if path.is_file())]
    assert len(files) > 10
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
