"""`verify`, `sweep`, `rebuild`, `forget` and `adopt`: what they print, how they end, and what bad input gets."""

import fcntl
import json

import pytest

from tests.e2e.place import KEY, NOW, held, in_snapshot

from .program import assert_one_message, pipeline, settings


@pytest.fixture
def config(place, tmp_path):
    """Export 20 completions into all destinations; returns the options of every command."""
    file = settings(tmp_path, place, tables=True)
    file.write_text(file.read_text().replace("\nbase_url", f'\napi_key = "file:{tmp_path}/key"\nbase_url'))
    options = ("--config", file, "--data", place.data)
    assert_one_message(pipeline("run", *options), 0)
    return options


@pytest.mark.slow
def test_verify_tells_what_it_proved(config):
    """0 with what is held, what was compared, and what is listed; as JSON the same."""
    done = pipeline("verify", *config, "--against-api")
    assert_one_message(done, 0, "20 held in 20 versions", "parquet, duckdb, snapshot", "20 listed, 20 of them held")
    assert "0 unexplained" in done.stdout
    told = json.loads(pipeline("verify", *config, "--json").stdout)
    assert (told["exit_code"], told["unexplained"], told["proofs"][0]["held"]) == (0, 0, 20)


@pytest.mark.slow
def test_verify_names_the_damage_and_what_mends_it(config, place):
    """4 with the file and the command; that command mends it."""
    (file,) = place.data.glob("parquet/choices/*/*/data.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    assert_one_message(pipeline("verify", *config), 4, str(file), "pipeline rebuild parquet", "1 unexplained")
    assert_one_message(pipeline("rebuild", "parquet", *config), 0, "parquet    made anew: 1 segments, 20 completions")
    assert_one_message(pipeline("verify", *config), 0)


@pytest.mark.slow
def test_verify_against_an_api_that_refuses(config, tmp_path):
    """77 with the setting, as for a run."""
    (tmp_path / "key").write_text("sk-wrong")
    assert_one_message(pipeline("verify", *config, "--against-api"), 77, "Incorrect API key", "api_key")


@pytest.mark.parametrize("command", [("verify",), ("rebuild", "all"), ("forget", "--id", "x", "--yes")])
@pytest.mark.slow
def test_without_a_data_folder(tmp_path, command):
    """78 with what to do; none is made."""
    done = pipeline(*command, "--data", tmp_path / "none")
    assert_one_message(done, 78, "there is no data folder at", "pipeline run")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", [("verify",), ("rebuild",), ("forget", "--id", "x", "--yes"), ("sweep",)])
@pytest.mark.slow
def test_while_a_run_has_the_folder(config, place, command):
    """75 at once, with who holds it."""
    with (place.data / ".writer" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_one_message(pipeline(*command, *config), 75, "the data folder is in use")


@pytest.mark.slow
def test_sweep_says_what_it_found(config, place):
    """0; what was deleted at the source is gone here, and held."""
    place.store.delete("id-3")
    assert_one_message(pipeline("sweep", *config), 0, "1 gone")
    answer = pipeline(
        "query", "--data", place.data, "SELECT id, gone_reason FROM completions WHERE gone_at IS NOT NULL"
    )
    assert answer.stdout.splitlines()[1:] == ["id-3,deleted"]


@pytest.mark.slow
def test_a_sweep_that_misses_most_stops(config, place):
    """3 with the flag to use where it is right; nothing is marked until it is used."""
    for number in range(15):
        place.store.delete(f"id-{number}")
    assert_one_message(
        pipeline("run", "--sweep", *config), 3, "14 of 19 completions held are not listed", "--accept-losses"
    )
    assert_one_message(pipeline("sweep", *config, "--accept-losses"), 0, "15 gone")


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["n\n", ""])
def test_forget_asks_first(config, place, answer):
    """Without a yes nothing is forgotten."""
    done = pipeline("forget", *config, "--id", "id-3", stdin=answer)
    assert f"Forget 1 completion in {place.data}? This cannot be undone" in done.stderr
    assert done.returncode == (0 if answer else 130)
    assert "id-3" in held(place.data)


@pytest.mark.slow
def test_forget_says_what_is_out_of_reach(config, place):
    """0 with how many went, and where they may still be; by metadata and upstream as well."""
    done = pipeline("forget", *config, "--id", "id-3", "--id", "unknown", "--yes")
    assert_one_message(done, 0, "1 completion forgotten", "1 id was not held", "out of reach: copies and backups")
    place.add(NOW - 1, metadata={"user": "42"})
    pipeline("run", *config)
    done = pipeline("forget", *config, "--metadata", "user=42", "--upstream", "--yes")
    assert_one_message(done, 0, "1 completion forgotten", "1 deleted at the source")
    assert held(place.data) == {*in_snapshot(place.data)} == {f"id-{number}" for number in range(20)} - {"id-3"}
    assert "id-20" not in place.store.visible_ids()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((), "say which completions"),
        (("--metadata", "user"), "'user' is no KEY=VALUE"),
        (("--metadata", "=x"), "'=x' is no KEY=VALUE"),
    ],
)
@pytest.mark.slow
def test_forget_needs_to_know_which(config, wrong, said):
    """2 with how to say it."""
    assert_one_message(pipeline("forget", *config, "--yes", *wrong), 2, said, "--metadata")


