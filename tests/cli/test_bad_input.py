"""What bad input gets: one clear message, the right exit code, and what was there stays intact."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sandbox.app import NO_PERMISSION_KEY
from pipeline.sandbox.faults import Fault
from tests.e2e.place import NOW, held

from .program import PATIENCE, PROGRAM, assert_one_message, environment, pipeline, settings


def slow(*values):
    """Leave a case that differs little from its neighbour to the slow tests."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "set the environment variable OPENAI_API_KEY"),
        ("sk-wrong", "Incorrect API key provided"),
        (NO_PERMISSION_KEY, "You have insufficient permissions"),
    ],
    ids=["none", "wrong", "without permission"],
)
def test_a_key_that_is_not_enough(place, key, said):
    """77 with the setting, the source and what the server said; nothing is written, not even the folder."""
    done = pipeline("run", "--data", place.data, OPENAI_BASE_URL=place.server.base_url, OPENAI_API_KEY=key)
    assert_one_message(done, 77, "source default", "api_key", said)
    assert "sk-" not in done.stdout + done.stderr
    assert not place.data.exists()


@pytest.mark.parametrize("status", ["404", slow("405"), slow("501")])
def test_a_server_without_the_list(place, tmp_path, status):
    """78 and that sentence; nothing is written."""
    place.server.app.faults = (Fault(status, times=0),)
    done = pipeline("run", "--config", settings(tmp_path, place), "--data", place.data)
    assert_one_message(done, 78, f"this server has no stored completions: it answers the list with {status}")
    assert not place.data.exists()


def test_every_problem_of_the_settings_at_once(tmp_path):
    """78, with file, key and the nearest known key, for each problem."""
    file = tmp_path / "settings.toml"
    file.write_text(
        'dada = "x"\n[sources.prod]\nbase_ulr = "https://a"\nlimit = "many"\napi_key = "sk-written-here"\n'
        '[sources.a]\n[sources.b]\n[sources."Ä"]\n[destinations]\nparquet = 1\n',
        encoding="utf-8",
    )
    done = pipeline("run", "--config", file, cwd=tmp_path)
    assert_one_message(
        done,
        78,
        f"{file}: dada is not a setting; did you mean data?",
        f"{file}: sources.prod.base_ulr is not a setting; did you mean base_url?",
        f"{file}: sources.prod.limit must be a whole number",
        f"{file}: sources.prod.api_key must name where the key is",
        f"{file}: sources.Ä must be named with",
        f"{file}: sources.b reads the same place as sources.a",
        f"{file}: destinations.parquet must be true or false",
    )
    assert "sk-written-here" not in done.stdout + done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", ["[sources.a]\n[sources.a]", slow("data ="), slow("\x00")])
def test_settings_that_are_not_toml(tmp_path, text):
    """78 with the file; a source that stands twice is said to."""
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    assert_one_message(pipeline("config", "check", "--config", file), 78, f"{file} is not TOML")


# -- the data folder -----------------------------------------------------------------------------------------------


