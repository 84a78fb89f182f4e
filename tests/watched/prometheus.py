"""Prometheus' own programs, where they are found: on the PATH, or unpacked by make."""

import shutil
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".venv-prometheus" / "usr" / "bin"


def program(name):
    """Return the path of a program, or skip the test with the reason."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    return found or pytest.skip(f"{name} is not found: `make test-all` unpacks it where apt-get is there")


def free_port():
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
