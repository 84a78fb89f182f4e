"""Break a copy of the program, one mutation at a time, and see whether the tests notice.

``python -m tests.mutations [NAME…]`` tries all, or those named. Ends with 1 where one survives, where its text is not
found exactly once, or where the same tests fail on the program as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .catalogue import MUTATIONS

if TYPE_CHECKING:
    from .mutation import Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("pipeline", "tests", "configs", "pyproject.toml", "README.md", "Makefile")
#: pytest's own exit code where tests failed; any other one says that they did not even run.
FAILED = 1
#: Seconds for one test: a walk that has lost its brakes never ends by itself.
PATIENCE = "60"
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", re.MULTILINE)


class Copy:
    """The program in a folder of its own, where it may be broken."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)

    def python(self, *arguments: str, environment: str = "") -> subprocess.CompletedProcess[str]:
        """Run Python in the copy; no bytecode is kept: it could be that of another mutation of the same second."""
        told = {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [ROOT / environment / "bin" / "python" if environment else sys.executable, *arguments],
            cwd=self.root,
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            check=False,
        )

    def test(self, *tests: str, environment: str = "") -> subprocess.CompletedProcess[str]:
        """Run tests against the copy, up to the first that fails."""
        return self.python("-m", "pytest", "-x", "-q", f"--timeout={PATIENCE}", *tests, environment=environment)

    def insist_on_health(self, mutations: list[Mutation]) -> None:
        """See that the tests pass on the program as it is."""
        for environment in dict.fromkeys(mutation.environment for mutation in mutations):
            ones = [mutation for mutation in mutations if mutation.environment == environment]
            done = self.test(*dict.fromkeys(test for one in ones for test in one.tests), environment=environment)
            if done.returncode:
                raise SystemExit(f"{done.stdout[-3000:]}\nthe tests fail on the program as it is")

    def insist_on_itself(self) -> None:
        """See that the copy is what gets imported: an editable install points to the original."""
        found = self.python("-c", "import pipeline; print(pipeline.__file__)").stdout.strip()
        if Path(found) != self.root / "pipeline" / "__init__.py":
            raise SystemExit(f"the tests would run against {found}")

    def tried(self, mutation: Mutation) -> tuple[bool, str]:
        """Apply a mutation, test, and take it back; return whether it was caught, and by what, or why not."""
        if mutation.count(self.root) != 1:
            return False, f"its text is found {mutation.count(self.root)} times in {mutation.file}"
        file = self.root / mutation.file
        whole = file.read_text(encoding="utf-8")
        file.write_text(mutation.broken(self.root), encoding="utf-8")
        try:
            done = self.test(*mutation.tests, environment=mutation.environment)
        finally:
            file.write_text(whole, encoding="utf-8")
        if done.returncode == FAILED:
            return True, next(iter(_FAILURE.findall(done.stdout)), "?")
        return False, "SURVIVED" if done.returncode == 0 else f"the tests do not run: {_last_line(done.stdout)}"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no word"])[-1]


def chosen(names: list[str]) -> list[Mutation]:
    """Return the mutations of these names; all, where there are none."""
    if unknown := set(names) - {mutation.name for mutation in MUTATIONS}:
        raise SystemExit(f"no such mutation: {', '.join(sorted(unknown))}")
    return [mutation for mutation in MUTATIONS if not names or mutation.name in names]


def main(names: list[str]) -> int:
    """Try mutations and print a table of them."""
    mutations = chosen(names)
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Copy(Path(folder))
        copy.insist_on_itself()
        copy.insist_on_health(mutations)
        _tell("name | rule | caught by | seconds")
        return max([_told(copy, mutation) for mutation in mutations], default=0)


def _told(copy: Copy, mutation: Mutation) -> int:
    """Try a mutation and tell how it went, as a row of the table."""
    began = time.monotonic()
    is_caught, how = copy.tried(mutation)
    _tell(f"{mutation.name} | {mutation.rule} | {how} | {time.monotonic() - began:.1f}")
    return 0 if is_caught else 1


def _tell(*lines: str) -> None:
    """Say at once: the next mutation may take a minute."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
