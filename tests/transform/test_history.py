"""What happens to a completion during its life is told: its versions, and that it went."""

import json
from datetime import UTC, date, datetime, timedelta

from pipeline.transform import flatten

from .segments import FETCHED, row, segment
from .test_flatten import body, check

HOUR = timedelta(hours=1)
WENT = FETCHED + 9 * HOUR


def micros(when):
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def gone(id_, created, reason="deleted", last_seen=None):
    """Make the mark that a sweep leaves of a completion that went."""
    mark = {"gone_at": micros(WENT), "reason": reason, "first_missed": micros(WENT - HOUR)}
    mark["last_seen"] = last_seen and micros(last_seen)
    return row(json.dumps(mark).encode(), kind="gone", id_=id_, created=created)


def spans(batch):
    """Return every version with its metadata and from when to when it was the latest."""
    rows = batch.tables["metadata_history"].to_pylist()
    return [(found["completion_id"], found["metadata"], found["valid_from"], found["valid_to"]) for found in rows]


def test_every_version_is_kept():
    """Each version of a segment is a row, closed by the one after it; held versions are named with their date."""
    batch = flatten(
        segment(
            row(body(metadata={"n": "1"}), id_="a", created=5),
            row(body(metadata={"n": "1"}), id_="b", created=86400, replaces=(172800,)),
            row(body(metadata={"n": "2"}), id_="a", created=5, replaces=(5,), fetched=FETCHED + HOUR),
            row(body(), id_="b", created=86400, replaces=(86400,), fetched=FETCHED + 2 * HOUR),
        )
    )
    check(batch)
    assert spans(batch) == [
        ("a", [("n", "1")], FETCHED, FETCHED + HOUR),
        ("b", [("n", "1")], FETCHED, FETCHED + 2 * HOUR),
        ("a", [("n", "2")], FETCHED + HOUR, None),
        ("b", None, FETCHED + 2 * HOUR, None),
    ]
    closed = {update.pop("id"): update for update in batch.updates["metadata_history"].to_pylist()}
    assert closed["b"] == {"created_date": date(1970, 1, 3), "valid_to": FETCHED}
    assert set(batch.updates) == {"metadata_history"}


def test_a_first_version_closes_nothing():
    """A segment of new completions has no updates."""
    assert flatten(segment(row(body(), id_="a", created=5))).updates == {}


def test_gone_in_an_earlier_segment():
    """A completion that went and is not in the segment is an update of its rows, found by id and date."""
    batch = flatten(segment(gone("a", 86400, "expired", FETCHED), gone("b", None)))
    check(batch)
    marks = {"gone_at": WENT, "gone_first_missed": WENT - HOUR}
    assert batch.updates["completions"].to_pylist() == [
        {"id": "a", "created_date": date(1970, 1, 2), "gone_reason": "expired", "gone_last_seen": FETCHED, **marks},
        {"id": "b", "created_date": date(1970, 1, 1), "gone_reason": "deleted", "gone_last_seen": None, **marks},
    ]
    assert batch.updates["metadata_history"].to_pylist() == [
        {"id": "a", "created_date": date(1970, 1, 2), "valid_to": WENT},
        {"id": "b", "created_date": date(1970, 1, 1), "valid_to": WENT},
    ]
    assert batch.tables["completions"].num_rows == batch.tables["metadata_history"].num_rows == 0


def test_gone_in_the_segment_that_brought_it():
    """A completion that came and went in one segment says so itself; its last version ends there."""
    batch = flatten(
        segment(
            row(body(), id_="a", created=5),
            row(body(), id_="b", created=5),
            row(body(metadata={}), id_="a", created=5, replaces=(5,), fetched=FETCHED + HOUR),
            gone("a", 5),
        )
    )
    check(batch)
    completions = {found["id"]: found for found in batch.tables["completions"].to_pylist()}
    assert (completions["a"]["gone_at"], completions["a"]["gone_reason"]) == (WENT, "deleted")
    assert (completions["b"]["gone_at"], completions["b"]["gone_reason"]) == (None, None)
    assert [valid_to for *_, valid_to in spans(batch)] == [FETCHED + HOUR, None, WENT]
    assert "completions" not in batch.updates


def test_marks_that_are_no_facts_are_passed_over():
    """That a completion was missed, or found again, changes no row."""
    mark = b'{"anything":1}'
    batch = flatten(segment(row(mark, kind="missed", id_="a", created=5), row(mark, kind="found", id_="a", created=5)))
    assert batch.updates == {}
    assert {table.num_rows for table in batch.tables.values()} == {0}
