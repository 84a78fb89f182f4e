"""Settings: a TOML file, the environment and flags become one frozen, validated Config.

Flags win over the environment, the environment over the file, the file over the defaults. Every problem is told
at once, with the file, the key and the nearest known key. The ``Setting`` tables are the list of what there is.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.cost import settings as cost
from pipeline.cost.settings import Cost
from pipeline.errors import ConfigError, UsageError
from pipeline.secret import check_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: A commented file with every setting, written by `pipeline config init`.
TEMPLATE = Path(__file__).with_name("settings.toml")
OPENAI = "https://api.openai.com/v1"
_SOURCE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
#: The older Azure path needs its api-version in the query; anything else there might be a key.
_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?(?:\?api-version=[\w.-]+)?")
#: Where delta-rs may be sent: nothing of a key, nor a query or fragment, which may hold one.
_OBJECTS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s?#@]+")
#: Options of delta-rs whose value opens something.
_KEYLIKE = re.compile(r"key|secret|token|password|passphrase|credential|sas|bearer", re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,18})\s*(ms|s|m|h|d)?")
_SIZE = re.compile(r"(\d+)\s*(kB|MB|GB)?")
_BYTES = {None: 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}
#: The longest duration: no clock of a system takes any.
_CENTURY = 36_525 * 86_400


@dataclass(frozen=True, slots=True)
class Source:
    """One base URL and key, with filters; its name stands on every row."""

    name: str
    base_url: str = OPENAI
    api_key: str = "env:OPENAI_API_KEY"
    organization: str | None = None
    project: str | None = None
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    limit: int = 100
    both_ends: bool = True
    overlap: float = 6 * 3600.0
    timeout: float = 60.0
    connect_timeout: float = 5.0
    page_time: float = 120.0
    page_size: int = 128_000_000
    ca_file: str | None = None
    retry_attempts: int = 8
    retry_time: float = 300.0
    messages: bool = False
    messages_at_once: int = 16
    content: str = "full"
    metadata_keys: tuple[str, ...] | None = None
    sweep_every: float = 7 * 86_400.0
    sweep_requests: int = 2_000
    sweep_walks: int = 4
    segment_size: int = 8_000_000

    @property
    def fingerprint(self) -> str:
        """Name what coverage of this source speaks of: base URL, organization, project and filters."""
        told = [self.base_url, self.organization, self.project, self.model, sorted(self.metadata.items())]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Organization:
    """Where an organization tells what it used and was billed; the admin key is used for nothing else."""

    admin_key: str | None = None
    base_url: str = OPENAI


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a run."""

    data: Path = Path("data")
    share: str = "none"
    sources: tuple[Source, ...] = ()
    parquet: bool = True
    duckdb: bool = True
    delta: bool | str = False
    """True is a folder in the data folder; a text is where else."""
    delta_options: Mapping[str, str] = field(default_factory=dict)
    """Values as they stand in the settings: keys are named in them, never written."""
    logprobs: bool = False
    cost: Cost = field(default_factory=Cost)
    organization: Organization = field(default_factory=Organization)
    is_implied: bool = False
    """Whether no file was given, and the environment describes one source."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each setting that is not a default came from."""

    def only(self, names: Sequence[str]) -> tuple[Source, ...]:
        """Return the sources of these names, all where none is named; raises UsageError for one that is not there."""
        there = [source.name for source in self.sources]
        if missing := [name for name in names if name not in there]:
            raise UsageError(f"no source is named {', '.join(missing)}", hint=f"there are: {', '.join(there)}")
        return tuple(source for source in self.sources if not names or source.name in names)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: what it means, how a value is read, and what it must be."""

    description: str
    read: Callable[[Any], Any]
    """Returns the value; raises ValueError with what it must be."""


# -- reading values ------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    return value


def _url(value: Any) -> str:
    url = _text(value).rstrip("/")
    if not _URL.fullmatch(url) or not _has_port(url):
        raise ValueError("must be a URL such as https://api.openai.com/v1, without a key, or a query but api-version")
    return url


def _has_port(url: str) -> bool:
    """Tell whether a URL's port, its scheme's own where it names none, can exist."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _header(value: Any) -> str:
    text = _text(value).strip()
    if not text.isascii() or not text.isprintable():
        raise ValueError("must be a text of ASCII letters: it is sent as a header")
    return text


