import pytest

from .place import Place


@pytest.fixture
def place(tmp_path):
    """A server as the recordings show the real one, and an empty data folder."""
    with Place(tmp_path) as one:
        yield one
