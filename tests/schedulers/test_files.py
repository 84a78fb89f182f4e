"""The recipes that are no Python: systemd, Kubernetes and hadolint find nothing wrong, and what they call is run."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from pipeline.console import EXIT_CODES
from tests.e2e.place import held

from .scheduler import CONFIGS, ROOT, needs, python, run

SHARD = CONFIGS / "kubernetes" / "shard.yaml"
CHECKED = """
import json, kubernetes_validate, sys, yaml
told = list(yaml.safe_load_all(open(sys.argv[1] if len(sys.argv) > 1 else "shard.yaml")))
for one in told:
    kubernetes_validate.validate(one, "1.37", strict=True)
print(json.dumps(told))
"""


def unit(name):
    """Read a unit of systemd, in which a key may stand several times."""
    told = {}
    for line in (CONFIGS / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            told.setdefault(key, []).append(value)
    return told


def call(words, **env):
    """Run what a recipe calls, the program in the place of its own."""
    program = f"{sys.executable} -m pipeline"
    told = re.sub(r"^(?:/\S*/)?pipeline(?= )", program, words)
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **{key: str(value) for key, value in env.items()}}
    return subprocess.run(["/bin/sh", "-c", told], capture_output=True, text=True, check=False, env=env, cwd=ROOT)


@pytest.mark.slow
def test_cron_runs_what_it_says(shards, tmp_path):
    """Each line has five fields, a user and a command; the commands run, and the alarm is silent when data are new."""
    folder, prod, _ = shards
    lines = (CONFIGS / "cron" / "pipeline").read_text().splitlines()
    jobs = [line.split(maxsplit=6) for line in lines if re.match(r"[\d*]", line)]
    assert [(len(job), job[5]) for job in jobs] == [(7, "pipeline"), (7, "pipeline")]
    assert not any("%" in job[6] for job in jobs)  # cron makes a line's end of it
    told = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    assert {"PATH", "PIPELINE_CONFIG", "PIPELINE_DATA", "LOG"} == set(told)
    here = {"PIPELINE_CONFIG": folder / "prod.toml", "PIPELINE_DATA": prod.data, "LOG": tmp_path / "log"}
    done = [call(job[6], **here) for job in jobs]
    assert [(one.returncode, one.stdout, one.stderr) for one in done] == [(0, "", "")] * 2
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["sources"][0]["new"] == 3
    assert call(jobs[1][6].replace("26h", "0s"), **here).returncode == 4


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here: install systemd")
def test_systemd_finds_nothing_wrong(tmp_path):
    """Unit and timer are read without a word; only the program and its user are not on this machine."""
    for name in ("pipeline@.service", "pipeline@.timer"):
        text = (CONFIGS / "systemd" / name).read_text().replace("/usr/local/bin/pipeline", "/bin/true")
        (tmp_path / name.replace("@", "@prod")).write_text(text)
    units = sorted(str(path) for path in tmp_path.glob("pipeline@prod.*"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "pipeline@" in line]
    assert (said, done.returncode) == ([], 0)


@pytest.mark.slow
def test_systemd_runs_what_it_says(shards):
    """The command runs in its environment, one data folder per shard; codes are told apart as the README has them."""
    folder, prod, _ = shards
    told = unit("pipeline@.service")
    env = dict(text.replace("%i", "prod").split("=", 1) for text in told["Environment"])
    assert env == {"PIPELINE_CONFIG": "/etc/pipeline/prod.toml", "PIPELINE_DATA": "/var/lib/pipeline/prod"}
    done = call(told["ExecStart"][0], PIPELINE_CONFIG=folder / "prod.toml", PIPELINE_DATA=prod.data)
    assert (done.returncode, len(held(prod.data))) == (0, 3)
    assert {int(code) for code in told["RestartPreventExitStatus"][0].split()} == {1, 2, 77, 78} <= EXIT_CODES.keys()
    assert told["SuccessExitStatus"] == ["143"]


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs("schedulers")) for name in ("prod", "search")])
def test_kubernetes_takes_the_shard(tmp_path, name):
    """Every object of a shard fits its schema to the last key, and so does another shard made of it."""
    (tmp_path / "shard.yaml").write_text(SHARD.read_text().replace("prod", name))
    settings, _, job = run("schedulers", CHECKED, tmp_path)
    assert {one["metadata"]["name"] for one in (settings, _, job)} == {f"pipeline-{name}"}
    spec = job["spec"]["jobTemplate"]["spec"]
    (rule, _) = spec["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2, 77, 78])
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


@needs("schedulers")[0]
@needs("schedulers")[2]
def test_kubernetes_runs_what_it_says(shards, tmp_path):
    """The container's arguments and settings run, key file and all; the last line is the result."""
    _, prod, _ = shards
    (tmp_path / "shard.yaml").write_text(SHARD.read_text())
    settings, _, job = run("schedulers", CHECKED, tmp_path)
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    text = settings["data"]["pipeline.toml"].replace(f"{mounts['key']}/api_key", str(tmp_path / "settings/prod.key"))
    assert str(tmp_path) in text
    (tmp_path / "pipeline.toml").write_text(f'{text}base_url = "{prod.server.base_url}"\n')
    env = {one["name"]: one["value"] for one in container["env"]}
    assert env == {
        "PIPELINE_CONFIG": f"{mounts['settings']}/pipeline.toml",
        "PIPELINE_DATA": f"{mounts['data']}/completions",
    }
    words = " ".join(["pipeline", *container["args"]])
    done = call(words, PIPELINE_CONFIG=tmp_path / "pipeline.toml", PIPELINE_DATA=prod.data)
    assert (done.returncode, json.loads(done.stdout.splitlines()[-1])["sources"][0]["new"]) == (0, 3)


@needs("schedulers")[0]
@needs("schedulers")[2]
def test_hadolint_finds_nothing_wrong_in_the_dockerfile():
    """The linter is silent, and everything that is copied is there."""
    file = CONFIGS / "kubernetes" / "Dockerfile"
    done = subprocess.run(
        [python("schedulers").with_name("hadolint"), "--no-color", file], capture_output=True, text=True, check=False
    )
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)
    copied = re.findall(r"^COPY (\S+) ", file.read_text(), re.MULTILINE)
    assert copied == ["configs/runtime.txt", "pipeline"]
    assert all((ROOT / path).exists() for path in copied)


def pins(name):
    """Return the versions of a pinned list."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", (CONFIGS / name).read_text(), re.MULTILINE))


def test_the_image_holds_what_a_run_needs():
    """All that the program depends on is in the list of the image, at the versions that make installs and tests."""
    runtime, tested = pins("runtime.txt"), pins("requirements.txt") | pins("duckdb2.txt")
    assert runtime.items() <= tested.items()
    needed, waiting = set(), ["pipeline"]
    while waiting:
        for text in importlib.metadata.requires(waiting.pop()) or []:
            name = re.match(r"[\w.-]+", text)[0].lower().replace("_", "-")
            if ";" not in text and name not in needed:
                needed.add(name)
                waiting.append(name)
    assert needed - runtime.keys() == set()
