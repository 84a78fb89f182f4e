"""Names that lead nowhere and certificates that cannot be trusted: what, where and what to do, in plain words."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from pipeline.sandbox.server import Server
from tests.cli.program import PATIENCE, assert_one_message, environment
from tests.sandbox.authority import made_in, needs_openssl
from tests.truth.world import KEY, World

from .certificates import expired, of_another_host, self_signed

#: The program, on a machine whose resolver fails as the first argument says; nobody else is asked.
_WITHOUT_NAMES = """
import socket, sys
code = getattr(socket, sys.argv.pop(1))
def fails(*_, **__):
    raise socket.gaierror(code, "the resolver's own words")
socket.getaddrinfo = fails
from pipeline.__main__ import main
main()
"""


def without_names(code, *arguments, **env):
    """Run the program where no name is resolved."""
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT_NAMES, code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment(**env),
    )


@pytest.mark.parametrize("code", ["EAI_NONAME", pytest.param("EAI_AGAIN", marks=pytest.mark.slow)])
def test_a_name_that_is_not_found(tmp_path, code):
    """75, for names come back too: the host, the resolver's words and base_url; no folder, no traceback."""
    file = tmp_path / "settings.toml"
    file.write_text('[sources.prod]\nbase_url = "https://nowhere.invalid/v1"\nretry_attempts = 2', encoding="utf-8")
    done = without_names(code, "run", "--config", file, "--data", tmp_path / "data")
    said = ("source prod: the name of the host is not found", "the resolver's own words", "base_url")
    assert_one_message(done, 75, *said, "https://nowhere.invalid/v1/chat/completions", "run again later")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["a" * 70 + ".invalid", "two..dots.invalid"])
def test_a_name_that_no_host_can_have(tmp_path, host):
    """78 sends to base_url, and not to proxies or certificates."""
    result = World(tmp_path).run(base_url=f"http://{host}/v1", parquet=False, duckdb=False)
    assert result.exit_code == 78
    assert "base_url" in result.sources[0].why_not
    assert (host in result.sources[0].why_not, result.sources[0].hint) == (True, "check base_url")


def test_a_name_that_comes_back(tmp_path, monkeypatch):
    """A resolver that fails once costs one more question, and nothing else."""
    with World(tmp_path, retry_attempts=3) as world:
        world.add(1)
        world.clock.advance(1)
        failed, resolve = [], socket.getaddrinfo

        def fails_once(*arguments, **options):
            if not failed:
                failed.append(1)
                raise socket.gaierror(socket.EAI_AGAIN, "not now")
            return resolve(*arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", fails_once)
        assert (world.run(parquet=False, duckdb=False).exit_code, failed) == (0, [1])


def served(folder, tls):
    """Serve one completion behind a certificate."""
    world = World(folder)
    world.server = Server(world.store, key=KEY, tls=tls)
    world.add(1)
    return world


def assert_refused(world, *words, hint, **settings):
    """Check that nothing was asked, and that the message names what, where and what to do."""
    result = world.run(parquet=False, duckdb=False, **settings)
    why = result.sources[0].why_not
    assert (result.exit_code, world.server.requests, world.data.exists()) == (78, [], False)
    assert all(word in why for word in ("source prod: ", "127.0.0.1", *words)), why
    assert hint in result.sources[0].hint


NOT_TRUSTED, PRIVATE = "is not trusted", "name its file with ca_file"
WRONG = {
    "expired": (expired, "has expired", "must renew it"),
    "of another host": (of_another_host, "mismatch", "check the host in base_url"),
}


@needs_openssl
def test_a_certificate_that_nobody_signed(tmp_path):
    """78 names ca_file; with it the same run comes home."""
    made = self_signed(tmp_path)
    with served(tmp_path, made.tls) as world:
        assert_refused(world, NOT_TRUSTED, "self-signed", hint=PRIVATE)
        assert world.run(parquet=False, duckdb=False, ca_file=made.certificate).exit_code == 0
        assert world.position() is not None


@needs_openssl
@pytest.mark.parametrize(("make", "reason", "hint"), WRONG.values(), ids=list(WRONG))
def test_a_certificate_that_trust_does_not_mend(tmp_path, make, reason, hint):
    """78 says what is wrong with it although its signature is trusted, and does not send to ca_file."""
    made = make(tmp_path)
    with served(tmp_path, made.tls) as world:
        assert_refused(world, NOT_TRUSTED, reason, hint=hint, ca_file=made.certificate)


@needs_openssl
@pytest.mark.slow
def test_the_authority_of_somebody_else(tmp_path):
    """78 where ca_file names another authority than the one that signed; nothing is sent before."""
    (tmp_path / "other").mkdir()
    authority, other = made_in(tmp_path), made_in(tmp_path / "other")
    with served(tmp_path, (authority.certificate, authority.key)) as world:
        assert_refused(world, NOT_TRUSTED, hint=PRIVATE, ca_file=other.root)
        assert world.run(parquet=False, duckdb=False, ca_file=authority.root).exit_code == 0


def test_https_where_the_server_speaks_plain_http(tmp_path):
    """78 at once, for no waiting mends it: the host, and that http:// may be meant."""
    with served(tmp_path, None) as world:
        url = world.server.base_url.replace("http://", "https://")
        assert_refused(world, "does not speak TLS", hint="begins with http://", base_url=url, retry_attempts=8)


@needs_openssl
def test_plain_http_where_the_server_speaks_tls(tmp_path):
    """75: all that can be known is that the connection broke, and where; the key was not taken by anybody."""
    with served(tmp_path, self_signed(tmp_path).tls) as world:
        url = world.server.base_url.replace("https://", "http://")
        result = world.run(parquet=False, duckdb=False, base_url=url)
        assert (result.exit_code, world.server.requests) == (75, [])
        assert "the connection broke" in result.sources[0].why_not
        assert url in result.sources[0].why_not
