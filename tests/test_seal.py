"""The seal around the tests holds."""

import os
import socket
from pathlib import Path

import pytest

from tests.conftest import ATestTriedToLeaveTheMachineError


def test_a_test_cannot_leave_the_machine():
    """Connecting to anything but loopback fails with a name that explains itself."""
    with socket.socket() as outside, pytest.raises(ATestTriedToLeaveTheMachineError):
        outside.connect(("192.0.2.1", 443))


def test_a_test_sees_neither_home_nor_key():
    """The home folder is an empty one and no key of the user is in the environment."""
    assert Path.home().name == "this-is-not-your-home"
    assert not [name for name in os.environ if name.startswith("OPENAI_")]
