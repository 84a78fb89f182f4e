"""A month that has everything a FOCUS file must cope with, as a data folder with a published snapshot."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

from pipeline.cost.prices import OWN, Price
from pipeline.cost.settings import Cost, Discount

from .warehouse import completion, warehouse

MONTH = "2026-10"
FIRST = dt.date(2026, 10, 1)
SETTINGS = """
[sources.prod]
organization = "org-1"
project = "proj_1"
[sources.azure]
base_url = "https://res.openai.azure.com/openai/v1"
[sources.gateway]
base_url = "http://llm.example:8080/v1"
organization = "=org"
[cost]
tags = ["team", "app"]
"""
#: Two discounts, one of a source, one of a rate that no float holds; own prices; a mark of a batch.
COST = Cost(
    prices=tuple(
        Price(OWN, "house", "exact", "standard", unit, 0, None, None, Decimal(usd), dt.date.min)
        for unit, usd in (("input", "1.234567891"), ("output", "1200.5"))
    ),
    discounts=(Discount(Decimal("7.5"), source="azure"), Discount(Decimal("33.333"), model="gpt-4.1")),
    batch={"queue": "nightly"},
    tags=("team", "app"),
)
MODELS = ("gpt-4.1-2025-04-14", "gpt-4.1", "gpt-5.4", "o3", "gpt-4o-audio-preview", "house", "nobody-knows", None)
#: What a spreadsheet, a terminal or a reader of CSV could trip over.
HOSTILE = (
    "=cmd|' /C calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1",
    "\r=1",
    'a,b"c;d\ne',
    "</script><script>alert(1)</script>",
    "{",
    "NULL",
    "0001",
    "1e5",
    "2026-10-01",
    "x" * 3000,
)
#: Texts beyond ASCII, one of them written from right to left.
FOREIGN = ("mod\N{LATIN SMALL LETTER E WITH GRAVE}le", "\N{RIGHT-TO-LEFT OVERRIDE}lpg", "\N{FULLWIDTH EQUALS SIGN}1")


def rows(number=600, *, hostile=HOSTILE, seed=5):
    """Return completions of the month and of days around it, in any order."""
    chance = random.Random(seed)
    made = [_made(chance, place) for place in range(number)]
    for place, text in enumerate(hostile):
        tags = [("team", text), (text, "key"), ("secret", text)]
        made.append(completion(f"h{place}", day=FIRST, model=text, metadata=tags, service_tier=text))
        made.append(completion(f"g{place}", day=FIRST, metadata=tags, source="gateway"))
    return made


def _made(chance, place):
    prompt = chance.choice([0, 7, 1000, 271_999, 272_001, 900_001])
    cached = chance.choice([None, 0, prompt // 2, prompt])
    audio = chance.choice([None, 0, (prompt - (cached or 0)) // 3])
    told = {
        "source": chance.choice(["prod", "azure", "gateway"]),
        "model": chance.choice(MODELS),
        "service_tier": chance.choice([None, "default", "flex", "priority", "scale"]),
        "prompt_tokens": chance.choice([prompt] * 9 + [None]),
        "completion_tokens": chance.choice([0, 1, 333, None, -5]),
        "prompt_cached_tokens": cached,
        "prompt_audio_tokens": audio,
        "metadata": _tags(chance),
        "gone_at": chance.choice([None, dt.datetime(2026, 10, 30, tzinfo=dt.UTC)]),
    }
    return completion(place, day=FIRST + dt.timedelta(days=chance.randrange(-2, 34)), **told)


def _tags(chance):
    told = {
        "team": chance.choice([None, "search", "shop"]),
        "app": chance.choice([None, "web"]),
        "queue": chance.choice([None, "nightly"]),
        "secret": "never-to-be-told",
    }
    return [(key, value) for key, value in told.items() if value is not None]


def folder(path, made):
    """Publish completions as a data folder, with its settings; they are where it lies."""
    (path / "data").mkdir()
    with warehouse(path / "data" / "warehouse.duckdb", made, COST):
        pass
    (path / "pipeline.toml").write_text(SETTINGS, encoding="utf-8")
    return ("--config", path / "pipeline.toml", "--data", path / "data")
