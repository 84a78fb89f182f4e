"""Who may read and write what lies on the disk: modes, whatever the umask, and no way through somebody's links."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest

from pipeline import run as pipeline_run
from pipeline.errors import RefusedError
from pipeline.files import write_whole
from pipeline.folder import DataFolder, owned
from tests.cli.program import pipeline, settings
from tests.e2e.place import NOW, Place

#: By setting: modes of folders and files of the Parquet dataset, of the data folder itself, and of the snapshot.
SHARED = {"none": (0o700, 0o600, 0o700, 0o400), "group": (0o750, 0o640, 0o710, 0o440)}
#: Some user who is not us.
SOMEBODY = 12_345
_PNG = "data:image/png;base64," + "iVBORw0KGgo" * 400


@pytest.fixture
def place(tmp_path):
    """Serve a completion with an image, so that every kind of file is written."""
    with Place(tmp_path) as one:
        for number in range(3):
            one.add(NOW - 60 + number, choices=[{"index": 0, "message": {"role": "assistant", "content": _PNG}}])
        yield one


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def expected(place, path, share):
    """Return the mode that a path of the data folder should have."""
    folder, file, root, snapshot = SHARED[share]
    if path == place.data:
        return root
    if path.is_file() and path.name == "warehouse.duckdb" and ".writer" not in path.parts:
        return snapshot
    if place.data / ".published" in (path, *path.parents):
        return root
    is_shared = (place.data / "parquet") in (path, *path.parents)
    if path.is_dir():
        return folder if is_shared else 0o700
    return file if is_shared else 0o600


@pytest.mark.parametrize(
    ("umask", "share"),
    [
        (0o000, "none"),
        (0o077, "group"),
        pytest.param(0o000, "group", marks=pytest.mark.slow),
        pytest.param(0o077, "none", marks=pytest.mark.slow),
    ],
)
def test_every_file_has_its_mode_whatever_the_umask(place, tmp_path, umask, share):
    """All is private; with share = "group" the group reads the Parquet dataset and the snapshot, and no more."""
    config = settings(tmp_path, place, tables=True)
    config.write_text(f'share = "{share}"\n{config.read_text(encoding="utf-8")}', encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    asked = ("--config", config, "--data", place.data)
    before = os.umask(umask)
    try:
        assert pipeline("run", *asked).returncode == 0
        assert pipeline("report", *asked, "--out", out / "report.html").returncode == 0
        assert pipeline("focus", *asked, "--month", "2025-09", "--out", out / "focus.csv").returncode == 0
    finally:
        os.umask(before)
    written = [place.data, *place.data.rglob("*")]
    assert {"lock", "ledger.jsonl", "manifest.json", "warehouse.duckdb", "blobs"} <= {path.name for path in written}
    assert {path: oct(mode(path)) for path in written} == {path: oct(expected(place, path, share)) for path in written}
    assert {path.name: mode(path) for path in out.iterdir()} == {"report.html": 0o600, "focus.csv": 0o600}


def test_a_link_in_place_of_a_temp_file_leads_nowhere(tmp_path):
    """What somebody put where a temp file will lie is not followed: it goes, and the file it named stays as it was."""
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / f"report.html.{os.getpid()}.tmp").symlink_to(tmp_path / "mine")
    write_whole(tmp_path / "report.html", b"ours", scratch=tmp_path)
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert (tmp_path / "report.html").read_bytes() == b"ours"
    assert not (tmp_path / "report.html").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "report.html"]


@pytest.mark.slow
def test_the_snapshot_is_private_again_when_it_is_shared_no_more(place):
    """Taking share back takes effect with the next run, which publishes anew."""
    config = place.config()
    for share, wanted in (("group", 0o440), ("none", 0o400)):
        assert pipeline_run(replace(config, share=share)).published
        assert mode(place.data / "warehouse.duckdb") == wanted


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("name", [".writer", "archive", "blobs", "parquet", "delta", ".published", "warehouse.duckdb"])
def test_a_link_of_another_user_is_not_followed(tmp_path, name):
    """77 names it, and nothing is written where it leads, also where others may write in the data folder."""
    (tmp_path / "data" / ("archive" if name != "archive" else ".writer")).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere")
    os.lchown(tmp_path / "data" / name, SOMEBODY, SOMEBODY)
    with (
        pytest.raises(RefusedError, match=f"{name} was put there by another user"),
        owned(DataFolder(tmp_path / "data")),
    ):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []
