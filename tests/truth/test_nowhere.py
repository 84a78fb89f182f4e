"""What is withheld, and what was forgotten, is nowhere; a search that finds nothing has found its controls first."""

from __future__ import annotations

import base64
import json
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from hashlib import sha256

import duckdb
import pytest
from click import ClickException

import pipeline.load.duckdb as door
from pipeline.adopt import adopt
from pipeline.archive.segments import Archive
from pipeline.cli.main import cli
from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.folder import DataFolder
from pipeline.forget import forget
from pipeline.load import tables
from pipeline.nightly import Asked, export
from pipeline.repair import repair
from pipeline.sandbox.shape import Shape
from pipeline.sandbox.store import Store
from pipeline.verify import verify
from tests.cli import program
from tests.e2e.place import KEY, Place

from .search import everything, is_said, look
from .world import DAY, HOUR, NOW, completion, rows_of_duckdb, rows_of_parquet

DEEP = 1100
SOURCES = ("prod", "inline", "control")
#: What a column says of itself comes from the archive of the source that may say everything.
CONTROL = "control-id"
CONTROLS = {
    "archive": "control-answer",
    "archive, described": CONTROL,
    "parquet": "control-answer",
    "parquet, described": CONTROL,
    "duckdb": "control-answer",
    "duckdb, its blocks": "control-answer",
    "snapshot": "control-answer",
    "snapshot, its blocks": "control-answer",
    "blobs": "control-image",
    "names": "source=control",
    "other files": "control-image",
}


@pytest.fixture(autouse=True)
def _uncompressed(monkeypatch):
    """Let DuckDB write its blocks uncompressed, so that those in use and those let go of can both be read."""
    monkeypatch.setitem(door._WRITER, "force_compression", "uncompressed")
    monkeypatch.setattr(tables, "LONG", frozenset())


# -- what is sent ----------------------------------------------------------------------------------------------------


class Needles:
    """Texts to look for, one for each place that may hold content."""

    def __init__(self, whose: str = "", by_place: dict[str, str] | None = None) -> None:
        self.by_place = {} if by_place is None else by_place
        self._whose = whose

    def of(self, whose: str) -> Needles:
        """Make needles of somebody among the same ones."""
        return Needles(f"{whose}, ", self.by_place)

    def __call__(self, place: str) -> str:
        """Make the needle of a place."""
        return self.by_place.setdefault(self._whose + place, f"needle:{self._whose}{place}:")

    def image(self, place: str) -> str:
        """Make a data URI that holds it."""
        return data_uri(self(place))


def data_uri(text: str) -> str:
    return f"data:image/png;base64,{base64.b64encode(f'{text} and more'.encode()).decode()}"


def tokens(text: str) -> list[dict[str, object]]:
    """Make log probabilities of one token."""
    one = {"token": text, "logprob": -0.5, "bytes": list(text.encode())}
    return [{**one, "top_logprobs": [one]}]


def function(name: str, text: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "description": text, "parameters": {"title": text}}}


