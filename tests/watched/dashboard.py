"""The shape of a Grafana dashboard, as far as ours goes: what is missing, misspelt or unknown is an error."""

from typing import Annotated, Any, Literal

import msgspec

Text = Annotated[str, msgspec.Meta(min_length=3)]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing in it that we do not know."""


class Datasource(Strict):
    type: Literal["prometheus"]
    uid: Literal["${datasource}"]


class Target(Strict):
    refId: Annotated[str, msgspec.Meta(pattern="^[A-Z]$")]  # noqa: N815 - Grafana's own name
    datasource: Datasource
    expr: Text
    legendFormat: Text  # noqa: N815 - as above


class Place(Strict):
    x: Annotated[int, msgspec.Meta(ge=0, le=23)]
    y: Annotated[int, msgspec.Meta(ge=0)]
    w: Annotated[int, msgspec.Meta(ge=1, le=24)]
    h: Annotated[int, msgspec.Meta(ge=1)]


class Defaults(Strict):
    unit: Literal["s", "short", "none", "bool_yes_no", "decbytes", "percentunit"]
    min: int | None = None
    color: dict[str, str] = {}
    thresholds: dict[str, Any] = {}


class Fields(Strict):
    defaults: Defaults
    overrides: Annotated[list[Any], msgspec.Meta(max_length=0)]


class Panel(Strict):
    id: int
    type: Literal["stat", "timeseries"]
    title: Text
    description: Annotated[str, msgspec.Meta(min_length=20)]
    datasource: Datasource
    gridPos: Place  # noqa: N815 - as above
    fieldConfig: Fields  # noqa: N815 - as above
    options: dict[str, Any]
    targets: Annotated[list[Target], msgspec.Meta(min_length=1)]


class Variable(Strict):
    name: Text
    label: Text
    type: Literal["datasource", "query"]
    query: str | dict[str, str]
    refresh: int
    datasource: Datasource | None = None
    definition: str = ""
    hide: int = 0
    sort: int = 0
    multi: bool = False
    includeAll: bool = False  # noqa: N815 - as above
    allValue: str = ""  # noqa: N815 - as above
    current: dict[str, Any] = {}


class Variables(Strict):
    list: list[Variable]


class Dashboard(Strict):
    uid: Text
    title: Text
    description: Text
    tags: list[str]
    schemaVersion: int  # noqa: N815 - as above
    version: int
    editable: bool
    timezone: Literal["utc"]
    refresh: str
    time: dict[str, str]
    templating: Variables
    annotations: dict[str, list[Any]]
    links: list[Any]
    panels: list[Panel]
