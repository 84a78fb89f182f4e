"""Settings: every value is read or refused by name, and each has one place that wins."""

import pickle
from pathlib import Path

import pytest

from pipeline.config import SOURCE_SETTINGS, Source, duration, in_force, load
from pipeline.errors import ConfigError


def loaded(tmp_path, text, environment=None, **options):
    """Load a settings file with this text."""
    file = tmp_path / "settings.toml"
    file.write_text(text, encoding="utf-8")
    return load(file, environment or {}, **options)


def problems(tmp_path, text):
    """Return what is said against a settings file, without its name."""
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, text)
    return [line.removeprefix(f"{tmp_path}/settings.toml: ") for line in raised.value.message.splitlines()]


def test_the_environment_alone_describes_a_source():
    """The names that the official SDKs use are read, where no file is given."""
    told = {"OPENAI_BASE_URL": "http://a/v1/", "OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj_1", "X": "y"}
    config = load(None, told)
    assert config.sources == (Source("default", base_url="http://a/v1", organization="org-1", project="proj_1"),)
    assert load(None, {}).sources == (Source("default"),)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    """The data folder comes from the nearest place that names it."""
    text, environment = 'data = "a"\n[sources.prod]', {"PIPELINE_DATA": "b"}
    assert loaded(tmp_path, text).data == Path("a")
    assert loaded(tmp_path, text, environment).data == Path("b")
    config = loaded(tmp_path, text, environment, data=Path("c"))
    assert config.data == Path("c")
    assert ("data", "c", "--data") in in_force(config)


GOOD = {
    "base_url": (
        "https://eu.api.openai.com/v1",
        "http://127.0.0.1:8080/v1",
        "http://[::1]:80",
        "https://a.openai.azure.com/openai?api-version=2025-02-01-preview",
    ),
    "api_key": ("env:A", "file:~/key", "cmd:pass show key"),
    "organization": ("org-1",),
    "project": ("proj_1",),
    "model": ("gpt-4o",),
    "metadata": ({"team": "search"}, {}),
    "limit": (1, 100, 10_000),
    "both_ends": (True, False),
    "overlap": ("6h", "0s", 60),
    "timeout": ("500ms", "90s"),
    "connect_timeout": ("5s",),
    "retry_attempts": (1, 100),
    "retry_time": ("5m",),
    "messages": (False, True),
    "messages_at_once": (1, 16, 256),
    "content": ("full", "none"),
    "metadata_keys": ([], ["team", "app"]),
    "sweep_every": ("7d", "12h"),
    "sweep_requests": (1, 2000),
    "sweep_walks": (1, 16),
    "page_time": ("2m",),
    "page_size": ("128MB",),
    "ca_file": ("/etc/ssl/ours.pem",),
    "segment_size": ("500kB", "16MB", "1 GB"),
}
BAD = {
    "base_url": (
        "api.openai.com",
        "ftp://a/v1",
        "https://user:key@a/v1",
        "https://a/v1?key=1",
        "http://a:99999",
        "http://[::1",
        5,
    ),
    "api_key": ("sk-written-here", "", 5),
    "organization": ("", "örg", "a\nb", 5),
    "project": ("ü", 5),
    "model": ("", 5),
    "metadata": ("team", {"team": 5}),
    "limit": (0, 10_001, "100", True, 1.5),
    "both_ends": ("yes", 1),
    "overlap": ("soon", -1, True, "6 weeks", 1.5),
    "timeout": ("", "-1s"),
    "connect_timeout": ([],),
    "retry_attempts": (0, 101, "8"),
    "retry_time": ("5 minutes",),
    "messages": (0, 1, "no"),
    "messages_at_once": (0, True, "16", 257),
    "content": ("all", "NONE", 5),
    "metadata_keys": ("team", [1], {"team": "a"}),
    "sweep_every": ("weekly", -1),
    "sweep_requests": (0, "many"),
    "sweep_walks": (0, 1000),
    "page_time": ("slow",),
    "page_size": ("0MB", 5),
    "ca_file": ("", True),
    "segment_size": ("0MB", "big", 5, "5TB"),
}


def test_every_setting_is_tested():
    """A setting that is added must be given good and bad values here."""
    assert set(GOOD) == set(BAD) == set(SOURCE_SETTINGS)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in GOOD.items() for value in values])
def test_good_values_are_read(key, value):
    """What a setting may be is taken."""
    SOURCE_SETTINGS[key].read(value)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_bad_values_are_refused_with_what_they_must_be(key, value):
    """What a setting may not be is refused in words, without repeating what may be a key."""
    with pytest.raises(ValueError, match="must") as raised:
        SOURCE_SETTINGS[key].read(value)
    assert "sk-written-here" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("90s", 90), ("5m", 300), ("6h", 21_600), ("1d", 86_400), (7, 7), ("7", 7)]
)
def test_durations(text, seconds):
    """Each unit, and plain seconds."""
    assert duration(text) == seconds