@pytest.mark.slow
def test_forget_without_an_id(config, place):
    """2 with what may be wrong, before anything is asked: a variable that is not set forgets nothing."""
    done = pipeline("forget", *config, "--id", "", "--upstream", "--yes")
    assert_one_message(done, 2, "an id is empty", "is the variable set?")
    assert len(place.store.visible_ids()) == len(held(place.data)) == 20


@pytest.mark.slow
def test_forget_at_a_source_that_refuses(config, place, tmp_path):
    """77 with the setting, how many are left and the command for them; what is held here is forgotten all the same."""
    (tmp_path / "key").write_text("sk-wrong")
    done = pipeline("forget", *config, "--id", "id-3", "--id", "id-4", "--upstream", "--yes")
    assert_one_message(
        done, 77, "2 completions forgotten", "2 of 2 completions were not deleted at the source", "api_key"
    )
    command = "pipeline forget --upstream --id id-3 --id id-4"
    assert command in done.stderr
    assert held(place.data) == {f"id-{number}" for number in range(20)} - {"id-3", "id-4"}
    (tmp_path / "key").write_text(KEY)
    place.store.delete("id-4")
    done = pipeline(*command.split()[1:], *config, "--yes")
    assert_one_message(done, 0, "1 deleted at the source", "1 not there any more at the source")
    assert not {"id-3", "id-4"} & place.store.visible_ids()


@pytest.mark.slow
def test_forget_by_metadata_that_nothing_has(config):
    """0, and it says so."""
    assert_one_message(
        pipeline("forget", *config, "--metadata", "user=0", "--yes"), 0, "nothing held has these metadata"
    )


@pytest.mark.slow
def test_adopt_takes_what_was_saved(config, place, tmp_path):
    """3 where a line is no completion, with the line; what is one is held."""
    saved = tmp_path / "saved.jsonl"
    saved.write_text('{"id": "old", "created": 1, "object": "chat.completion"}\nno json\n')
    done = pipeline("adopt", saved, "--source", "prod", *config)
    assert_one_message(done, 3, "1 adopted, 0 held already", "line 2")
    assert "old" in held(place.data)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nothing.jsonl", "--source", "prod"), 2, ("does not exist",)),
        (("key", "--source", "other"), 78, ("there is no source other", "sources: prod")),
        (("key", "--source", "prod"), 2, ("none of the files",)),
        (("key", "--source", "prod", "--table", "t"), 2, ("not a DuckDB file", "key", "--table")),
        (("bad.jsonl.gz", "--source", "prod"), 2, ("bad.jsonl.gz cannot be read",)),
        ((".", "--source", "prod", "--table", "t"), 2, ("Is a directory",)),
        (("key",), 2, ("--source",)),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_adopted(config, tmp_path, arguments, code, words):
    """Each mistake is told in words, and nothing is taken in."""
    (tmp_path / "bad.jsonl.gz").write_bytes(b"no gzip")
    path, *rest = arguments
    assert_one_message(pipeline("adopt", tmp_path / path, *rest, *config), code, *words)


@pytest.mark.slow
def test_rebuild_of_something_else(config):
    """2 with what there is."""
    assert_one_message(pipeline("rebuild", "everything", *config), 2, "parquet", "duckdb", "ledger", "blobs")
