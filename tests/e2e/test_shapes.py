"""The export on every server that is known to differ: everything comes home, once, and the next run finds the rest."""

from dataclasses import replace

import pytest

from pipeline.sandbox.shape import SHAPES, Shape

from .place import KEY, NOW, Place, archived, completion, held

#: A key as Entra ID hands it out: three parts, the first of which begins like every JSON object in base64.
TOKEN = "eyJhbGciOiJub25lIn0.eyJhdWQiOiJ0ZXN0cyJ9.c2lnbmF0dXJl"  # noqa: S105 - signed by nobody
LISTING = [name for name, switches in SHAPES.items() if not switches.get("only_creates")]
GROUPS = [1, 2, 1, 5, 1, 1, 12, 1, 3, 1]


def fill(place, since):
    """Store groups of completions, a minute apart."""
    for number, size in enumerate(GROUPS):
        place.add(since + 60 * number, size)


def assert_home(place):
    """Check that the archive holds what the server lists, once each."""
    assert sorted(str(row["id"]) for row in archived(place.data)) == sorted(place.store.visible_ids())


@pytest.mark.parametrize(
    "limit", [pytest.param(1, marks=pytest.mark.slow), 7, pytest.param(100, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", LISTING)
def test_everything_comes_home_twice(tmp_path, name, limit):
    """A first run brings all there is, a second one what came since, and nothing is kept twice."""
    with Place(tmp_path, Shape.named(name)) as place:
        fill(place, NOW - 3600)
        first = place.run(bare=True, limit=limit)
        assert (first.exit_code, first.sources[0].complete) == (0, True)
        assert_home(place)
        place.clock.advance(3600)
        fill(place, NOW + 60)
        second = place.run(bare=True, limit=limit)
        assert (second.exit_code, second.sources[0].complete, second.sources[0].new) == (0, True, sum(GROUPS))
        assert_home(place)


@pytest.mark.parametrize("limit", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_pages_that_come_short_and_empty(tmp_path, limit):
    """OGX leaves other owners' rows out of a page after it was filled: what follows them is found all the same."""
    with Place(tmp_path, Shape.named("ogx")) as place:
        fill(place, NOW - 3600)
        for number in range(30):
            place.store.add(completion(f"foreign-{number}", NOW - 3331 + number), foreign=True)
        for _ in range(2):
            result = place.run(bare=True, limit=limit)
            assert (result.exit_code, result.sources[0].complete) == (0, True)
            assert_home(place)


def test_an_id_that_is_overwritten_in_place(tmp_path):
    """OGX stores anything under a known id: the new body is kept beside the old one."""
    with Place(tmp_path, Shape.named("ogx")) as place:
        fill(place, NOW - 3600)
        assert place.run(bare=True).exit_code == 0
        place.store.add(completion("id-3", NOW - 5))
        result = place.run(bare=True)
        assert (result.exit_code, result.sources[0].new, result.sources[0].changed) == (0, 0, 1)
        assert len([row for row in archived(place.data) if row["id"] == "id-3"]) == 2


def test_a_gateway_that_only_creates(tmp_path):
    """78 says that there are no stored completions here, and nothing is written."""
    with Place(tmp_path, Shape.named("post-only")) as place:
        result = place.run(bare=True)
        assert result.exit_code == 78
        assert "this server has no stored completions" in result.sources[0].why_not
        assert not place.data.exists()


@pytest.mark.parametrize(("key", "header"), [(KEY, "api-key"), (TOKEN, "authorization")], ids=["key", "token"])
def test_azure_is_shown_its_key_where_it_looks(tmp_path, key, header):
    """Its own keys come in ``api-key``, tokens as bearer, and each request names the api-version."""
    with Place(tmp_path, Shape.named("azure-preview")) as place:
        (tmp_path / "key").write_text(key, encoding="utf-8")
        place.server.app._key = key
        place.store.house = replace(place.store.house, key_headers=(header,))
        place.add(NOW - 60, 3)
        assert place.run(bare=True).exit_code == 0
        assert_home(place)
        assert {request.query["api-version"] for request in place.server.requests} == {place.store.shape.api_version}


def test_a_metadata_filter_that_is_ignored(tmp_path):
    """OGX does not filter by metadata: 78 rather than other people's rows under this name."""
    with Place(tmp_path, Shape.named("ogx")) as place:
        fill(place, NOW - 3600)
        result = place.run(bare=True, metadata={"team": "search"})
        assert result.exit_code == 78
        assert "ignores the filters" in result.sources[0].why_not
        assert held(place.data) == set()
