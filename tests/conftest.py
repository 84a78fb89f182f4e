"""Tests are sealed from the machine: no network but loopback, no home folder, no key, no settings of its user."""

import ipaddress
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("fast", max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("all", max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("PIPELINE_TEST_PROFILE", "fast"))


class ATestTriedToLeaveTheMachineError(RuntimeError):
    """A test connected to something that is not loopback."""


def _stay_here(event, arguments):
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = arguments[1][0]
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        raise ATestTriedToLeaveTheMachineError(str(host))


sys.addaudithook(_stay_here)


@pytest.fixture(autouse=True)
def _sealed(monkeypatch, tmp_path_factory):
    """Take away the home folder and everything of the environment that could reach the program."""
    home = tmp_path_factory.getbasetemp() / "this-is-not-your-home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "AZURE_", "PIPELINE_", "OTEL_")) and not name.startswith(
            ("PIPELINE_TEST", "PIPELINE_OTHER")
        ):
            monkeypatch.delenv(name)
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
