"""An organization that stores completions, uses tokens and bills them, served on a real socket, and one data folder."""

from __future__ import annotations

import datetime as dt
import itertools
from contextlib import closing
from decimal import Decimal

import pipeline
from pipeline.config import Config, Organization, Source
from pipeline.cost.reconciliation import CLASSES
from pipeline.cost.settings import Cost
from pipeline.folder import DataFolder
from pipeline.nightly import export
from pipeline.reconcile import reconcile
from pipeline.sandbox.clock import Clock
from pipeline.sandbox.faults import Fault
from pipeline.sandbox.server import Server
from pipeline.sandbox.store import Store

KEY, ADMIN_KEY = "sk-of-a-project-of-the-tests", "sk-admin-of-the-organization-of-the-tests"
TODAY = dt.date(2026, 11, 20)
DAY = TODAY - dt.timedelta(days=1)
NOON = 12 * 3600
MODEL, MINI = "gpt-4.1-2025-04-14", "gpt-5-mini-2025-08-07"


def second(day, of_day=NOON):
    """Return the Unix second of a moment of a UTC day."""
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) + of_day


class Billed:
    """One server that speaks all three APIs, and the settings that join it with a data folder."""

    def __init__(self, folder, *, cost=None, parquet=False, **source):
        self.clock = Clock(second(TODAY))
        self.store = Store(self.clock)
        self.server = Server(self.store, key=KEY, admin_key=ADMIN_KEY)
        self.billing = self.server.billing
        self.discounted = set()
        """Days on which the bill may be lower than the list."""
        self.folder = DataFolder(folder / "data")
        self._cost = cost or Cost()
        self._parquet = parquet
        self._keys = {name: folder / name for name in ("key", "admin")}
        self._keys["key"].write_text(KEY)
        self._keys["admin"].write_text(ADMIN_KEY)
        self._source = {"retry_attempts": 2, **source}
        self._numbers = itertools.count()

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *_):
        self.server.__exit__()

    def add(self, day=DAY, *, at=NOON, cached=None, **fields):
        """Store one completion of a million and a hundred thousand tokens; NULL leaves a field away."""
        tokens = {"prompt_tokens": fields.pop("input", 1_000_000), "completion_tokens": fields.pop("output", 100_000)}
        usage = {**tokens, "total_tokens": sum(tokens.values())}
        if cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": cached}
        row = {
            "id": f"c{next(self._numbers)}",
            "object": "chat.completion",
            "created": second(day, at),
            "model": MODEL,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": usage,
            "metadata": {},
            **fields,
        }
        return self.store.add({key: value for key, value in row.items() if value is not None})

    def config(self, **more):
        source = {"base_url": self.server.base_url, "api_key": f"file:{self._keys['key']}", **self._source}
        organization = Organization(f"file:{self._keys['admin']}", self.server.base_url)
        told = {"sources": (Source("prod", **source),), "cost": self._cost, "organization": organization}
        return Config(data=self.folder.root, **{"parquet": self._parquet, **told, **more})

    def export(self):
        """Export once."""
        result = export(self.config())
        assert result.exit_code == 0, result
        return result

    def reconcile(self, *, exports=True, **asked):
        """Export and compare, by day, source and model."""
        if exports:
            self.export()
        more = asked.pop("config", {})
        return reconcile(self.config(**more), now=self.now, **asked)

    def now(self):
        return dt.datetime.fromtimestamp(self.clock.now, dt.UTC)

    def fail(self, *faults):
        """Let these faults act from now on, counted from the next request of their route."""
        asked = self.server.app.log.asked
        parsed = [Fault.parse(fault) for fault in faults]
        self.server.app.faults = tuple(
            Fault(one.kind, one.at + asked.get(one.route, 0), one.times, one.rate, one.header, one.value, one.route)
            for one in parsed
        )

    def asked(self, route):
        """Return the queries of every request of a route so far."""
        return [request.query for request in self.server.requests if request.route == route]

    def rows(self, sql):
        """Ask the snapshot."""
        with closing(pipeline.connect(self.folder.root)) as connection:
            return connection.execute(sql).fetchall()


def classes(done):
    """Return the classes of the total that are not zero, to the cent; what they sum to is the difference, exactly."""
    total = done.total
    assert (
        sum(total[name] for name in CLASSES)
        == total["difference"]
        == total["billed"] - (total["estimate"] - total["not_compared"])
    )
    rows = [dict(zip(done.columns, row, strict=True)) for row in done.rows]
    for name in ("billed", "difference", *CLASSES):
        assert sum(row[name] for row in rows if row[name] is not None) == total[name]
    for row in rows:
        assert row["difference"] is None or sum(row[name] for name in CLASSES) == row["difference"]
    return in_cents(total)


def of_day(done, day):
    """Return the classes of one day that are not zero, to the cent."""
    rows = [dict(zip(done.columns, row, strict=True)) for row in done.rows if row[0] == day]
    return in_cents({name: sum(row[name] for row in rows) for name in CLASSES})


def in_cents(amounts):
    cents = {name: amounts[name].quantize(Decimal("0.01")) for name in CLASSES}
    return {name: str(amount) for name, amount in cents.items() if amount}