def test_a_folder_in_use(place, tmp_path):
    """75 at once, with who holds it."""
    assert place.run(bare=True).exit_code == 0
    with (place.data / ".writer" / "lock").open("r+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        json.dump({"pid": 4711, "host": "elsewhere"}, lock)
        lock.flush()
        asked = place.asked()
        done = pipeline("run", "--config", settings(tmp_path, place), "--data", place.data)
    assert_one_message(done, 75, "process 4711 on elsewhere")
    assert place.asked() == asked


@pytest.mark.parametrize("command", ["run", slow("status")])
def test_a_folder_that_is_not_ours(place, tmp_path, command):
    """78, and what lies there stays as it is."""
    place.data.mkdir()
    (place.data / "thesis.txt").write_text("dear", encoding="utf-8")
    done = pipeline(command, "--config", settings(tmp_path, place), "--data", place.data)
    assert_one_message(done, 78, "is not a data folder")
    assert [path.name for path in place.data.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("command", [slow("run"), "status"])
def test_a_file_instead_of_a_folder(place, tmp_path, command):
    """78, and the file stays."""
    place.data.write_text("dear", encoding="utf-8")
    done = pipeline(command, "--config", settings(tmp_path, place), "--data", place.data)
    assert_one_message(done, 78, "is a file, not a folder")
    assert place.data.read_text(encoding="utf-8") == "dear"


@pytest.mark.parametrize("command", ["run", slow("status")])
def test_a_folder_of_a_newer_format(place, tmp_path, command):
    """78 with the format, and the segment stays as the newer version wrote it."""
    assert place.run(bare=True).exit_code == 0
    segment = next((place.data / "archive" / "prod").glob("*.parquet"))
    table = pq.ParquetFile(segment).read()
    footer = json.loads(table.schema.metadata[b"pipeline.segment"])
    newer = {**table.schema.metadata, b"pipeline.segment": json.dumps({**footer, "format": 3, "new": 1})}
    pq.write_table(table.replace_schema_metadata(newer), segment)
    before = segment.read_bytes()
    done = pipeline(command, "--config", settings(tmp_path, place), "--data", place.data)
    assert_one_message(done, 78, "has format 3, this version knows formats up to 2")
    assert segment.read_bytes() == before


@pytest.mark.parametrize("what", ["garbage", slow("foreign")])
def test_a_segment_that_is_none(place, tmp_path, what):
    """78 with the file; nothing is overwritten."""
    assert place.run(bare=True).exit_code == 0
    segment = next((place.data / "archive" / "prod").glob("*.parquet"))
    if what == "garbage":
        segment.write_bytes(b"garbage")
    else:
        pq.write_table(pa.table({"a": [1]}), segment)
    before = segment.read_bytes()
    done = pipeline("run", "--config", settings(tmp_path, place), "--data", place.data)
    assert_one_message(done, 78, str(segment), "restore this file from a backup")
    assert segment.read_bytes() == before


def as_nobody(*arguments):
    """Run the program as a user that owns nothing."""
    return subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment(),
    )


def open_to_all(path):
    """Let anybody pass through the folders above a path."""
    for folder in path.parents:
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o055 != 0o055:
            folder.chmod(0o755)


needs_another_user = pytest.mark.skipif(
    os.geteuid() != 0
    or not shutil.which("setpriv")
    or subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", "import pipeline"],
        capture_output=True,
        check=False,
    ).returncode
    != 0,
    reason="needs root, setpriv, and an interpreter that another user may start",
)


@needs_another_user
@pytest.mark.parametrize("command", ["run", slow("status")])
def test_a_folder_of_another_user(place, tmp_path, command):
    """77 says whose folder it is; nothing changes."""
    assert place.run(bare=True).exit_code == 0
    before = held(place.data)
    open_to_all(place.data)
    done = as_nobody(command, "--config", settings(tmp_path, place), "--data", place.data)
    assert_one_message(done, 77, "not allowed to", str(place.data))
    assert held(place.data) == before


@needs_another_user
def test_a_folder_that_cannot_be_made(place, tmp_path):
    """77 where the place above is not ours."""
    open_to_all(place.data)
    done = as_nobody("run", "--config", settings(tmp_path, place), "--data", place.data / "below")
    assert_one_message(done, 77, "not allowed to")
    assert not place.data.exists()