def _reference(value: Any) -> str:
    reference = _text(value)
    if problem := check_reference(reference):
        raise ValueError(problem)
    return reference


def _whole(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"must be a whole number from {least} to {most}")
    return value


def _limit(value: Any) -> int:
    return _whole(value, 1, 10_000)


def _attempts(value: Any) -> int:
    return _whole(value, 1, 100)


def duration(value: Any) -> float:
    """Read a duration in seconds; raises ValueError with what it must be."""
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = int(found[1]) * _SECONDS[found[2]] if found else value
    if isinstance(seconds, int | float) and not isinstance(value, bool | float) and 0 <= seconds <= _CENTURY:
        return float(seconds)
    raise ValueError('must be a duration such as "90s", "5m", "6h" or "1d"')


def _some_time(value: Any) -> float:
    return duration(value) or duration(None)


def _at_once(value: Any) -> int:
    return _whole(value, 1, 256)


def _requests(value: Any) -> int:
    return _whole(value, 1, 10_000_000)


def _size(value: Any) -> int:
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    size = int(found[1]) * _BYTES[found[2]] if found else 0
    if size < 1:
        raise ValueError('must be a size such as "500kB", "16MB" or "1GB"')
    return size


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - all readers raise ValueError
    return value


def _keys(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(key, str) for key in value):
        raise ValueError('must be a list of texts, such as ["team", "app"]')
    return tuple(value)


def _path(value: Any) -> Path:
    try:
        return Path(_text(value)).expanduser()
    except RuntimeError as error:
        raise ValueError("begins with the home folder of somebody who has none") from error


