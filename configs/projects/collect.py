"""Many projects: each worker exports some of the sources into a data folder of its own; one folder takes all in.

    python collect.py --config projects.toml --data /var/lib/pipeline --place s3://backups/completions --workers 4

An export waits for the pages of its project, so more projects want more workers, not more cores. A source belongs to
one worker for good. On several machines start `--only-worker 1`, `--only-worker 2`, … there, and `--only-union` last.
"""

import argparse
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PIPELINE = [sys.executable, "-m", "pipeline"]


def pipeline(options: argparse.Namespace, folder: str, *words: str) -> int:
    """Run a command on a data folder; what it says goes where ours goes."""
    data = ["--config", str(options.config), "--data", str(options.data / folder)]
    code = subprocess.run([*PIPELINE, *words, *data], check=False).returncode
    return code if code >= 0 else 128 - code  # killed: as a shell says it


def work(options: argparse.Namespace, number: int) -> int:
    """Export the sources of one worker and push them, also where some could not be read to their end."""
    sources = list(tomllib.loads(options.config.read_text())["sources"])
    own = [word for source in sources[number - 1 :: options.workers] for word in ("--only", source)]
    if not own:
        return 0
    code = pipeline(options, f"worker-{number}", "run", *own)
    return pipeline(options, f"worker-{number}", "archive", "push", options.place) or code


def unite(options: argparse.Namespace) -> int:
    """Take in what all workers pushed, make the tables of it, and prove them."""
    steps = (("archive", "pull", options.place), ("rebuild", "all"), ("verify",))
    return next((code for step in steps if (code := pipeline(options, "union", *step))), 0)


def main() -> int:
    """Do the part that is asked for, or all of it."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--config", type=Path, required=True)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--place", required=True)
    asked.add_argument("--workers", type=int, default=4)
    asked.add_argument("--only-worker", type=int)
    asked.add_argument("--only-union", action="store_true")
    options = asked.parse_args()
    if options.only_worker:
        return work(options, options.only_worker)
    codes = []
    if not options.only_union:
        with ThreadPoolExecutor(options.workers) as pool:
            codes = list(pool.map(lambda number: work(options, number), range(1, options.workers + 1)))
    return unite(options) or max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