#: The program, where no file may grow beyond 20 kB.
_ON_A_SMALL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from pipeline.__main__ import main
main()
"""


@pytest.mark.slow
def test_a_disk_that_is_full(place, tmp_path):
    """75, what was there stays intact, no temp file is left, and the next run goes on."""
    assert place.run().exit_code == 0
    before = held(place.data)
    for number in range(20):
        place.add(NOW - 50 + number, choices=[{"index": 0, "message": {"content": os.urandom(4000).hex()}}])
    file = settings(tmp_path, place, tables=True)
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_SMALL_DISK, "run", "--config", str(file), "--data", str(place.data)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment(),
    )
    assert_one_message(done, 75, "no space left")
    assert before <= held(place.data)
    assert not [*(place.data / ".writer" / "temp").iterdir()]
    assert place.run().exit_code == 0
    assert held(place.data) == place.store.visible_ids()


# -- the server ----------------------------------------------------------------------------------------------------


def test_a_server_that_is_down(tmp_path):
    """75 after the caps, and nothing is written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        file = tmp_path / "settings.toml"
        file.write_text(f'[sources.prod]\nbase_url = "{url}"\nretry_attempts = 2', encoding="utf-8")
        done = pipeline("run", "--config", file, "--data", tmp_path / "data")
    assert_one_message(done, 75, "source prod: cannot connect", url)
    assert not (tmp_path / "data").exists()


def test_a_server_that_hangs(place, tmp_path):
    """75 after the caps; what was read is kept, and the next run goes on."""
    place.server.app.faults = (Fault("stall", at=4, times=0),)
    file = settings(tmp_path, place, limit=5, timeout="500ms")
    done = pipeline("run", "--config", file, "--data", place.data)
    assert_one_message(done, 75, "the server stopped answering in time")
    assert len(held(place.data)) == 10  # a page of each end
    place.server.app.faults = ()
    assert place.run(bare=True).exit_code == 0
    assert held(place.data) == place.store.visible_ids()


def test_a_server_that_flaps(place, tmp_path):
    """Every other answer is an error: retried, and the run is done."""
    place.server.app.faults = tuple(Fault("503", at=at, header="retry-after-ms", value="1") for at in range(1, 99, 2))
    done = pipeline("run", "--config", settings(tmp_path, place, limit=5), "--data", place.data)
    assert_one_message(done, 0, "20 new")
    assert held(place.data) == place.store.visible_ids()


@pytest.mark.parametrize(
    ("name", "value"),
    [("SSL_CERT_FILE", "/nowhere/at-all.pem"), slow("ALL_PROXY", "gopher://127.0.0.1:1")],
)
def test_an_environment_that_httpx_cannot_use(tmp_path, name, value):
    """78 names the variables to look at."""
    done = pipeline("run", "--data", tmp_path / "data", **{name: value})
    assert_one_message(done, 78, "the proxy or the certificates cannot be used", name)


@pytest.mark.parametrize("name", ["OPENAI_ORG_ID", slow("OPENAI_PROJECT_ID")])
def test_a_header_that_cannot_be_sent(tmp_path, name):
    """78 names the setting."""
    done = pipeline("run", "--data", tmp_path / "data", **{name: "Ä"})
    assert_one_message(done, 78, "environment: sources.default.", "must be a text of ASCII letters")


# -- the sandbox ---------------------------------------------------------------------------------------------------


def test_a_fault_that_cannot_be_read():
    """2 with how to write one."""
    assert_one_message(pipeline("sandbox", "--fault", "soon:503"), 2, "cannot read the fault 'soon:503'", "10%:reset")


def test_a_port_in_use(place):
    """2 with the port."""
    port = place.server.base_url.removesuffix("/v1").rpartition(":")[2]
    done = pipeline("sandbox", "--port", port, "--completions", "1")
    assert_one_message(done, 2, f"port {port}: Address already in use")


def test_a_port_that_does_not_exist():
    """2, as click says it."""
    assert_one_message(pipeline("sandbox", "--port", "99999"), 2, "99999 is not in the range")


# -- limits --------------------------------------------------------------------------------------------------------


def test_a_source_that_is_not_there(place, tmp_path):
    """2 with the names that there are; nobody is asked and nothing is written."""
    done = pipeline("run", "--config", settings(tmp_path, place), "--data", place.data, "--only", "prdo")
    assert_one_message(done, 2, "no source is named prdo", "there are: prod")
    assert (place.asked(), place.data.exists()) == (0, False)


