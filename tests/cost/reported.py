"""A data folder with a snapshot made by hand, the report over it, and the report read back."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from dataclasses import dataclass, field
from html.parser import HTMLParser

import duckdb
import pyarrow as pa

from pipeline.config import Config
from pipeline.cost.settings import Cost
from pipeline.report import Wanted, report
from pipeline.schema import TABLES

from .warehouse import warehouse

VOID = {"meta", "br", "hr", "img", "link", "input", "col"}
#: Up to when the data of a source reach unless told.
THROUGH = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


def snapshot(folder, rows, *, runs=({},), cost=None, **more):
    """Make a data folder whose snapshot holds these completions, and more rows by table."""
    folder.mkdir(exist_ok=True)
    with warehouse(folder / "warehouse.duckdb", rows, cost) as connection:
        for name, others in more.items():
            _insert(connection, name, others)
        _insert(connection, "runs", [_run(**told) for told in runs])
    return folder


def _insert(connection, name, rows):
    columns = TABLES[name].columns
    told = [{column: row.get(column) for column in columns.names} for row in rows]
    connection.register("incoming", pa.Table.from_pylist(told, schema=columns))
    connection.execute(f"INSERT INTO {name} BY NAME FROM incoming")
    connection.unregister("incoming")


def _run(**told):
    """Make a row of runs: all that must be there, and what is told."""
    plain = {pa.string(): "", pa.int64(): 0, pa.bool_(): False, pa.date32(): THROUGH.date()}
    needed = {one.name: plain.get(one.type, THROUGH) for one in TABLES["runs"].columns if not one.nullable}
    return {**needed, "source": "prod", "complete": True, "data_through": THROUGH, "segment": 1, **told}


def choice(row, reason, index=0, content=None):
    """Make a choice of a completion."""
    told = {name: row[name] for name in ("source", "created", "created_date", "segment")}
    return {**told, "completion_id": row["id"], "index": index, "finish_reason": reason, "content": content}


def told(folder, *, cost=None, out=None, **wanted):
    """Write the report and read it back."""
    out = out or folder / "report.html"
    report(Config(data=folder, cost=cost or Cost()), Wanted(**wanted), out)
    return Page(out.read_text(encoding="utf-8"))


def query(folder, sql):
    """Ask the snapshot as a notebook would."""
    with closing(duckdb.connect(folder / "warehouse.duckdb", read_only=True)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@dataclass
class Element:
    """An element of a page."""

    name: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    def all(self, name=None, **attributes):
        """Return every element below with that name and these attributes."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                has = all(child.attributes.get(key.rstrip("_")) == value for key, value in attributes.items())
                found += [child] if name in {None, child.name} and has else []
                found += child.all(name, **attributes)
        return found

    @property
    def text(self):
        """Return all text below."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Page(HTMLParser):
    """A page as a browser would read it; raises AssertionError where elements are not closed in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.html = html
        self.root = Element("")
        self._open = [self.root]
        self.feed(html)
        self.close()
        assert self._open == [self.root]

    def handle_starttag(self, tag, attrs):
        """Open an element."""
        made = Element(tag, dict(attrs))
        assert len(made.attributes) == len(attrs)
        self._open[-1].children.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_endtag(self, tag):
        """Close it."""
        assert self._open.pop().name == tag

    def handle_data(self, data):
        """Take in text."""
        self._open[-1].children.append(data)

    @property
    def text(self):
        """Return what is to be read, without style and SQL."""
        body = self.root.all("body")[0]
        for code in body.all("pre"):
            code.children.clear()
        return body.text

    def section(self, key):
        """Return a section."""
        (found,) = self.root.all("section", **{"aria-labelledby": key})
        return found

    def sections(self):
        """Return the sections by key."""
        return {one.attributes["aria-labelledby"]: one for one in self.root.all("section")}

    def sql(self, key):
        """Return the queries of a section."""
        return [pre.text for pre in self.section(key).all("pre")]


def rows_of(table):
    """Return the rows of a table's body as cells; an amount is exact."""
    return [[_cell(cell) for cell in row.children] for body in table.all("tbody") for row in body.all("tr")]


def last_of(table):
    """Return the row of sums."""
    (foot,) = table.all("tfoot")
    return [_cell(cell) for cell in foot.all("tr")[0].children]


def heads_of(table):
    """Return the heads of the columns."""
    return [head.text for head in table.all("thead")[0].all("th")]


def _cell(cell):
    exact = cell.all("data")
    return exact[0].attributes["value"] if exact else cell.text