def _place(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    place = value.strip() if isinstance(value, str) else ""
    if not place or ("://" in place and not _OBJECTS.fullmatch(place)):
        raise ValueError("must be true, false, a folder, or a URL such as s3://bucket/folder, without a key or a query")
    return place.rstrip("/") or "/"


def _options(value: Any) -> dict[str, str]:
    """Read what delta-rs is told; what looks like a key must be named, and is not repeated where it is not."""
    if not isinstance(value, dict) or not all(isinstance(one, str | bool | int) for one in value.values()):
        raise ValueError('must be a table of texts, such as { aws_region = "eu-central-1" }')
    told = {name: str(one).lower() if isinstance(one, bool) else str(one) for name, one in value.items()}
    if bare := sorted(name for name, one in told.items() if _KEYLIKE.search(name) and check_reference(one)):
        raise ValueError(f"{', '.join(bare)} {check_reference('')}")
    return told


def _one_of(*allowed: object) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value not in allowed or isinstance(value, bool) is not isinstance(allowed[0], bool):
            raise ValueError(f"must be {' or '.join(json.dumps(one) for one in allowed)}")
        return value

    return read


SETTINGS: dict[str, Setting] = {
    "data": Setting("The data folder.", _path),
    "share": Setting(
        '"group" lets the group read Parquet dataset, Delta tables and snapshot.', _one_of("none", "group")
    ),
}
SOURCE_SETTINGS: dict[str, Setting] = {
    "base_url": Setting("Where the API is.", _url),
    "api_key": Setting("Where the key is: env:NAME, file:PATH or cmd:COMMAND.", _reference),
    "organization": Setting("Sent as OpenAI-Organization.", _header),
    "project": Setting("Sent as OpenAI-Project.", _header),
    "model": Setting("Only completions of this model.", _text),
    "metadata": Setting("Only completions with these metadata.", cost.pairs),
    "limit": Setting("Completions per page.", _limit),
    "overlap": Setting("How far back in created each run reads again, for rows that became visible late.", duration),
    "timeout": Setting("Longest silence of the server.", _some_time),
    "connect_timeout": Setting("Longest time to connect.", _some_time),
    "page_time": Setting("Longest time for one page, however slowly it comes.", _some_time),
    "page_size": Setting("Most bytes of one page, decompressed; a larger one is asked in smaller parts.", _size),
    "ca_file": Setting("Certificates to trust instead of the usual ones, where the server has private ones.", _text),
    "retry_attempts": Setting("Most requests for one page.", _attempts),
    "retry_time": Setting("Longest time spent on one page, waits included.", duration),
    "messages": Setting("Fetch the input messages too: one more request per completion.", _switch),
    "messages_at_once": Setting("Most requests for input messages in flight; halved by a 429, then growing.", _at_once),
    "content": Setting(
        '"none" keeps no prompt, answer, tool argument or image on the disk: usage, cost, metadata only.',
        _one_of("full", "none"),
    ),
    "metadata_keys": Setting("Only these metadata keys are kept; without it, all.", _keys),
    "sweep_every": Setting("How often everything still listed is walked again, for edits and deletions.", duration),
    "sweep_requests": Setting("Most requests of a sweep in one run; the rest waits for the next.", _requests),
    "both_ends": Setting("Walk a long first export from its newest end as well.", _switch),
    "sweep_walks": Setting("Walks of a sweep side by side.", _at_once),
    "segment_size": Setting("Bodies read before they are made durable: fetched again, at most, after a crash.", _size),
}
DESTINATION_SETTINGS: dict[str, Setting] = {
    "parquet": Setting("Write the Parquet dataset.", _switch),
    "duckdb": Setting("Write DuckDB tables and publish the snapshot.", _switch),
    "delta": Setting("Keep Delta tables: true, in the data folder; or where else, a folder or a URL.", _place),
    "delta_options": Setting("What delta-rs is told of that URL; keys are named: env:, file: or cmd:.", _options),
    "logprobs": Setting("Fill the table logprobs, one row per token; switching it makes the tables anew.", _switch),
}
COST_SETTINGS: dict[str, Setting] = {
    "prices": Setting("Own prices, in US dollars per million tokens; they win over those shipped.", cost.prices),
    "discounts": Setting("Percents off list prices, by source and beginning of the model's name.", cost.discounts),
    "deployments": Setting("Models by the names that the server gives them, as Azure does.", cost.pairs),
    "batch": Setting("Metadata that mark a completion as part of a batch; the API does not.", cost.pairs),
    "budgets": Setting("US dollars per month, by source, model or metadata.", cost.budgets),
    "tags": Setting("Metadata keys that may appear in reports and exports.", _keys),
}
ORGANIZATION_SETTINGS: dict[str, Setting] = {
    "admin_key": Setting("Where the admin key is, for `pipeline reconcile` alone.", _reference),
    "base_url": Setting("Where the organization's Usage and Costs APIs are.", _url),
}
_TABLES = ("sources", "destinations", "cost", "organization")
#: The names that the official SDKs use, for the source that the environment describes.
ENVIRONMENT = {
    "base_url": "OPENAI_BASE_URL",
    "organization": "OPENAI_ORG_ID",
    "project": "OPENAI_PROJECT_ID",
}
#: Also theirs; what it holds is read where it is needed.
ADMIN_KEY = "OPENAI_ADMIN_KEY"


# -- putting together ----------------------------------------------------------------------------------------------


class _Problems:
    """Collects everything that is wrong, to be told at once."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._found: list[str] = []

    def add(self, key: str, what: str) -> None:
        self._found.append(f"{self._where}: {key} {what}")

    def read(self, settings: Mapping[str, Setting], table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """Read every known key of a table; unknown ones are told with the nearest known one."""
        values = {}
        for key, value in table.items():
            if key not in settings:
                self.add(prefix + key, f"is not a setting{_nearest(key, (*settings, *(() if prefix else _TABLES)))}")
                continue
            try:
                values[key] = settings[key].read(value)
            except ValueError as error:
                self.add(prefix + key, str(error))
        return values

    def raise_if_any(self) -> None:
        if self._found:
            raise ConfigError(
                "\n".join(self._found),
                hint="mend them and try `pipeline config check`; `pipeline config init` shows all",
            )


def _nearest(key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def load(path: Path | None, environment: Mapping[str, str], *, data: Path | None = None) -> Config:
    """Read the settings; without a file the environment describes one source named ``default``.

    Raises ConfigError with every problem at once.
    """
    problems = _Problems(str(path) if path else "environment")
    table = _parse(path) if path else _from_environment(environment)
    origins = {key: str(path or "environment") for key in _flatten(table)}
    top = problems.read(SETTINGS, {key: value for key, value in table.items() if key not in _TABLES})
    destinations = problems.read(DESTINATION_SETTINGS, _table(table, "destinations", problems), "destinations.")
    costs = problems.read(COST_SETTINGS, _table(table, "cost", problems), "cost.")
    organization = problems.read(ORGANIZATION_SETTINGS, _table(table, "organization", problems), "organization.")
    sources = _sources(table, problems)
    problems.raise_if_any()
    given = data or (Path(environment["PIPELINE_DATA"]) if environment.get("PIPELINE_DATA") else None)
    if given is not None:
        top["data"] = given
        origins["data"] = "--data" if data else "PIPELINE_DATA"
    found = Config(
        sources=sources,
        **top,
        **destinations,
        cost=Cost(**costs),
        organization=Organization(**organization),
        is_implied=path is None,
        origins=origins,
    )
    _insist_on_usable(found.data, origins.get("data", "default"))
    return found


def _insist_on_usable(data: Path, origin: str) -> None:
    """Raise ConfigError for a data folder whose name some library cannot take."""
    try:
        str(data).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{data!r} ({origin}) is not UTF-8", hint="name another data folder") from error
    if data.parts and ":" in data.parts[0]:  # taken for the name of a protocol
        raise ConfigError(f"{data} ({origin}) looks like a URL", hint=f"name the data folder {data.absolute()}")


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", hint=f"make one with `pipeline config init {path}`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path} is not TOML: {error}", hint="a table such as [sources.prod] may stand once"
        ) from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    told = {key: environment[name] for key, name in ENVIRONMENT.items() if environment.get(name)}
    if "base_url" in told:
        try:
            _url(told["base_url"])
        except ValueError as error:
            raise ConfigError(f"{ENVIRONMENT['base_url']} {error}") from error
    organization = {key: told[key] for key in ("base_url",) if key in told}
    if environment.get(ADMIN_KEY):
        organization["admin_key"] = f"env:{ADMIN_KEY}"
    return {"sources": {"default": told}, "organization": organization}


def _table(table: Mapping[str, Any], name: str, problems: _Problems) -> Mapping[str, Any]:
    value = table.get(name, {})
    if isinstance(value, dict):
        return value
    problems.add(name, f"must be a table, [{name}]")
    return {}


def _sources(table: Mapping[str, Any], problems: _Problems) -> tuple[Source, ...]:
    found = []
    for name, settings in _table(table, "sources", problems).items():
        if not _SOURCE_NAME.fullmatch(name):
            problems.add(f"sources.{name}", "must be named with a-z, 0-9, - and _, beginning with a letter")
        elif not isinstance(settings, dict):
            problems.add(f"sources.{name}", f"must be a table, [sources.{name}]")
        else:
            values = problems.read(SOURCE_SETTINGS, settings, f"sources.{name}.")
            if values.get("messages") and values.get("content") == "none":
                problems.add(f"sources.{name}.messages", 'cannot be true where content = "none" withholds them')
            found += [Source(name, **values)] if values.keys() == settings.keys() else []
    if not table.get("sources"):
        problems.add("sources", "must hold at least one table, such as [sources.prod]")
    _refuse_twins(found, problems)
    return tuple(found)


def _refuse_twins(sources: list[Source], problems: _Problems) -> None:
    """Refuse two sources that would count every row twice."""
    seen: dict[tuple[object, ...], str] = {}
    for source in sources:
        place = (source.base_url, source.organization, source.project, source.api_key)
        if place in seen:
            problems.add(
                f"sources.{source.name}",
                f"reads the same place as sources.{seen[place]} (base_url, organization, project and api_key agree): "
                "its completions would count twice",
            )
        seen.setdefault(place, source.name)


#: Settings that are tables themselves.
_PAIRS = {"metadata", "deployments", "batch", "delta_options"}


def _flatten(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in table.items():
        is_table = isinstance(value, dict) and key not in _PAIRS
        keys += _flatten(value, f"{prefix}{key}.") if is_table else [prefix + key]
    return keys


def in_force(config: Config) -> list[tuple[str, object, str]]:
    """Return every setting with its value and where it comes from."""
    values: list[tuple[str, object]] = [(key, getattr(config, key)) for key in SETTINGS]
    values += [
        (f"sources.{source.name}.{key}", getattr(source, key)) for source in config.sources for key in SOURCE_SETTINGS
    ]
    values += [(f"destinations.{key}", getattr(config, key)) for key in DESTINATION_SETTINGS]
    values += [(f"organization.{key}", getattr(config.organization, key)) for key in ORGANIZATION_SETTINGS]
    values += [(f"cost.{key}", getattr(config.cost, key)) for key in COST_SETTINGS]
    return [(key, str(value) if key == "data" else value, config.origins.get(key, "default")) for key, value in values]
