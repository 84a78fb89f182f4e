"""Places to push to: a folder, and a bucket of a real object store."""

from __future__ import annotations

import itertools

import pytest

from tests import s3

_numbers = itertools.count()


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Serve a bucket to all tests of this process; hand out the environment that finds it."""
    if s3.program() is None:
        pytest.skip("no SeaweedFS here: `make .venv-delta/made` installs it")
    with s3.serving(tmp_path_factory.mktemp("s3")) as options:
        yield {name.upper(): value for name, value in options.items()}


@pytest.fixture
def bucket(store, monkeypatch):
    """Return the URL of an empty prefix, with the environment that finds it."""
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.BUCKET}/of a test/{next(_numbers)}"


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def url(request, tmp_path):
    """Return where to push to."""
    return str(tmp_path / "elsewhere") if request.param == "folder" else request.getfixturevalue("bucket")
