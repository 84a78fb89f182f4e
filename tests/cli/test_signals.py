"""Ctrl-C and SIGTERM at any time: the run ends soon, its position is true, and the next run completes it."""

import signal

import pytest

from pipeline.sandbox.faults import Fault
from tests.e2e.place import held, in_parquet, in_snapshot

from .program import PATIENCE, settings, started

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def stopped_at(place, file, number, sent):
    """Run until a list request of this number arrives, signal the program there, and wait for its end."""
    running = []

    def send(received):
        if received.list_number == number:
            running[0].send_signal(sent)

    place.meddle = send
    with started("run", "--config", file, "--data", place.data) as child:
        running.append(child)
        told, said = child.communicate(timeout=PATIENCE)
    place.meddle = None
    place.server.app.faults = ()
    assert "Traceback" not in said
    return child.returncode, told + said


def assert_true_and_completed(place):
    """Check that nothing before the position is missing, no temp file is left, and the next run brings the rest."""
    through = place.status().data_through
    missing = place.store.visible_ids() - held(place.data)
    assert not through or all(place.store._rows[id_].created > through.timestamp() for id_ in missing)
    assert not [*(place.data / ".writer" / "temp").glob("*")]
    assert place.run().exit_code == 0
    listed = sorted(place.store.visible_ids())
    assert sorted(held(place.data)) == in_parquet(place.data) == in_snapshot(place.data) == listed


FAST = {(1, 130), (2, 143), (6, 130)}
MOMENTS = {1: "knocking", 2: "first page", 4: "later page", 6: "last page"}


@pytest.mark.parametrize(
    ("number", "sent"),
    [
        pytest.param(number, sent, id=f"{moment}-{sent.name}", marks=() if (number, code) in FAST else pytest.mark.slow)
        for number, moment in MOMENTS.items()
        for sent, code in CODES.items()
    ],
)
def test_stopped_while_a_page_is_asked_for(place, tmp_path, sent, number):
    """130 or 143; what was read is kept and the next run goes on."""
    file = settings(tmp_path, place, tables=True, limit=5)
    code, said = stopped_at(place, file, number, sent)
    assert code == CODES[sent], said
    assert_true_and_completed(place)


@pytest.mark.parametrize(
    "fault",
    [Fault("stall", at=4), Fault("503", at=4, header="retry-after", value="60")],
    ids=["stalled body", "long wait"],
)
def test_stopped_while_waiting(place, tmp_path, fault):
    """A stalled body and a long wait between attempts are left at once."""
    place.server.app.faults = (fault,)
    file = settings(tmp_path, place, tables=True, limit=5, timeout="10m", retry_time="10m")
    with started("run", "--config", file, "--data", place.data) as child:
        place.await_answer(4)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=PATIENCE)
    place.server.app.faults = ()
    assert child.returncode == 143
    assert_true_and_completed(place)


def test_stopped_between_sources(place, tmp_path):
    """The sources that the run did not reach are named, and the code is still that of the signal."""
    with type(place)(tmp_path) as other:
        other.add(1)
        code, said = stopped_at(place, settings(tmp_path, place, other, limit=5), 4, signal.SIGTERM)
    assert code == 143
    assert "the run was asked to stop before this source" in said
