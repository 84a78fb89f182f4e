"""`pipeline run --metrics-file`: written however a run ends, whole at every moment, and never a reason to fail."""

import json
import os
import signal
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from pipeline import files
from pipeline.metrics import METRICS
from pipeline.sandbox.faults import Fault
from tests.e2e.place import NOW

from .program import PATIENCE, pipeline, settings, started

SUCCESS, CODE = "pipeline_last_success_timestamp_seconds", "pipeline_run_exit_code"


def read(path):
    """Return the values of one file for the source prod, and by the labels beside it."""
    families = parsed(path.read_text(encoding="utf-8"))
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "source")): sample.value
        for family in families
        for sample in family.samples
        if sample.labels["source"] == "prod"
    }


@pytest.fixture
def called(place, tmp_path):
    """Return a way to run with a metrics file, and the file."""
    path = tmp_path / "node" / "pipeline.prom"
    path.parent.mkdir()
    call = ("run", "--config", settings(tmp_path, place, limit=7), "--data", place.data)
    return lambda *more, **env: pipeline(*call, *more, **{"PIPELINE_METRICS_FILE": str(path), **env}), path


@pytest.mark.slow
def test_a_night_is_told(called, place, tmp_path):
    """Every metric is there but those that nobody can know yet, readable for all, with what the result says."""
    run, path = called
    settings(tmp_path, place, tables=True, limit=7)
    told = json.loads(run("--json").stdout.splitlines()[-1])
    (source,) = told["sources"]
    values = read(path)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [*path.parent.iterdir()] == [path]
    assert {name for name, *_ in values} == {one.name for one in METRICS} - {"pipeline_safety_seconds"}
    assert (values[CODE,], values["pipeline_complete",], values["pipeline_new_completions",]) == (0, 1, 20)
    assert (
        values["pipeline_requests",] == source["requests"] == len(place.server.requests) - 2
    )  # these looked at both ends
    assert values["pipeline_received_bytes",] == source["bytes"]
    assert values["pipeline_stage_seconds", "load"] == told["load_seconds"] > 0
    assert values["pipeline_stage_seconds", "publish"] == told["publish_seconds"] > 0
    assert values["pipeline_destination_exit_code", "duckdb"] == 0
    assert values["pipeline_data_through_timestamp_seconds",] == pytest.approx(NOW, abs=5)


@pytest.mark.slow
def test_the_share_without_a_price(called, place, tmp_path):
    """Requests of a model that has no price, those of the fixture, are told as a share of all."""
    place.add(NOW - 30, 20, model="gpt-4o-mini-2024-07-18")
    run, path = called
    settings(tmp_path, place, tables=True)
    assert run().returncode == 0
    assert read(path)["pipeline_unpriced_ratio",] == 0.5


def test_hours_of_safety(called, place):
    """Where older completions are held than are listed, the time until something unseen could expire is told."""
    run, path = called
    assert run().returncode == 0
    for id_ in sorted(place.store.visible_ids())[:5]:
        place.store.delete(id_)
    place.add(NOW - 20)
    assert run().returncode == 0
    assert -(10**9) < read(path)["pipeline_safety_seconds",] < 600


def unlucky(place, code):
    """Return what ends the next run with this code, and the environment that it needs."""
    faults = {3: "1-:wrong-order", 75: "1-:503:retry-after-ms=1", 77: "1-:401", 78: "1-:404"}
    if code in faults:
        place.server.app.faults = (Fault.parse(faults[code]),)
    return {"PIPELINE_FAILPOINTS": "run.loaded=raise"} if code == 1 else {}


