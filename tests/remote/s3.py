"""A real object store for tests: SeaweedFS on loopback, its data in a folder that goes with the test."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "something-secret"}
#: Seconds in which it must have started; it takes two.
PATIENCE = 60


def program() -> str:
    """Find SeaweedFS where `make test-all` puts it; without it the test is skipped."""
    there = sorted(Path(__file__).parents[2].glob(".venv-*/bin/weed"))
    found = str(there[0]) if there else shutil.which("weed")
    if found is None:
        pytest.skip("SeaweedFS is not there: make .venv-delta/made")
    return found


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[dict[str, str]]:
    """Serve an empty bucket while the block runs; hand out the environment that finds it."""
    weed = program()
    actions = ["Read", "Write", "List", "Tagging"]
    who = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [{"name": "one", "credentials": [who], "actions": actions}]}))
    ports = {name: _free_port() for name in ("master", "volume", "filer", "s3")}
    arguments = [f"-{name}.port={port}" for name, port in ports.items()]
    arguments += [f"-{name}.port.grpc={_free_port()}" for name in ports]
    arguments += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-s3.config={config}", "-s3"]
    arguments += [
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-volume.max=20",
        f"-filer.localSocket={folder / 'filer'}",
    ]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen([weed, "server", *arguments], stdout=log, stderr=log, cwd=folder)
        try:
            _await(ports["s3"], process)
            environment = {
                **KEYS,
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
                "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true",
            }
            _make_bucket(ports["filer"])
            yield environment
        finally:
            process.kill()
            process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return  # it refuses whoever has no key
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("SeaweedFS did not start: see weed.log")


def _make_bucket(filer: int) -> None:
    """Make a folder where the store's own file server keeps its buckets."""
    request = urllib.request.Request(f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", method="PUT")
    urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310 - our own server


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
