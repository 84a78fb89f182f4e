"""The program under measurement: shipped settings, a data folder of its own, and the proof at the end."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from subprocess import run
from typing import TYPE_CHECKING, Any

from tests.bench.measure import Measured, measured
from tests.bench.service import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.service import Service

_COUNT = "SELECT count(*) AS n, count(DISTINCT id) AS ids, count(gone_at) AS gone FROM completions"
#: The server asks for none, but the program wants one named.
KEY = {"OPENAI_API_KEY": "any"}


def knows(setting: str) -> bool:
    """Tell whether the program has a setting, by the file that lists them all."""
    return f"# {setting} =" in (ROOT / "pipeline" / "settings.toml").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Night:
    """What one run cost, with publishing set apart."""

    whole: Measured
    publishing: float
    """Seconds."""
    published: float
    """MB written by it."""

    @property
    def seconds(self) -> float:
        """Wall time without publishing."""
        return self.whole.seconds - self.publishing

    @property
    def written(self) -> float:
        """MB written without publishing."""
        return self.whole.written - self.published

    @property
    def source(self) -> dict[str, Any]:
        """What the run tells of its source."""
        told: dict[str, Any] = json.loads(self.whole.stdout.splitlines()[-1])["sources"][0]
        return told


class Program:
    """The program over one data folder and one source."""

    def __init__(self, folder: Path, url: str, service: Service | None = None) -> None:
        self.data = folder / "data"
        self._folder = folder
        self._url = url
        self._service = service

    @classmethod
    def of(cls, folder: Path, service: Service) -> Program:
        """Point the program to the benchmark's server."""
        return cls(folder, f"{service.url}/v1", service)

    def clear(self) -> None:
        """Remove the data folder."""
        shutil.rmtree(self.data, ignore_errors=True)

    def measure(self, *arguments: object, **settings: object) -> Measured:
        """Run a command; ``settings`` of the source stand in for the shipped ones."""
        command = [sys.executable, "-m", "tests.bench.program", *arguments, *self._where(settings)]
        return measured(command, self._service, KEY)

    def night(self, command: str = "run", **settings: object) -> Night:
        """Run ``run`` or ``sweep``."""
        whole = self.measure(command, "--json", **settings)
        told = json.loads(whole.stderr.splitlines()[-1])
        return Night(whole, told["publishing"], told["published"] / 1e6)

    def prove(self, count: int) -> None:
        """End the benchmark unless verify is clean and every completion is held once, none of them gone."""
        if notes := json.loads(self._ask("verify", "--json"))["notes"]:  # a destination that lags is not compared
            sys.exit(f"verify notes {notes}")
        told = json.loads(self._ask("query", "--format", "json", _COUNT))
        if told != [{"n": count, "ids": count, "gone": 0}]:
            sys.exit(f"{count:,} completions are listed, but held are {told}")

    def where(self) -> list[str]:
        """Return the options that name settings and data folder."""
        return self._where({})

    def _where(self, settings: dict[str, object]) -> list[str]:
        file = self._folder / "pipeline.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in {"base_url": self._url, **settings}.items()]
        file.write_text("\n".join(["[sources.prod]", *lines, ""]), encoding="utf-8")
        return ["--config", str(file), "--data", str(self.data)]

    def _ask(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "pipeline", *arguments, *self._where({})]
        done = run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            sys.exit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout
