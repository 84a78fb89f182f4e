import pytest

from .place import Place


@pytest.fixture
def place(tmp_path):
    """Serve as the recordings show the real service, next to an empty data folder."""
    with Place(tmp_path) as one:
        yield one
