"""A scheduler as its users have it: a Python of its own, a recipe of configs/, and settings files of shards."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.place import KEY

if TYPE_CHECKING:
    from tests.e2e.place import Place

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
#: Seconds; the schedulers start servers and make databases of their own.
PATIENCE = 280
QUIET = {
    "DO_NOT_TRACK": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DISABLE_TELEMETRY": "1",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "SCARF_ANALYTICS": "false",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
}


def python(name: str) -> Path:
    """Return the Python of an environment."""
    return ROOT / f".venv-{name}" / "bin" / "python"


def needs(name: str) -> list[Any]:
    """Mark tests that need an environment: they are slow, and skipped where it is not."""
    there = (ROOT / f".venv-{name}" / "made").exists()
    reason = f"its scheduler is not here: `make .venv-{name}/made` installs it"
    return [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.skipif(not there, reason=reason)]


def shard(folder: Path, name: str, place: Place, **more: object) -> Path:
    """Write the settings of a shard: a source, its key in a file, a data folder of its own."""
    key = folder / f"{name}.key"
    key.write_text(KEY)
    told = {"base_url": place.server.base_url, "api_key": f"file:{key}", "retry_attempts": 1, **more}
    lines = [
        f'data = "{place.data}"',
        f"[sources.{name}]",
        *(f"{key} = {json.dumps(value)}" for key, value in told.items()),
    ]
    (folder / f"{name}.toml").write_text("\n".join(lines))
    return folder / f"{name}.toml"


def run(name: str, script: str, folder: Path, **env: object) -> Any:
    """Run a script in an environment, sealed; return what it wrote as JSON on its last line."""
    left = folder / "left-the-machine"
    told = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": f"{Path(__file__).parent / 'sealed'}:{ROOT}",
        "LEFT_THE_MACHINE": str(left),
        **QUIET,
        **{key: str(value) for key, value in env.items()},
    }
    done = subprocess.run(
        [python(name), "-c", script],
        cwd=folder,
        env=told,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert not left.exists(), left.read_text()
    assert KEY not in done.stdout + done.stderr
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return json.loads(done.stdout.splitlines()[-1])
