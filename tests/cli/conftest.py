import pytest

from tests.e2e.place import NOW, Place


@pytest.fixture
def place(tmp_path):
    """Serve some completions next to an empty data folder."""
    with Place(tmp_path) as one:
        for number in range(20):
            one.add(NOW - 600 + 10 * number)
        yield one