def whole(needle: Needles) -> dict[str, object]:
    """Make a completion that has everything that the API knows, and keys that nobody knows."""
    message = {
        "role": "assistant",
        "content": needle("answer"),
        "refusal": needle("refusal"),
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "f", "arguments": f'{{"a":"{needle("arguments")}"}}'},
            },
            {"id": "c2", "type": "custom", "custom": {"name": "g", "input": needle("custom input")}},
            {"id": "c3", "type": "function", "function": {"name": "h", "new": needle("new in a function")}},
        ],
        "function_call": {"name": "old", "arguments": needle("function_call")},
        "annotations": [{"type": "url_citation", "url_citation": {"title": needle("annotation")}}],
        "audio": {
            "id": "audio-1",
            "data": base64.b64encode(needle("audio data").encode()).decode(),
            "transcript": needle("transcript"),
        },
        "images": [{"type": "image_url", "image_url": {"url": needle.image("image of an answer")}}],
        "new_in_message": needle("new in a message"),
    }
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "stop",
        "logprobs": {"content": tokens(needle("token")), "refusal": tokens(needle("token of a refusal"))},
        "content_filter_results": {"hate": {"note": needle("content filter")}},
        "new_in_choice": needle("new in a choice"),
    }
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "total_tokens": 42,
        "prompt_tokens_details": {"cached_tokens": 7, "note": needle("new in the details of usage")},
        "completion_tokens_details": {"reasoning_tokens": 5},
        "new_in_usage": needle("new in usage"),
        "nested": {"text": {"text": needle("nested in usage")}},
    }
    return {
        **completion("whole", NOW - HOUR),
        "choices": [choice],
        "usage": usage,
        "tools": [function("f", needle("tool"))],
        "tool_choice": {"type": "function", "function": {"name": needle("tool choice")}},
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"title": needle("schema")}}},
        "moderation": {"results": [{"note": needle("moderation")}]},
        "metadata": {"team": "search", "secret": needle("metadata value"), needle("metadata key"): "x"},
        "new_at_the_top": needle("new at the top"),
    }


def prompts(needle: Needles, place: str) -> list[dict[str, object]]:
    """Make input messages of every kind."""
    parts = [
        {"type": "text", "text": needle(f"{place} part")},
        {"type": "image_url", "image_url": {"url": needle.image(f"{place} image"), "detail": None}},
        {"type": "file", "file": {"filename": needle(f"{place} file")}},
    ]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": needle(f"{place} arguments")}}
    return [
        {"role": "system", "content": needle(f"{place} system")},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": needle(f"{place} result"), "tool_call_id": "c"},
    ]


def malformed(needle: Needles) -> dict[str, bytes]:
    """Make rows that are not what the API documents, each with usage; the answer of each is a needle."""

    def row(name: str, *, but: str = "", second: int = 60) -> str:
        told = completion(name, NOW - 2 * HOUR + second)
        told["choices"][0]["message"]["content"] = needle(name)
        told["usage"] = {"prompt_tokens": second, "completion_tokens": 1, "total_tokens": second + 1}
        return json.dumps(told)[:-1] + but + "}"

    deep = "[" * DEEP + f'"{needle("deep")}"' + "]" * DEEP
    rows = {
        "without id": row("without id", second=1).replace('"id": "without id",', ""),
        "choices a string": row("choices a string", second=2, but=f', "choices": "{needle("choices")}"'),
        "told twice": row(
            "told twice",
            second=3,
            but=f', "tools": "{needle("first of two")}", "tools": "{needle("last of two")}"'
            f', "metadata": {{"secret": "{needle("first metadata")}"}}'
            f', "metadata": {{"secret": "{needle("last metadata")}"}}',
        ),
        "surrogates": row("surrogates", second=4, but=f', "\\ud800": "{needle("under no key")}", "tools": ["\\udfff"]'),
        "surrogate in metadata": row(
            "surrogate in metadata", second=5, but=f', "metadata": {{"team": "\\ud800 {needle("odd metadata")}"}}'
        ),
        "deep tools": row("deep tools", second=6, but=f', "tools": {deep}'),
        "deep choices": row("deep choices", second=7, but=f', "choices": {deep}'),
        "deep usage": row("deep usage", second=8).replace('"total_tokens"', f'"deep": {deep}, "total_tokens"'),
        "deep metadata": row("deep metadata", second=9, but=f', "metadata": {{"team": {deep}}}'),
        "escaped": row("escaped", second=10, but=f', "n\\u0065w": "\\u006e{needle("letter escaped")[1:]}"'),
        "created a string": row("created a string").replace(f'"created": {NOW - 2 * HOUR + 60}', '"created": "then"'),
        "a string": json.dumps(row("a string")[:-40]),
        "an array": json.dumps([needle("an array")]),
        "a model that is long": row("a model that is long", second=14).replace(
            '"model": "m"', f'"model": "{"m" * 600}"'
        ),
    }
    return {name: text.encode() for name, text in rows.items()}


# -- withheld --------------------------------------------------------------------------------------------------------


