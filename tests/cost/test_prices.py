"""The shipped prices are well-formed, are those of genai-prices, and stay when others are added."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from importlib.metadata import version
from itertools import pairwise

import pytest

from pipeline.cost.prices import MATCHES, OWN, TIERS, UNITS, sets, shipped
from tests.cost import grid, seed_prices
from tests.cost.seed_prices import FOLDER, NotExpressibleError, add, make

RELEASE = version("genai-prices")
PRICES, SETS = (FOLDER / name for name in ("prices.csv", "price_sets.csv"))
#: What a case of the grid is to have the standard price for.
STANDARD = {None, grid.TIER_UNKNOWN, grid.TIER_WITHOUT_RATE, grid.TIER_BEFORE_CHANGE}


@pytest.fixture(scope="module")
def made():
    """Make the price set of the installed genai-prices."""
    return make(seed_prices.RELEASED[RELEASE], RELEASE)


def line(price):
    return (price.price_set, price.model, price.match, price.tier, price.unit, price.above_tokens)


def test_every_row_is_well_formed():
    named = [each.price_set for each in sets()]
    assert named == sorted(set(named))
    assert OWN not in named
    assert shipped()
    for price in shipped():
        assert price.price_set in named
        assert price.model == price.model.lower().strip() != ""
        assert price.match in MATCHES
        assert price.tier in TIERS
        assert price.unit in UNITS
        assert price.above_tokens >= 0
        assert price.usd_per_mtok.is_finite()
        assert price.usd_per_mtok >= 0
        assert price.usd_per_mtok == round(price.usd_per_mtok, 9)
        assert price.known_from <= date.fromisoformat(price.price_set)
        assert price.valid_to is None or price.known_from < price.valid_to
    for row in PRICES.read_text().splitlines()[1:]:
        assert re.fullmatch(r"\d+(\.\d+)?", row.split(",")[8])


def test_no_rate_has_two_answers():
    """Keys are unique, and the periods of one rate follow each other without overlap."""
    periods = defaultdict(list)
    for price in shipped():
        periods[line(price)].append((price.valid_from or date.min, price.valid_to or date.max))
    for key, found in periods.items():
        assert all(start < end for start, end in found), key
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(sorted(found))), key


def test_a_tier_is_complete_and_every_threshold_has_a_base():
    """Where there is a price for input there is one for output, unless genai-prices has none: embeddings."""
    units = defaultdict(set)
    for price in shipped():
        units[price.price_set, price.model, price.tier].add((price.unit, price.above_tokens))
    for (price_set, model, tier), found in units.items():
        named = {unit for unit, above in found if above == 0}
        assert "input" in named
        assert "output" in named or model.startswith("text-embedding-")
        assert {unit for unit, _ in found} == named
        standard = {unit for unit, above in units[price_set, model, "standard"] if above == 0}
        assert named == standard, (model, tier)


def test_no_name_is_matched_in_two_ways():
    """Neither by two prefixes nor, with other prices, by a prefix and as an exact name."""
    for price_set in {each.price_set for each in sets()}:
        rates = defaultdict(set)
        for price in shipped():
            if price.price_set == price_set:
                rates[price.model, price.match].add((*line(price)[3:], price.valid_from, price.usd_per_mtok))
        prefixes = [name for name, match in rates if match == "prefix"]
        for prefix in prefixes:
            covered = [name for name in rates if name[0].startswith(prefix) and name[0] != prefix]
            assert all(rates[name] == rates[prefix, "prefix"] and name[1] == "exact" for name in covered)


def test_the_shipped_prices_are_those_of_the_installed_genai_prices(made):
    """What the script makes is what is shipped, so that neither drifts; and a second run changes nothing."""
    before = PRICES.read_text(), SETS.read_text()
    assert add(made, *before) == before
    newest = made.price_set.isoformat()
    earlier = [text.split(f"\n{newest},")[0] + "\n" for text in before]
    assert add(made, *("" if text.count("\n") == 1 else text for text in earlier)) == before


def test_another_version_adds_a_set_and_keeps_the_earlier_to_the_letter(made):
    """What has not changed stays known since it was known first; what has is known since the new set."""
    before = PRICES.read_text(), SETS.read_text()
    later = made.price_set + timedelta(days=30)
    rows = [{**row, "price_set": later.isoformat(), "known_from": later.isoformat()} for row in made.rows]
    changed = next(row for row in rows if row["model"] == "gpt-4o" and row["unit"] == "output")
    changed["usd_per_mtok"] = "11"
    after = add(replace(made, price_set=later, origin="genai-prices 9.9", rows=rows), *before)
    assert after[0].startswith(before[0])
    assert after[1] == before[1] + f"{later},genai-prices 9.9\n"
    added = after[0].removeprefix(before[0]).splitlines()
    assert len(added) == len(rows)
    assert f"{later},gpt-4o,exact,standard,output,0,,,11,{later}" in added
    assert f"{later},gpt-4o,exact,standard,input,0,,,2.5,2025-07-04" in added
    assert add(replace(made, price_set=later, origin="genai-prices 9.9", rows=rows), *after) == after
    assert add(made, *after) == after


def test_a_set_never_changes(made):
    """Other prices of the same version are refused, and so is a set older than those there are."""
    before = PRICES.read_text(), SETS.read_text()
    other = [{**row, "usd_per_mtok": "1"} for row in made.rows]
    with pytest.raises(NotExpressibleError, match="never changes"):
        add(replace(made, rows=other), *before)
    with pytest.raises(NotExpressibleError, match="not later"):
        add(replace(made, price_set=date(2020, 1, 1)), *before)


def test_the_script_says_what_it_leaves_out_and_changes_nothing():
    before = PRICES.read_bytes(), SETS.read_bytes()
    said = subprocess.run([sys.executable, "-m", "tests.cost.seed_prices"], capture_output=True, text=True, check=True)
    assert "nothing is changed" in said.stdout
    assert "tts-1" in said.stdout
    assert "moderation" in said.stdout
    assert (PRICES.read_bytes(), SETS.read_bytes()) == before


def test_prices_are_read_without_what_is_heavy():
    code = "import sys, pipeline.cost.prices as p; p.shipped(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pyarrow", "duckdb", "pydantic", "genai_prices", "httpx", "msgspec"} & set(loaded)


def by_table():
    """Index the newest set: rates by model and match, then tier and unit."""
    newest, table = sets()[-1].price_set, defaultdict(lambda: defaultdict(list))
    for price in shipped():
        if price.price_set == newest:
            table[price.model, price.match][price.tier, price.unit].append(price)
    return table


def find(table, name):
    """Look a name up as prices.py says that it is done."""
    bare = name[:-11] if name[-11:-10] == "-" and name[-10:].replace("-", "").isdigit() else name
    for key in ((name, "exact"), (bare, "exact")):
        if key in table:
            return table[key]
    found = [key for key in table if key[1] == "prefix" and name.startswith(key[0])]
    return table[found[0]] if found else None


def total(table, case):
    """Price a case by the table alone; None where it has no price for it."""
    model = find(table, case.model.lower())
    if model is None:
        return None

    def rate(tier, unit):
        fits = [
            price
            for price in model[tier, unit]
            if (price.valid_from or date.min) <= case.created < (price.valid_to or date.max)
            and (case.prompt_tokens > price.above_tokens or price.above_tokens == 0)
        ]
        return max(fits, key=lambda price: price.above_tokens).usd_per_mtok if fits else None

    tier = "batch" if case.is_batch else {"fast": "priority"}.get(case.service_tier, case.service_tier)
    if tier not in TIERS or rate(tier, "input") is None:
        tier = "standard"
    cached, written, heard, spoken = (
        tokens or 0 for tokens in (case.cached_tokens, case.cache_write, case.audio_in, case.audio_out)
    )
    of_input, of_output = rate(tier, "input"), rate(tier, "output") or Decimal(0)
    parts = [
        ("cached_input", cached, of_input),
        ("cache_write", written, of_input),
        ("audio_input", heard, of_input),
        ("audio_output", spoken, of_output),
    ]
    cost = (case.prompt_tokens - cached - written - heard) * of_input + (case.completion_tokens - spoken) * of_output
    cost += sum(tokens * (wider if (own := rate(tier, unit)) is None else own) for unit, tokens, wider in parts)
    return cost / 1_000_000


def compare(every):
    """Price a part of the grid; what is to have the standard price has it."""
    table, seen = by_table(), 0
    for case in grid.cases(every):
        if case.differs in STANDARD:
            assert total(table, case) == case.expected, case
            seen += 1
        elif case.differs in {grid.DATED_NAME, grid.NOT_IN_GENAI}:
            assert case.expected is None
            assert total(table, case) is not None, case
    return seen


def test_the_table_gives_the_prices_of_genai_prices():
    """A part of the grid: no difference that has no reason."""
    assert compare(every=23) > 500


@pytest.mark.slow
def test_the_table_gives_all_prices_of_genai_prices():
    """The whole grid."""
    assert compare(every=1) > 20_000


def test_a_tier_assumed_is_what_genai_prices_says_once_it_has_learned_it():
    table, seen = by_table(), 0
    for case in grid.cases(every=11):
        if case.differs == grid.TIER_HISTORY and case.audio_in is None and case.audio_out is None:
            learned = grid.expected(replace(case, created=grid.TODAY))
            assert total(table, case) == learned, case
            seen += 1
    assert seen > 50
