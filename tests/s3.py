"""A real S3-compatible server on loopback, for the tests of what lies behind a URL: SeaweedFS, from a package."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

SECONDS = 60
KEY, SECRET = "of-a-test", "the-secret-of-a-test"
BUCKET = "bucket"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Serve a bucket, and hand out the options that delta-rs needs to reach it; where there is no server, none."""
    if program() is None:
        yield {}
        return
    with serving(tmp_path_factory.mktemp("s3")) as options:
        yield options


def program():
    """Find SeaweedFS beside the Python that runs the tests, or where `make test-all` puts it; None where it is not."""
    places = (Path(sys.executable).with_name("weed"), Path(__file__).parents[1] / ".venv-delta" / "bin" / "weed")
    return next((place for place in places if place.exists()), shutil.which("weed"))


@contextlib.contextmanager
def serving(folder):
    """Run the server in a folder; hands out the options that delta-rs needs to reach it."""
    ports = free_ports(8)
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    told = dict(zip((*names, "s3.port", "s3.port.grpc"), ports, strict=True))
    grants = [{"name": "test", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}]
    (folder / "s3.json").write_text(json.dumps({"identities": grants}), encoding="utf-8")
    (folder / "store").mkdir()
    call = [
        *(program(), "server", "-s3", f"-dir={folder / 'store'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        # It would tell its makers of itself.
        *("-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 's3.json'}"),
        *("-master.volumeSizeLimitMB=64", "-volume.max=20", "-volume.minFreeSpace=1MiB"),
        *(f"-filer.localSocket={folder / 'filer.sock'}", f"-s3.localSocket={folder / 's3.sock'}"),
        *(f"-{name}={port}" for name, port in told.items()),
    ]
    with (
        (folder / "weed.log").open("wb") as log,
        subprocess.Popen(call, cwd=folder, env={"HOME": str(folder)}, stdout=log, stderr=log) as server,
    ):
        try:
            options = {
                "aws_endpoint": f"http://127.0.0.1:{told['s3.port']}",
                "aws_access_key_id": KEY,
                "aws_secret_access_key": SECRET,
                "aws_region": "us-east-1",
                "aws_allow_http": "true",
            }
            await_bucket(server, f"http://127.0.0.1:{told['filer.port']}", options["aws_endpoint"], folder)
            yield options
        finally:
            server.kill()  # in peace it would take a quarter of a minute, and nobody needs what it holds


def free_ports(count):
    """Name ports of loopback that nobody listens at."""
    with contextlib.ExitStack() as opened:
        made = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in made:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in made]


def await_bucket(server, filer, s3, folder):
    """Make the bucket, as soon as the server can."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError):
            answered(urllib.request.Request(f"{filer}/buckets/{BUCKET}/", method="POST"))  # noqa: S310 - loopback
            answered(s3)
            return
        time.sleep(0.2)
    raise RuntimeError((folder / "weed.log").read_text(encoding="utf-8", errors="replace")[-3000:])


def answered(request):
    """Insist on an answer, whatever it is: that the bucket is there already, or that nobody asks without a key."""
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - loopback