class Three:
    """A server with everything, one with inline messages, and one with a control, behind one data folder."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.needle = Needles()
        for name in SOURCES:
            (folder / name).mkdir()
        self.prod = Place(folder / "prod")
        self.inline = Place(folder / "inline", Shape.named("ogx"))
        self.control = Place(folder / "control")
        self._fill()

    def _fill(self) -> None:
        self.prod.store.add(whole(self.needle), messages=prompts(self.needle, "input"))
        for number, body in enumerate(malformed(self.needle).values()):
            self.prod.store.add(body, created=NOW - 3 * HOUR + number)
        said = completion("inline", NOW - HOUR)
        said["choices"][0]["message"]["content"] = self.needle("inline answer")
        self.inline.store.add(said, messages=prompts(self.needle, "inline"))
        said = completion(CONTROL, NOW - HOUR)
        said["choices"][0]["message"]["content"] = CONTROLS["archive"]
        image = {"type": "image_url", "image_url": {"url": data_uri(CONTROLS["blobs"])}}
        self.control.store.add(said, messages=[{"role": "user", "content": [image]}])

    def __enter__(self):
        with ExitStack() as stack:
            for place in (self.prod, self.inline, self.control):
                stack.enter_context(place)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def config(self, content: str) -> Config:
        """Make the settings, ``content`` for all but the control."""
        policy = {"content": content, "metadata_keys": ("team",) if content == "none" else None, "limit": 7}
        sources = (
            self.prod.source("prod", messages=content == "full", **policy),
            self.inline.source("inline", **policy),
            self.control.source("control", messages=True),
        )
        return Config(data=self.data, sources=sources, logprobs=True)

    def settings(self, content: str):
        """Write the settings as a file."""
        lines = [f'data = "{self.data}"']
        for source in self.config(content).sources:
            names = ("base_url", "api_key", "content", "messages", "retry_attempts", "limit")
            told = {name: getattr(source, name) for name in names}
            told |= {"metadata_keys": list(source.metadata_keys)} if source.metadata_keys else {}
            lines += [f"[sources.{source.name}]", *(f"{name} = {json.dumps(value)}" for name, value in told.items())]
        path = self.folder / "pipeline.toml"
        path.write_text("\n".join([*lines, "[destinations]", "logprobs = true"]))
        return path


@pytest.fixture
def three(tmp_path):
    with Three(tmp_path) as one:
        yield one


@pytest.fixture
def inside(capfd):
    """Start commands in this process; return what each said, on stdout and stderr."""

    def say(*arguments):
        capfd.readouterr()
        try:
            code = cli.main([*map(str, arguments)], prog_name="pipeline", standalone_mode=False)
        except PipelineError as error:
            sys.stderr.write(str(error))
            code = error.exit_code
        except ClickException as error:
            code = error.exit_code
        told = capfd.readouterr()
        return code, told.out + told.err

    return say


def started(*arguments):
    """Start commands as people do."""
    done = program.pipeline(*arguments)
    return done.returncode, done.stdout + done.stderr


def night(say, three, settings):
    """Say everything that people say to the program, an edit in between; return all that it said."""
    log = ("--log-format", "json", "--progress", "always")
    said = {"run": say("run", "--config", settings, "--json", *log)}
    three.prod.store.edit("whole", {"team": "ads", "secret": three.needle("edited metadata")})
    said["sweep"] = say("sweep", "--config", settings)
    said["status"] = say("status", "--config", settings, "--format", "json")
    said["verify"] = say("verify", "--config", settings, "--against-api")
    return said


def counted(data):
    """Return of each completion what usage says, as the snapshot has it."""
    columns = "prompt_tokens, completion_tokens, total_tokens, prompt_cached_tokens, completion_reasoning_tokens"
    with closing(duckdb.connect(DataFolder(data).snapshot, read_only=True)) as connection:
        rows = connection.execute(f"SELECT id, {columns} FROM completions WHERE source = 'prod'").fetchall()
    return {id_: numbers for id_, *numbers in rows}


@pytest.mark.slow
def test_withheld_content_is_nowhere(three, inside):
    """With content = "none" no text of a prompt or an answer is in the data folder, or said; usage is whole."""
    withheld(three, inside)


@pytest.mark.slow
def test_withheld_content_is_nowhere_in_processes_of_their_own(three):
    """So it is where every command is a process, as people start it."""
    withheld(three, started)


def withheld(three, say):
    said = night(say, three, three.settings("none"))
    assert {name: code for name, (code, _) in said.items()} == {"run": 3, "sweep": 0, "status": 0, "verify": 0}
    needles = three.needle.by_place.values()
    found = look(three.data, needles, CONTROLS)
    assert {needle: stores for needle, stores in found.items() if stores} == {}
    for _, text in said.values():
        assert is_said("prod", text)
        assert "Traceback" not in text
        assert [needle for needle in needles if is_said(needle, text)] == []
    assert_usage_is_whole(three)
    assert_hashes_are_of_what_is_stored(three.data)
    assert {request.route for request in three.prod.server.requests} == {"list"}


def assert_usage_is_whole(three):
    told = counted(three.data)
    assert told["whole"] == [30, 12, 42, 7, 5]
    for number, name in enumerate(malformed(Needles()), 1):
        if name not in {"without id", "created a string", "a string", "an array"}:
            assert told[name][:3] == [number, 1, number + 1], name
    without = [numbers[:3] for id_, numbers in told.items() if id_.startswith("no-id:")]
    assert [1, 1, 2] in without
    assert told["created a string"][:3] == [60, 1, 61]


def assert_hashes_are_of_what_is_stored(data):
    with closing(duckdb.connect(DataFolder(data).snapshot, read_only=True)) as connection:
        hashes = dict(connection.execute("SELECT id, content_hash FROM completions").fetchall())
    stored = {}
    for source in SOURCES:
        folder = DataFolder(data)
        for segment in Archive(folder.archive, source, scratch=folder.scratch).after(0):
            for row in segment.table.to_pylist():
                assert row["content_hash"] == sha256(row["body"]).digest()
                stored |= {row["id"]: row["content_hash"].hex()} if row["kind"] == "completion" else {}
    assert stored == hashes
    assert len(stored) > 10


@pytest.mark.slow
def test_content_is_found_where_it_is_kept(three):
    """With content = "full" the same search finds the same texts, in the archive and in every table."""
    export(three.config("full"))
    found = look(three.data, three.needle.by_place.values(), CONTROLS)
    assert {needle for needle, stores in found.items() if not stores & {"archive", "blobs"}} == set()
    tables = {"parquet", "duckdb", "snapshot", "duckdb, its blocks", "snapshot, its blocks"}
    odd = [*malformed(Needles())]
    for place, needle in three.needle.by_place.items():
        if "image" in place:
            assert found[needle] >= {"blobs", "other files"}, place
        elif place not in odd and not place.startswith(("deep", "first", "last", "under", "odd", "letter")):
            assert found[needle] >= {"archive", *tables}, place


@pytest.mark.slow
def test_a_change_of_policy_alone_makes_no_version(tmp_path):
    """What is held without its content is not changed because the content could now be kept, nor the other way."""
    with Place(tmp_path) as place:
        place.add(NOW - HOUR, metadata={"secret": "x"})
        policies = ({"content": "none", "metadata_keys": ()}, {}, {"content": "none"}, {"metadata_keys": ("team",)})
        counts = [place.run(bare=True, **policy).sources[0] for policy in policies]
        assert [(one.new, one.changed) for one in counts] == [(1, 0), (0, 0), (0, 0), (0, 0)]


def test_messages_are_refused_where_content_is_withheld(three, inside):
    """Asking for input messages and withholding content at once is no setting."""
    settings = three.settings("none")
    settings.write_text(settings.read_text().replace("messages = false", "messages = true"))
    code, said = inside("run", "--config", settings)
    assert code == 78
    assert "sources.prod.messages cannot be true" in said
    assert not three.data.exists()


@pytest.mark.parametrize("content", ["full", "none"])
@pytest.mark.slow
def test_a_page_that_is_cut_short_is_not_quoted(tmp_path, monkeypatch, inside, content):
    """A body that is no JSON is refused without a word of it, on the disk or in a message."""
    needle = Needles()
    with Place(tmp_path) as place:
        place.add(NOW - HOUR)
        place.run(content=content)
        text = json.dumps(whole(needle))
        place.store.add(text[: len(text) // 2].encode(), created=NOW)
        options = ("--data", place.data, "--json", "--log-format", "json")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        settings = program.settings(tmp_path, place, tables=True, content=content, retry_attempts=1)
        code, said = inside("run", "--config", settings, *options)
        assert code == 75
        assert "not JSON" in said
        told = everything(place.data)
        assert all(b"id-0" in told[store] for store in ("archive", "parquet", "duckdb", "snapshot"))
        assert [text for text in needle.by_place.values() if is_said(text, said)] == []
        assert not any(b"needle:" in text for text in told.values())


# -- forgotten -------------------------------------------------------------------------------------------------------

#: What can happen to a completion; each has one that is meant to be forgotten, named after it.
LIVES = ("edited", "rejected", "went", "adopted", "troubled")
SHARED = "an image of two"
FOUND = CONTROLS | {
    "archive": "I am stays-3",
    "archive, described": "stays-5",
    "parquet": "I am stays-3",
    "parquet, described": "stays-5",
    "duckdb": "I am stays-3",
    "duckdb, its blocks": "I am stays-3",
    "snapshot": "I am stays-3",
    "snapshot, its blocks": "I am stays-3",
    "blobs": SHARED,
    "names": "source=prod",
    "other files": SHARED,
}


class Lives:
    """Completions of one person among others, after three nights; everything of theirs says a needle."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.config = replace(place.config(messages=True, segment_size=20_000), logprobs=True)
        self.needle = Needles()
        self.ids = [_id(life) for life in LIVES]
        self.said: list[str] = []
        self.saved = place.data.parent / "saved.jsonl"
        self.saved.write_bytes(self._body("adopted", 90 * DAY) + b"\n")
        self._shared = {"type": "image_url", "image_url": {"url": data_uri(SHARED)}}
        self._others()

    @property
    def needles(self) -> list[str]:
        """Everything that must be nowhere."""
        return [*self.needle.by_place.values(), *self.ids]

    def _body(self, life: str, ago: int) -> bytes:
        body = {**whole(self.needle.of(life)), "id": _id(life), "created": NOW - ago}
        return json.dumps(body | {"metadata": {**body["metadata"], "person": "42"}}).encode()

    def _add(self, life: str, ago: int) -> None:
        turns = prompts(self.needle.of(life), "input")
        turns[1]["content"].append(self._shared)
        self.place.store.add(json.loads(self._body(life, ago)), messages=turns)

    def _others(self) -> None:
        for number in range(6):
            body = completion(f"stays-{number}", NOW - 5 * HOUR + number) | {"metadata": {"person": "7"}}
            self.place.store.add(body, messages=[{"role": "user", "content": [self._shared]}])

    def live(self) -> None:
        """Let the three nights pass."""
        store = self.place.store
        self._add("edited", 4 * HOUR)
        self._add("went", 3 * HOUR)
        more = f', "seed": "{self.needle("odd seed")}", "new": NaN}}'
        store.add(self._body("rejected", 2 * HOUR)[:-1] + more.encode(), created=NOW - 2 * HOUR)
        self.night()
        store.edit(_id("edited"), {"person": "42", "note": self.needle("second metadata")})
        self._add("troubled", HOUR)
        store.messages = lambda id_, _: replace(Store.messages(store, id_), has_more=True)
        assert self.night().sources[0].messages_waiting == 1
        del store.messages
        assert adopt(self.config, self.saved, source="prod").new == 1
        store.edit(_id("edited"), {"note": self.needle("third metadata")})
        store.delete(_id("went"))
        assert self.night(sweep=True).sources[0].gone == 1

    def night(self, *, sweep: bool = False):
        """Run; remember what the run says of itself."""
        result = export(self.config, asked=Asked(sweep=sweep))
        self.said.append(json.dumps(result.as_dict(), default=str))
        return result

    def look(self, controls: dict[str, str] | None = None) -> dict[str, set[str]]:
        """Say where each needle still is."""
        return look(self.place.data, self.needles, FOUND | (controls or {}))

    def others(self) -> list[object]:
        """Return every row of those who stay."""
        published = rows_of_duckdb(DataFolder(self.place.data).snapshot)
        tables = [*rows_of_parquet(self.place.data).items(), *published.items()]
        key = {"completions": "id", "runs": "run_id", "coverage": "source"}
        return [row for name, rows in tables for row in rows if row[key.get(name, "completion_id")] not in self.ids]


