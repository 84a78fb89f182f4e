"""A key is named, never written, and shows itself to nobody but the one header."""

import pickle
import sys

import pytest

from pipeline.errors import ConfigError, RefusedError
from pipeline.secret import Secret, check_reference, resolve

KEY = "sk-secret"


@pytest.fixture
def references(tmp_path, monkeypatch):
    """Put the key behind a reference of each scheme."""
    (tmp_path / "key").write_text(f" {KEY}\n", encoding="utf-8")
    monkeypatch.setenv("THE_KEY", KEY)
    return {
        "env": "env:THE_KEY",
        "file": f"file:{tmp_path / 'key'}",
        "cmd": f"cmd:{sys.executable} -c \"print('{KEY}')\"",
    }


@pytest.mark.parametrize("scheme", ["env", "file", "cmd"])
def test_a_reference_is_followed(references, scheme):
    """Each scheme finds the key, without the white space around it."""
    assert resolve(references[scheme], source="prod").reveal() == KEY


def test_a_command_is_run_without_a_shell(tmp_path):
    """What a shell would run, redirect or put in the place of a word is a word like any other."""
    touched = tmp_path / "touched"
    words = f"$(touch {touched}) ; touch {touched} > {touched} && `touch {touched}` | $HOME"
    told = resolve(f"cmd:{sys.executable} -c 'import sys; print(*sys.argv[1:])' {words}", source="prod")
    assert told.reveal() == words
    assert not touched.exists()


def test_a_file_in_the_home_folder(monkeypatch, tmp_path):
    """``~`` is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    assert resolve("file:~/key", source="prod").reveal() == KEY


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("env:NO_SUCH_VARIABLE", "env:NO_SUCH_VARIABLE"),
        ("file:/no/such/file", "file:/no/such/file"),
        ("cmd:/no/such/program --token hidden", "cmd:…"),
        ("cmd:false", "cmd:…"),
        ("cmd:'unclosed", "cmd:…"),
    ],
)
def test_a_key_that_is_not_there(reference, named):
    """77 names source, setting and reference; a command's arguments are not told."""
    with pytest.raises(RefusedError, match="source prod: no usable key") as raised:
        resolve(reference, source="prod")
    assert named in raised.value.message
    assert "hidden" not in str(raised.value)
    assert raised.value.hint


@pytest.mark.parametrize("text", ["", " \n", "two\nlines", "schlüssel", "\x00"])
def test_what_is_no_key(tmp_path, text):
    """What no header can carry is refused before it is sent."""
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(RefusedError):
        resolve(f"file:{tmp_path / 'key'}", source="prod")


@pytest.mark.parametrize("reference", ["sk-written-here", "env:", "http:x", ""])
def test_a_key_in_the_place_of_its_name_is_not_repeated(reference):
    """The message says what to write, and never what was written."""
    assert "sk-written-here" not in (check_reference(reference) or "")
    with pytest.raises(ConfigError, match="must name where the key is") as raised:
        resolve(reference, source="prod")
    assert "sk-written-here" not in str(raised.value)


def test_a_secret_hides():
    """Not in repr, str, format or pickle, and what a server repeats is masked."""
    secret = Secret(KEY)
    assert KEY not in f"{secret!r} {secret!s} {secret} {[secret]}"
    assert secret.hide_in(f"Incorrect API key: {KEY}.") == "Incorrect API key: ***."
    with pytest.raises(TypeError):
        pickle.dumps(secret)