@pytest.mark.parametrize(
    ("option", "value"), [("--max-runtime", "soon"), ("--max-runtime", "0s"), ("--max-pages", "0")]
)
def test_a_limit_that_is_none(place, option, value):
    """2, with the option and what it must be."""
    assert_one_message(pipeline("run", "--data", place.data, option, value), 2, option)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("forget", "--metadata", "foo"), 2, "'foo' is no KEY=VALUE"),
        (("forget", "--yes", "--metadata", "a=1", "--metadata", "a=2"), 2, "one key more than once"),
        (("rebuild", "parquet", "--accept-losses"), 2, "pipeline rebuild ledger"),
        (("run", "--data", "run:1"), 78, "looks like a URL"),
        (("run", "--data", b"u\xff"), 78, "is not UTF-8"),
        (("query", "--recipe", "most_expensive", "--set", f"rows={'9' * 5000}"), 2, "--set rows: is a whole number"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_arguments_that_say_nothing_usable(tmp_path, arguments, code, said):
    """One message that names the argument; nothing is made or forgotten."""
    told = [os.fsdecode(one) if isinstance(one, bytes) else one for one in arguments]
    assert_one_message(pipeline(*told, cwd=tmp_path), code, said)
    assert not list(tmp_path.iterdir())


def test_an_address_of_the_environment_that_is_none():
    """The variable is named, once."""
    done = pipeline("run", OPENAI_BASE_URL="127.0.0.1:18080/v1")
    assert_one_message(done, 78, "OPENAI_BASE_URL must be a URL")
    assert "organization" not in done.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('[sources.a]\ntimeout = "0s"', "sources.a.timeout must be a duration"),
        ('[sources.a]\ntimeout = "99999999999999999999d"', "sources.a.timeout must be a duration"),
        ('data = "~nobody-of-that-name/x"\n[sources.a]', "home folder of somebody who has none"),
        ("[sources.a]\n[cost]\ndiscounts = [{ percent = nan }]", "percent must be a number"),
        ('[sources.a]\napi_key = "env:HOME"\n[organization]\nadmin_key = "env:NOBODY_SET_IT"', "NOBODY_SET_IT"),
    ],
)
def test_settings_that_cannot_be(tmp_path, setting, said):
    """They are refused when they are checked, not in the middle of a run."""
    file = tmp_path / "settings.toml"
    file.write_text(setting)
    done = pipeline("config", "check", "--config", file)
    assert said in done.stderr
    assert done.returncode in {77, 78}


def test_a_server_that_cannot_be_reached_is_told_while_it_is_asked_again(tmp_path):
    """Whoever waits learns why, before the run gives up."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        file = tmp_path / "settings.toml"
        file.write_text(f'[sources.a]\nbase_url = "http://127.0.0.1:{unused.getsockname()[1]}"\nretry_attempts = 3\n')
        done = pipeline("run", "--config", file, "--data", tmp_path / "data")
    assert "tried 2 of 3 times, again in" in done.stderr
    assert done.returncode == 75


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take its own rights away")
@pytest.mark.parametrize("command", [("query", "SELECT 1"), ("cost",), ("status",)])
def test_what_may_not_be_read(place, tmp_path, command):
    """77 with what may not be read, for somebody who is not the owner."""
    assert pipeline("run", "--config", settings(tmp_path, place, tables=True), "--data", place.data).returncode == 0
    for path in (place.data, place.data.parent, tmp_path):
        path.chmod(0o755 if path != place.data else 0o000)
    program = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", *PROGRAM)
    done = subprocess.run(
        [*program, *command, "--data", str(place.data)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=PATIENCE,
    )
    place.data.chmod(0o700)
    assert_one_message(done, 77, "not allowed to")
