"""What Spark is not given is refused before any work, and what fails leaves nothing that looks whole."""

import shutil

import pytest

from pipeline.config import Config
from pipeline.folder import DataFolder
from pipeline.repair import repair

from .chance import Chance
from .session import different, needs, told_by

pytestmark = needs("spark", "java")
#: Runs calls one after the other, and tells how each ended, what then lay there, and whether a setting was given back.
CALLS = """
import json
from pathlib import Path
from pipeline.spark import flatten
told = {}
for name, archive, out, more in CALLS:
    try:
        flatten(spark, archive, out, **more)
        ended = "done"
    except Exception as error:
        ended = f"{type(error).__name__}: {error}"
    there = sorted(path.name for path in Path(out).iterdir()) if Path(out).exists() else None
    told[name] = [ended, there, spark.conf.get("spark.sql.parquet.outputTimestampType")]
print(json.dumps(told))
"""


@pytest.fixture
def archive(tmp_path):
    """Keep ten segments of one source in a data folder."""
    folder = DataFolder(tmp_path / "data")
    folder.scratch.mkdir(parents=True)
    Chance(folder, "chance", 3).segments(10)
    return folder.archive


def copied(archive, name):
    """Copy an archive, to damage it; return the folder of its source."""
    return shutil.copytree(archive, archive.parent.parent / name) / "chance"


def test_each_is_told_in_a_sentence(archive, tmp_path):
    """Nothing is written where something is missing or in the way; the session's own settings are given back.

    A segment that is no segment ends a call with our sentence in Spark's error, and an empty folder; named one by one,
    all segments are as good as their folder.
    """
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    (copied(archive, "gap") / "00000004.parquet").unlink()
    (copied(archive, "forgotten") / "forgotten.json").write_text("{}")
    (copied(archive, "ledger") / "ledger.jsonl").write_text("{}\n")
    (copied(archive, "end") / "00000010.parquet").unlink()
    (copied(archive, "broken") / "00000010.parquet").write_bytes(b"PAR1, says who?")
    (tmp_path / "nothing" / "chance").mkdir(parents=True)
    segments = [str(path) for path in sorted((archive / "chance").glob("*.parquet"))]
    calls = [
        ("full", str(archive), str(tmp_path / "full"), {}),
        *((name, str(tmp_path / name), str(tmp_path / f"{name}-out"), {}) for name in
          ("gap", "end", "forgotten", "ledger", "broken", "nothing", "nowhere")),
        ("delta", str(archive), str(tmp_path / "delta-out"), {"format": "delta"}),
        ("unnamed", [*segments, f"{archive}/chance/00000011.parquet"], str(tmp_path / "unnamed-out"), {}),
        ("named", segments, str(tmp_path / "named-out"), {}),
    ]  # fmt: skip
    told = told_by(tmp_path, f"CALLS = {calls!r}\n{CALLS}")
    assert {kept for *_, kept in told.values()} == {"INT96"}
    ended = {name: how for name, (how, *_) in told.items()}
    left = {name: there for name, (_, there, _) in told.items() if there}
    assert ended.pop("named") == "done"
    assert left.pop("named")
    assert left == {"full": ["notes.txt"]}
    assert ended.pop("broken").startswith(("PythonException", "Py4JJavaError"))
    for name, kind, words in (
        ("full", "UsageError", "full is not empty"),
        ("gap", "FolderError", "gap/chance/00000004.parquet is missing"),
        ("end", "FolderError", "end/chance/00000010.parquet is missing"),
        ("forgotten", "FolderError", "forgotten/chance/forgotten.json is damaged"),
        ("ledger", "FolderError", "ledger/chance/ledger.jsonl is damaged"),
        ("nothing", "FolderError", "nothing holds no segment"),
        ("nowhere", "FolderError", "nowhere holds no segment"),
        ("delta", "UsageError", "this session cannot write delta"),
        ("unnamed", "FolderError", "a segment that was named is not there"),
    ):
        how = ended.pop(name)
        assert how.startswith(f"{kind}: "), how
        assert words in how
    assert ended == {}
    repair(Config(data=tmp_path / "data", duckdb=False), "parquet")
    assert different(tmp_path / "data" / "parquet", tmp_path / "named-out") == {}