def test_every_problem_is_told_at_once(tmp_path):
    """Unknown keys with the nearest known one, wrong values, wrong names and wrong tables, in one error."""
    told = problems(
        tmp_path, 'sahre = "x"\ndestinations = 5\n[sources.prod]\nlimt = 5\n[sources.Prod]\n[sources]\nx = 1'
    )
    assert told == [
        "sahre is not a setting; did you mean share?",
        "destinations must be a table, [destinations]",
        "sources.prod.limt is not a setting; did you mean limit?",
        "sources.Prod must be named with a-z, 0-9, - and _, beginning with a letter",
        "sources.x must be a table, [sources.x]",
    ]


def test_messages_cannot_be_fetched_where_content_is_withheld(tmp_path):
    """Both settings together contradict each other, and the message says which."""
    (told,) = problems(tmp_path, '[sources.prod]\nmessages = true\ncontent = "none"')
    assert told == 'sources.prod.messages cannot be true where content = "none" withholds them'


def test_a_file_without_a_source(tmp_path):
    """There must be something to export."""
    assert problems(tmp_path, "") == ["sources must hold at least one table, such as [sources.prod]"]


def test_twins_are_refused(tmp_path):
    """Two names for one place would count its completions twice; another project is another place."""
    (told,) = problems(tmp_path, "[sources.a]\n[sources.b]\nlimit = 5")
    assert told.startswith("sources.b reads the same place as sources.a")
    assert len(loaded(tmp_path, '[sources.a]\n[sources.b]\nproject = "proj_2"').sources) == 2


def test_a_source_with_a_problem_is_not_called_a_twin(tmp_path):
    """What could not be read is not compared."""
    assert len(problems(tmp_path, "[sources.a]\n[sources.b]\nbase_ulr = 5")) == 1


def test_the_fingerprint_names_what_coverage_speaks_of():
    """Place and filters are in it; name, key and page size are not."""
    plain = Source("a")
    assert plain.fingerprint == Source("b", api_key="env:X", limit=5, retry_attempts=1).fingerprint
    others = [
        Source("a", base_url="http://x"),
        Source("a", organization="o"),
        Source("a", project="p"),
        Source("a", model="m"),
        Source("a", metadata={"k": "v"}),
    ]
    assert len({source.fingerprint for source in [plain, *others]}) == 6
    pairs = {"a": "1", "b": "2"}
    turned = dict(reversed(pairs.items()))
    assert Source("a", metadata=pairs).fingerprint == Source("a", metadata=turned).fingerprint


def test_a_config_survives_pickling(tmp_path):
    """Orchestrators hand it to other processes."""
    config = loaded(tmp_path, "[sources.prod]\nmetadata = { a = 'b' }")
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own bytes


@pytest.mark.parametrize("place", ["true", "false", '"s3://bucket/tables"', '"/mnt/tables"', '"file:///mnt/tables"'])
def test_where_delta_tables_lie(tmp_path, place):
    """Delta tables are off, in the data folder, in another folder, or behind a URL."""
    assert loaded(tmp_path, "[sources.prod]").delta is False
    told = loaded(tmp_path, f"[sources.prod]\n[destinations]\ndelta = {place}").delta
    assert told == {"true": True, "false": False}.get(place, place.strip('"'))


@pytest.mark.parametrize("place", ["1", '""', '"s3://key:secret@bucket"', '"s3://b/t?key=secret"', '"s3://"', "[]"])
def test_where_delta_tables_cannot_lie(tmp_path, place):
    """A place that could hold a key is refused, and so is what is none."""
    (told,) = problems(tmp_path, f"[sources.prod]\n[destinations]\ndelta = {place}")
    assert told.startswith("destinations.delta must be true, false, a folder, or a URL")
    assert "secret" not in told


def test_options_of_delta_tables_name_their_keys(tmp_path):
    """What delta-rs is told is text, numbers and switches; what looks like a key must be named, and is not repeated."""
    options = '{ aws_region = "x", aws_allow_http = true, max_retries = 3, aws_secret_access_key = "env:DELTA_SECRET" }'
    config = loaded(tmp_path, f"[sources.prod]\n[destinations]\ndelta_options = {options}")
    told = {
        "aws_region": "x",
        "aws_allow_http": "true",
        "max_retries": "3",
        "aws_secret_access_key": "env:DELTA_SECRET",
    }
    assert config.delta_options == told
    assert {key: value for key, value, _ in in_force(config)}["destinations.delta_options"] == told
    for name in ("aws_secret_access_key", "azure_storage_sas_key", "bearer_token", "PASSWORD"):
        (problem,) = problems(tmp_path, f'[sources.prod]\n[destinations]\ndelta_options = {{ {name} = "mine" }}')
        assert problem.startswith(f"destinations.delta_options {name} must name where the key is")
        assert "mine" not in problem
    (problem,) = problems(tmp_path, "[sources.prod]\n[destinations]\ndelta_options = [1]")
    assert "must be a table of texts" in problem
