"""``pipeline sandbox`` as people start it."""

import signal
from urllib.parse import urlsplit

import httpx

from tests.cli.program import PATIENCE, assert_one_message, pipeline, started

from .asking import LIST


def test_a_shape_by_name_and_switches_over_it():
    """The command serves a named shape, the other switches over its own, and says where; Ctrl-C ends it well."""
    options = ("--shape", "azure-preview", "--max-limit", 7, "--vanished", "page1")
    with started("sandbox", "--port", 0, "--completions", 20, *options) as serving:
        url = urlsplit(serving.stdout.readline().split(" at ")[1].split(" - ")[0])
        path = f"{url.scheme}://{url.netloc}{url.path}{LIST}?{url.query}"
        answers = [httpx.get(f"{path}&{more}", trust_env=False) for more in ("limit=7&after=lost", "limit=8")]
        serving.send_signal(signal.SIGINT)
        rest, problems = serving.communicate(timeout=PATIENCE)
    assert answers[0].json()["total"] == len(answers[0].json()["data"]) == 7
    assert set(answers[1].json()["error"]) == {"code", "message"}
    assert (serving.returncode, rest, problems) == (0, "", "")


def test_unknown_shape():
    """An unknown shape is refused with the known ones."""
    assert_one_message(pipeline("sandbox", "--shape", "nobody"), 2, "azure-preview", "post-only")
