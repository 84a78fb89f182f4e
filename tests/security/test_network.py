"""Whom the program talks to: the configured server, verified, and nobody else."""

from __future__ import annotations

import ast
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from pipeline.config import SOURCE_SETTINGS, TEMPLATE
from pipeline.extract.transport import Address, Transport
from tests.cli.program import environment, settings
from tests.e2e.place import NOW, Place
from tests.posted import Posted

CODE = sorted(Path(pipeline.__file__).parent.rglob("*.py"))
#: Runs the command line, and writes down every address that Python is about to connect to or look up.
RECORDING = """
import os, sys
record = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def heard(event, arguments):
    if event == "socket.connect":
        os.write(record, f"{arguments[1]}\\n".encode())
    elif event == "socket.getaddrinfo":
        os.write(record, f"{arguments[:2]}\\n".encode())
sys.addaudithook(heard)
from pipeline.cli.main import main
main()
"""


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--sweep"),
        ("verify", "--against-api"),
        ("doctor",),
        pytest.param(("sweep",), marks=pytest.mark.slow),
        pytest.param(("status",), marks=pytest.mark.slow),
        pytest.param(("report", "--out", "report.html"), marks=pytest.mark.slow),
        pytest.param(("query", "SELECT 1"), marks=pytest.mark.slow),
        pytest.param(("rebuild",), marks=pytest.mark.slow),
    ],
    ids=lambda command: command[0],
)
def test_nobody_is_asked_but_the_configured_server(tmp_path, command):
    """No telemetry, no updates, no extension: every connection that a command makes in Python goes to base_url."""
    reached, port = reached_by(tmp_path, *command)
    assert reached <= {port}
    assert bool(reached) == (command[0] in {"run", "verify", "doctor", "sweep"})


@pytest.mark.slow
def test_a_ping_goes_to_its_url_and_nowhere_else(tmp_path):
    """Whoever asks for pings has two connected to: base_url and the URL of the pings."""
    with Posted() as listener:
        reached, port = reached_by(tmp_path, "run", "--ping-url", f"{listener.url}/token")
    assert reached == {port, str(listener.port)}


def reached_by(tmp_path, *command):
    """Run a command on a folder that holds something; return the ports of loopback reached, and the server's own."""
    with Place(tmp_path) as place:
        for number in range(5):
            place.add(NOW - 60 + number)
        place.run()
        record = tmp_path / "record"
        asked = ("--config", settings(tmp_path, place, tables=True, messages=True), "--data", place.data)
        call = [sys.executable, "-c", RECORDING, str(record), command[0], *map(str, asked), *command[1:]]
        done = subprocess.run(call, cwd=tmp_path, env=environment(), capture_output=True, check=False, timeout=60)
        assert done.returncode in {0, 4}, done.stderr
        port = re.search(r":(\d+)/", place.server.base_url)[1]
    lines = record.read_text(encoding="utf-8").splitlines()
    return {re.fullmatch(r"\('127\.0\.0\.1', '?(\d+)'?\)", line)[1] for line in lines}, port


def test_certificates_are_always_verified():
    """`verify=` is only ever given a context that verifies; there is no setting for anything else."""
    given = [
        ast.unparse(word.value)
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "verify"
    ]
    assert given == ["self._trust"]
    for ca_file in (None, ssl.get_default_verify_paths().cafile or None):
        trust = Transport(Address("https://127.0.0.1:9/v1", ca_file=ca_file), {})._trust
        assert (trust.verify_mode, trust.check_hostname) == (ssl.CERT_REQUIRED, True)
    text = "".join(path.read_text(encoding="utf-8") for path in CODE)
    assert not re.findall(r"CERT_NONE|CERT_OPTIONAL|check_hostname|_create_unverified_context", text)
    words = {*SOURCE_SETTINGS, *re.findall(r"\w+", TEMPLATE.read_text(encoding="utf-8").lower())}
    assert "ca_file" in words
    assert not [word for word in words if re.search(r"verif|insecure|tls|ssl_", word)]


def test_no_network_library_but_the_one_door():
    """Nothing else in the program opens connections: no urllib.request, requests, http.client or ftplib."""
    imported = {
        (path.relative_to(CODE[0].parent).parts[0], name)
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    doors = {"urllib.request", "requests", "http.client", "ftplib", "smtplib", "urllib3", "aiohttp", "socketserver"}
    assert not [(part, name) for part, name in imported if name in doors and part != "sandbox"]