def _id(life: str) -> str:
    return f"id-of-the-{life}-one"


@pytest.fixture
def lives(tmp_path):
    with Place(tmp_path) as place:
        yield Lives(place)


def by_id(lives):
    return forget(lives.config, ids=lives.ids)


def by_metadata(lives):
    return forget(lives.config, metadata={"person": "42"})


@pytest.mark.slow
@pytest.mark.parametrize("way", [by_metadata, by_id])
def test_what_is_forgotten_is_nowhere(lives, way):
    """Whatever happened to a completion, forgotten it is nowhere, never comes back, and no other row is touched."""
    lives.live()
    found = lives.look({"archive, described": _id("went"), "parquet, described": _id("went")})
    assert {needle for needle, stores in found.items() if not stores & {"archive", "blobs"}} == set()
    before = lives.others()
    done = way(lives)
    assert (done.held, done.not_held) == (len(LIVES), 0)
    assert_nowhere(lives)
    assert lives.others() == before
    come_again(lives)
    repair(lives.config, "all")
    assert_nowhere(lives)
    verdict = verify(lives.config, against_api=True)
    assert (verdict.unexplained, verdict.problems) == (0, ())
    assert verdict.proofs[0].forgotten == len(lives.ids)


def assert_nowhere(lives):
    found = lives.look()
    assert {needle: stores for needle, stores in found.items() if stores} == {}
    hashes = [sha256(id_.encode()).hexdigest() for id_ in lives.ids]
    holding = {path.name for path in lives.place.data.rglob("*") if path.is_file() and holds(path, hashes)}
    assert holding == {"forgotten.json"}
    for text in lives.said:
        assert "prod" in text
        assert [needle for needle in lives.needles if is_said(needle, text)] == []


