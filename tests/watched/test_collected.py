"""The file of metrics where it is going: through node_exporter, into a Prometheus that rings."""

import contextlib
import subprocess
import time

import httpx
import pytest

from pipeline.metrics import exposition
from tests.e2e.place import NOW, Place
from tests.test_metrics import DONE, STANDS, ran, told
from tests.watched.prometheus import ROOT, free_port, program

#: Far more than it takes: both look once a second.
PATIENCE = 120


@contextlib.contextmanager
def served(*call):
    """Run a server until the block ends."""
    with subprocess.Popen([*map(str, call)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            yield
        finally:
            child.terminate()


def asked(url, is_it):
    """Ask until the answer is what is waited for."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(url)
            if answer.status_code == httpx.codes.OK and is_it(answer):
                return answer
        time.sleep(0.1)
    raise TimeoutError(url)


@contextlib.contextmanager
def node_exporter(folder):
    """Run node_exporter on what lies in a folder; hand out its address."""
    address = f"127.0.0.1:{free_port()}"
    textfile = ("--collector.textfile", f"--collector.textfile.directory={folder}")
    call = ("--collector.disable-defaults", *textfile, f"--web.listen-address={address}")
    with served(program("prometheus-node-exporter"), *call):
        yield address


def test_the_names_are_as_prometheus_wants_them():
    """Its linter has nothing to say about names, units and helps."""
    text = exposition([told(run=ran(DONE), status=STANDS, unpriced=0.5)])
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.slow
def test_two_files_of_one_machine_do_not_collide(tmp_path):
    """node_exporter serves the files of two data folders, with sources of other names, without an error."""
    for source in ("prod", "search"):
        one = told(source=source, run=ran(DONE), status=STANDS)
        (tmp_path / f"{source}.prom").write_text(exposition([one]), encoding="utf-8")
    with node_exporter(tmp_path) as address:
        text = asked(f"http://{address}/metrics", lambda answer: "node_textfile_scrape_error" in answer.text).text
    assert "node_textfile_scrape_error 0" in text
    for source in ("prod", "search"):
        assert f'pipeline_run_exit_code{{source="{source}"}} 0' in text


@pytest.mark.slow
def test_an_alarm_rings_in_prometheus(tmp_path):
    """A run that fails, seen by a real node_exporter, lets the alarm of a real Prometheus ring, and no other."""
    folder = tmp_path / "node"
    folder.mkdir()
    server = program("prometheus")
    with Place(tmp_path) as place:
        place.add(NOW - 60)
        result = place.run("1-:401", bare=True)
    (source,) = result.sources
    failed = told(code=result.exit_code, run=ran(source), ended=time.time())
    (folder / "pipeline.prom").write_text(exposition([failed]), encoding="utf-8")
    with node_exporter(folder) as node:
        (tmp_path / "prometheus.yml").write_text(
            f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n"
            f"rule_files: ['{ROOT}/configs/prometheus/alerts.yml']\n"
            f"scrape_configs: [{{job_name: node, static_configs: [{{targets: ['{node}']}}]}}]\n",
            encoding="utf-8",
        )
        address = f"127.0.0.1:{free_port()}"
        files = (f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}")
        with served(server, *files, f"--web.listen-address={address}"):

            def ringing(answer):
                return {
                    (one["labels"]["alertname"], one["labels"].get("source"))
                    for one in answer.json()["data"]["alerts"]
                    if one["state"] == "firing"
                }

            answer = asked(f"http://{address}/api/v1/alerts", ringing)
            assert ringing(answer) == {("PipelineNoSuccess", "prod")}
            query = f"http://{address}/api/v1/query?query=pipeline_run_exit_code"
            (sample,) = asked(query, lambda answer: answer.json()["data"]["result"]).json()["data"]["result"]
    assert (sample["metric"]["source"], sample["value"][1]) == ("prod", "77")
