"""Tests are sealed from the machine: no network but loopback, no home folder, no key, no settings of its user."""

import ipaddress
import os
import socket

import pytest
from hypothesis import HealthCheck, settings

import pipeline.load.duckdb as door

from .template import copied_from

settings.register_profile("fast", max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("all", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("PIPELINE_TEST_PROFILE", "fast"))


class ATestTriedToLeaveTheMachineError(RuntimeError):
    """A test connected to something that is not loopback."""


def _insist_on_this_machine(address):
    if not isinstance(address, tuple):
        return
    try:
        is_here = ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        is_here = address[0] == "localhost"
    if not is_here:
        raise ATestTriedToLeaveTheMachineError(str(address[0]))


def _sealed_call(call):
    def insist(self, address):
        _insist_on_this_machine(address)
        return call(self, address)

    return insist


# No audit hook: Python 3.11 calls it while it starts to trace a thread, for coverage, and another thread that starts at
# this moment dies of it ("Cannot install a trace function while another trace function is being installed").
socket.socket.connect = _sealed_call(socket.socket.connect)
socket.socket.connect_ex = _sealed_call(socket.socket.connect_ex)


@pytest.fixture(autouse=True)
def _sealed(monkeypatch, tmp_path_factory):
    """Take away the home folder and everything of the environment that could reach the program."""
    home = tmp_path_factory.getbasetemp() / "this-is-not-your-home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AZURE_", "AWS_", "GOOGLE_", "PIPELINE_", "OTEL_")) and not name.startswith(
            ("PIPELINE_TEST", "PIPELINE_OTHER")
        ):
            monkeypatch.delenv(name)
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _made_once(tmp_path_factory):
    """Begin an empty warehouse with a copy of one that was made before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door, "_prepared", copied_from(tmp_path_factory.mktemp("made")))
        yield