def holds(path, texts):
    content = path.read_bytes()
    return any(text.encode() in content for text in texts)


def come_again(lives):
    """Let everything be listed again, changed, and saved again, and take in what is taken in."""
    lives._add("went", 3 * HOUR)
    lives._add("adopted", 2 * HOUR)
    lives.place.store.edit(_id("edited"), {"person": lives.needle("fourth metadata")})
    result = lives.night()
    assert (result.sources[0].new, result.sources[0].changed) == (0, 0)
    assert result.sources[0].forgotten >= len(lives.ids)
    assert lives.night(sweep=True).sources[0].forgotten >= len(lives.ids)
    done = adopt(lives.config, lives.saved, source="prod")
    assert (done.new, done.forgotten) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["parquet", "duckdb", "snapshot alone", "nothing"])
def test_what_is_forgotten_leaves_what_is_switched_off(lives, kept):
    """A destination that is switched off is made anew too, and so is a snapshot whose writer's file is gone."""
    lives.live()
    folder = DataFolder(lives.place.data)
    if kept == "snapshot alone":
        folder.warehouse.unlink()
    settings = lives.config
    lives.config = replace(settings, parquet=kept == "parquet", duckdb=kept == "duckdb")
    assert by_id(lives).held == len(LIVES)
    assert_nowhere(lives)
    assert verify(settings).unexplained == 0