@pytest.mark.parametrize("code", [1, *(pytest.param(code, marks=pytest.mark.slow) for code in (3, 75, 77, 78))])
def test_a_run_that_fails_keeps_the_last_success(called, place, code):
    """Each exit code is written, with when a run last succeeded."""
    run, path = called
    run()
    before = read(path)
    done = run(**unlucky(place, code))
    values = read(path)
    assert (done.returncode, values[CODE,]) == (code, code), done.stderr
    assert values[SUCCESS,] == before[SUCCESS,] > 0
    assert values["pipeline_last_run_timestamp_seconds",] > before["pipeline_last_run_timestamp_seconds",]
    assert values["pipeline_data_through_timestamp_seconds",] >= before["pipeline_data_through_timestamp_seconds",]
    assert (values["pipeline_source_exit_code",] == code) if code != 1 else ("pipeline_source_exit_code",) not in values


@pytest.mark.parametrize("is_lost", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_folder_in_use(called, place, is_lost):
    """A second run tells 75 and what the archive knows: also where the former file is lost."""
    run, path = called
    run()
    success = read(path)[SUCCESS,]
    if is_lost:
        path.unlink()
    with files.locked(place.data / ".writer" / "lock"):
        done = run()
    values = read(path)
    assert (done.returncode, values[CODE,]) == (75, 75)
    assert values[SUCCESS,] == pytest.approx(success, abs=60)
    assert ("pipeline_lag_seconds",) in values


@pytest.mark.slow
def test_settings_that_cannot_be_read(called, tmp_path):
    """Sources that the former file names are kept, so that no alarm falls silent; without one it is the code."""
    run, path = called
    run()
    success = read(path)[SUCCESS,]
    (tmp_path / "pipeline.toml").write_text("[sources.prod\n", encoding="utf-8")
    assert run().returncode == 78
    assert (read(path)[CODE,], read(path)[SUCCESS,]) == (78, success)
    path.unlink()
    run()
    assert 'pipeline_run_exit_code{source=""} 78' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal(called, place, tmp_path, sent, code):
    """A run that was stopped tells so, and is no success."""
    _, path = called
    running = []
    place.meddle = lambda received: received.list_number == 3 and running[0].send_signal(sent)
    call = ("run", "--config", tmp_path / "pipeline.toml", "--data", place.data, "--metrics-file", path)
    with started(*call) as child:
        running.append(child)
        child.communicate(timeout=PATIENCE)
    assert (child.returncode, read(path)[CODE,], read(path)[SUCCESS,]) == (code, code, 0)


@pytest.mark.parametrize(
    "place_of_it", ["not-there/x.prom", "node", pytest.param("node/pipeline.prom/x", marks=pytest.mark.slow)]
)
def test_a_file_that_cannot_be_written(called, tmp_path, place_of_it):
    """That is one warning, and the exit code is that of the run."""
    run, path = called
    path.touch()
    done = run(PIPELINE_METRICS_FILE=str(tmp_path / place_of_it))
    assert done.returncode == 0
    assert "no metrics were written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "not-there").exists()
    assert [*path.parent.iterdir()] == [path]


def test_a_former_file_of_somebody_else(called):
    """Whatever lies there is replaced."""
    run, path = called
    path.write_bytes(os.urandom(1000))
    assert run().returncode == 0
    assert read(path)[CODE,] == 0


@pytest.mark.slow
def test_a_sweep_is_told(called, place, tmp_path):
    """`pipeline sweep` is a run, and is told like one."""
    run, path = called
    run()
    done = pipeline("sweep", "--config", tmp_path / "pipeline.toml", "--data", place.data, "--metrics-file", path)
    assert (done.returncode, read(path)["pipeline_skipped_completions",]) == (0, 20)


@pytest.mark.slow
def test_a_reader_always_sees_a_whole_file(called):
    """Whoever polls while runs replace the file parses it each time, and finds nothing else that ends in .prom."""
    run, path = called
    run()
    seen, over = [], threading.Event()

    def poll():
        while not over.is_set():
            seen.append((len(read(path)), [*path.parent.glob("*.prom")]))

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for _ in range(2):
            assert run().returncode == 0
    finally:
        over.set()
        reader.join()
    assert {files for _, files in {(count, tuple(found)) for count, found in seen}} == {(path,)}
    assert min(count for count, _ in seen) >= len(METRICS) - 3  # these need tables, or a horizon that is known
