"""A stop that is asked for by a signal breaks off waits, and nothing else."""

import signal

import pytest

from pipeline.stopping import Stop, StoppedError


@pytest.fixture
def alarmed():
    """Ask for a stop by a real signal, as soon as may be; hands out the stop."""
    stop = Stop()
    before = signal.signal(signal.SIGALRM, lambda *_: stop.ask())
    yield stop
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_signal_ends_a_sleep(alarmed):
    """The wait between two attempts is left at once."""
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(StoppedError):
        alarmed.sleep(3600)


def test_a_signal_waits_for_the_end_of_other_work(alarmed):
    """Outside of a wait the run notices at the next check."""
    signal.raise_signal(signal.SIGALRM)
    assert alarmed.asked
    with pytest.raises(StoppedError):
        alarmed.check()


def test_a_wait_is_not_begun_after_a_stop(alarmed):
    """Where the stop came first, neither sleep nor network is entered."""
    alarmed.ask()
    entered = False
    with pytest.raises(StoppedError), alarmed.interruptible():
        entered = True
    assert not entered


def test_a_second_stop_does_not_raise_again(alarmed):
    """Clean-up behind a broken wait is not interrupted."""
    with pytest.raises(StoppedError), alarmed.interruptible():
        alarmed.ask()
    alarmed.ask()
