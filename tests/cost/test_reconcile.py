"""The bill beside the estimate: every difference has its class, to the cent, and nothing is fetched twice or lost."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import json
import random
from contextlib import closing
from decimal import Decimal

import duckdb
import pytest

from pipeline import failpoints
from pipeline.archive.segments import Archive
from pipeline.config import Source
from pipeline.cost.reconciliation import CLASSES, totals
from pipeline.cost.settings import Cost, Discount
from pipeline.errors import ConfigError, RefusedError, UsageError
from pipeline.failpoints import FailpointError
from pipeline.forget import forget
from pipeline.nightly import export
from pipeline.repair import repair
from pipeline.sandbox.billing import Line, Used
from pipeline.verify import verify
from tests.cli.program import assert_one_message, pipeline
from tests.truth.world import prove

from .billed import ADMIN_KEY, DAY, KEY, MINI, MODEL, TODAY, Billed, classes, of_day

ONE = dt.timedelta(days=1)
MORE_FAULTS = ("1:429@costs:retry-after-ms=1", "1:cut@usage", "2:html@usage")


@pytest.fixture
def billed(tmp_path):
    with Billed(tmp_path) as served:
        yield served


# -- everything explained ----------------------------------------------------------------------------------------------


def test_a_bill_of_what_is_stored_is_explained(billed):
    """Where everything is stored and prices are those known, there is no difference, and all of it is held."""
    for day, model in itertools.product((DAY, DAY - ONE), (MODEL, MINI)):
        billed.add(day, model=model)
        billed.add(day, model=model, cached=250_000, service_tier="priority")
    done = billed.reconcile()
    assert done.exit_code == 0
    assert classes(done) == {}
    assert done.total["difference"] == 0
    assert (done.total["requests_coverage"], done.total["tokens_coverage"]) == (100, 100)
    assert done.total["requests_held"] == 8
    assert done.shares == {}
    assert len(done.rows) == 4


def test_the_cached_share_from_usage_refines_the_estimate(billed):
    """Rows that tell no cached tokens are priced with the share of their day, model and tier, and say so."""
    billed.billing.cached = lambda row: row["usage"]["prompt_tokens"] // 4
    billed.add(input=1_000_000)
    billed.add(input=3_000_000)
    billed.add(DAY - ONE, model=MINI)
    billed.export()
    ((before, least, basis),) = billed.rows(
        "SELECT sum(cost), sum(cost_min), any_value(basis) FROM cost_by_completion WHERE model = 'gpt-4.1-2025-04-14'"
    )
    assert (before, basis) == (Decimal("9.6"), "cached share unknown")
    done = billed.reconcile(exports=False)
    assert classes(done) == {}
    assert abs(done.total["difference"]) < Decimal("1e-6")
    ((cost, cost_min, basis),) = billed.rows(
        "SELECT sum(cost), sum(cost_min), any_value(basis) FROM cost_by_completion WHERE model = 'gpt-4.1-2025-04-14'"
    )
    assert cost == cost_min == Decimal("8.1") > least
    assert basis == "cached share from Usage"
    assert done.total["cached_share_applied"].quantize(Decimal("0.01")) == Decimal("1.56")


@pytest.mark.slow
def test_a_share_is_of_its_own_tier_else_of_the_whole_day(billed):
    """Each tier has its own cached share; one that Usage does not know has that of the model's day."""
    billed.billing.cached = lambda row: 500_000 if row["service_tier"] == "priority" else 100_000
    billed.add(service_tier="default")
    billed.add(service_tier="priority")
    billed.reconcile()
    told = "SELECT service_tier, cost FROM cost_by_completion ORDER BY 1"
    assert billed.rows(told) == [("default", Decimal("2.65")), ("priority", Decimal("3.5875"))]
    billed.billing.tier = lambda _: "default"
    billed.clock.advance(86_400)
    billed.reconcile()
    assert billed.rows(told)[1] == ("priority", Decimal("4.1125"))


# -- each class on its own ---------------------------------------------------------------------------------------------


def not_stored(billed, day):
    billed.add(day)
    billed.billing.more += [Used(day, MODEL, 3, 2_000_000, 500_000)]
    return {"not_stored": "8.00"}


def not_stored_at_all(billed, day):
    billed.add(day)
    billed.billing.more += [Used(day, MINI, 3, 2_000_000, 500_000)]
    return {"not_stored": "1.50"}


def other_endpoints(billed, day):
    billed.add(day)
    billed.billing.lines += [
        Line(day, "text-embedding-3-small", Decimal("1.25"), Decimal(1000), "1000_tokens"),
        Line(day, "web search tool calls", Decimal("0.75")),
        Line(day, f"{MODEL}, audio input", Decimal("0.50"), Decimal(1000), "tokens"),
    ]
    return {"other_line_items": "2.50"}


def cached_share(billed, day):
    """Usage does not tell it; the bill does."""
    billed.add(day, input=4_000_000, user="cached")
    billed.billing.hides_cached.add(day)
    return {"cached_share": "-1.50"}


def cached_share_of_some(billed, day):
    """Usage tells the share of both; one of them tells its own."""
    billed.add(day, input=2_000_000, cached=0)
    billed.add(day, input=2_000_000, user="cached")
    return {"cached_share": "-0.75"}


def tier(billed, day):
    billed.add(day, user="priority")
    return {"tier": "2.10"}


def batch(billed, day):
    billed.add(day, user="batch")
    return {"batch": "-1.40"}


def unpriced(billed, day):
    billed.add(day, model="house-model")
    return {"unpriced": "2.00"}


def unpriced_without_usage(billed, day):
    billed.add(day)
    billed.add(day, usage=None)
    billed.billing.more += [Used(day, MODEL, 0, 1_000_000, 100_000)]
    return {"unpriced": "2.80"}


def price_difference(billed, day):
    billed.add(day)
    billed.discounted.add(day)
    return {"price_difference": "-0.28"}


def not_explained(billed, day):
    billed.add(day)
    billed.billing.lines += [Line(day, f"{MODEL}, input", Decimal("0.40"))]
    return {"not_explained": "0.40"}


SCENES = (
    not_stored,
    not_stored_at_all,
    other_endpoints,
    cached_share,
    cached_share_of_some,
    tier,
    batch,
    unpriced,
    unpriced_without_usage,
    price_difference,
    not_explained,
)


def play(billed, scenes=SCENES):
    """Let each scene have a day of its own; return what each day's classes should be."""
    billing = billed.billing
    billing.cached = lambda row: 1_000_000 if row.get("user") == "cached" else 0
    billing.tier = lambda row: "priority" if row.get("user") == "priority" else "default"
    billing.batch = lambda row: row.get("user") == "batch"
    billing.discount = lambda used: Decimal(10 if used.day in billed.discounted else 0)
    billing.prices = {"house-model": {"input": Decimal(1), "cached_input": Decimal(1), "output": Decimal(10)}}
    return {scene.__name__: (DAY - place * ONE, scene(billed, DAY - place * ONE)) for place, scene in enumerate(scenes)}


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with Billed(tmp_path_factory.mktemp("played")) as served:
        expected = play(served)
        return expected, served.reconcile()


@pytest.mark.parametrize("scene", [scene.__name__ for scene in SCENES])
def test_each_class_is_recognised_to_the_cent(played, scene):
    """A difference that has one reason is in that reason's class, and in no other."""
    expected, done = played
    day, told = expected[scene]
    assert of_day(done, day) == told


def test_classes_sum_to_the_difference(played):
    """Over all days the classes are what those of each day sum to, and together all of the difference."""
    expected, done = played
    totals_ = {name: Decimal(0) for name in CLASSES}
    for _, told in expected.values():
        for name, amount in told.items():
            totals_[name] += Decimal(amount)
    assert classes(done) == {name: f"{amount:.2f}" for name, amount in totals_.items() if amount}
    assert round(sum(done.shares.values()), 9) == 100


@pytest.mark.slow
def test_mixed_reasons_sum_to_the_difference(billed):
    """With every reason on one day and model the classes still are all of it, by any keys, to the last decimal."""
    play(billed)
    for scene in SCENES:
        scene(billed, DAY)
    billed.billing.more += [
        Used(DAY, MODEL, 1, 1_000_000, 0, 400_000, "flex"),
        Used(DAY, MINI, 9, 1_000_000, 0, 0, "default", batch=True),
    ]
    billed.billing.lines += [Line(DAY, "assistants api | file search", Decimal("0.1234567890123456789"))]
    done = billed.reconcile()
    told = of_day(done, DAY)
    assert {"not_stored", "other_line_items", "tier", "batch", "unpriced", "price_difference"} <= told.keys()
    classes(done)
    for keys in itertools.chain.from_iterable(itertools.combinations(("day", "source", "model"), n) for n in range(4)):
        sums = f"SELECT sum(difference), {', '.join(f'sum({name})' for name in CLASSES)} FROM ({totals(keys)})"
        parts = billed.rows(f"{sums} WHERE NOT is_total") if keys else billed.rows(sums)
        assert parts == [tuple(done.total[name] for name in ("difference", *CLASSES))]


@pytest.mark.slow
def test_own_discounts_and_batches_are_in_the_estimate(tmp_path):
    """What the owner's settings tell of discounts and batches is priced so, and is then no difference."""
    cost = Cost(discounts=(Discount(Decimal(10), model="gpt-4.1"),), batch={"queue": "nightly"})
    with Billed(tmp_path, cost=cost) as billed:
        billed.add()
        billed.add(metadata={"queue": "nightly"})
        billed.billing.discount = lambda _: Decimal(10)
        billed.billing.batch = lambda row: row["metadata"].get("queue") == "nightly"
        assert classes(billed.reconcile()) == {}


# -- what is missing ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_usage_without_costs_is_covered_and_not_compared(billed):
    """Where no costs are told yet, what is held is told as a share of what was used, and no amount is made up."""
    billed.add()
    billed.billing.more = [Used(DAY, MODEL, 1, 1_000_000, 100_000)]
    billed.fail("1-:500@costs:x-should-retry=false")
    done = billed.reconcile()
    assert done.exit_code == 3
    assert done.total["requests_coverage"] == 50
    assert (done.total["billed"], done.total["difference"]) == (None, None)
    assert done.total["not_compared"] == done.total["estimate"] == Decimal("2.8")
    assert "1 day not compared" in "; ".join(done.notes)


@pytest.mark.parametrize("exports", [True, False])
@pytest.mark.slow
def test_costs_without_usage_are_compared_by_their_quantities(billed, exports):
    """Where no usage is held the bill's own quantities stand for it."""
    billed.add(input=4_000_000)
    billed.billing.more = [Used(DAY, MODEL, 1, 1_000_000, 100_000)]
    billed.billing.cached = lambda _: 1_000_000
    billed.fail("1-:500@usage:x-should-retry=false")
    done = billed.reconcile()
    assert done.exit_code == 3
    assert done.total["requests_used"] is None
    if exports:
        told = classes(done)
        # a fifth of all tokens was cached, so a fifth of what is held is taken to be
        assert told == {"cached_share": "-1.20", "not_stored": "2.50"}


@pytest.mark.slow
def test_a_bill_without_quantities_leaves_the_bounds(billed):
    """Where neither says how many tokens were cached, what lies within the bounds may be the cached share."""
    billed.add(input=1_000_000, output=0)
    billed.fail("1-:500@usage:x-should-retry=false")
    billed.billing.prices = {MODEL: {"input": Decimal("0.3")}}
    billed.billing.tells_quantities = False
    assert classes(billed.reconcile()) == {"cached_share": "-1.50", "not_explained": "-0.20"}


@pytest.mark.slow
def test_a_call_counts_on_the_other_side_of_midnight(billed):
    """A call that is billed a day later than it was created is a difference of each day, and none of both."""
    billed.add(DAY - ONE, at=86_399)
    billed.billing.more = [Used(DAY - ONE, MODEL, -1, -1_000_000, -100_000), Used(DAY, MODEL, 1, 1_000_000, 100_000)]
    done = billed.reconcile()
    by_day = {row[0]: row[done.columns.index("not_stored")] for row in done.rows}
    assert by_day == {DAY - ONE: Decimal("-2.8"), DAY: Decimal("2.8")}
    assert classes(done) == {}


@pytest.mark.slow
def test_days_are_those_of_utc(billed):
    """The first and the last second of a day belong to it, on all three sides."""
    billed.add(DAY, at=0)
    billed.add(DAY, at=86_399)
    billed.add(DAY - ONE, at=86_399)
    done = billed.reconcile()
    assert {row[0]: row[done.columns.index("requests_held")] for row in done.rows} == {DAY: 2, DAY - ONE: 1}
    assert classes(done) == {}


@pytest.mark.slow
def test_models_that_nobody_knows_are_shown(billed):
    """Usage of a model without a price, or without a name, is there, and its bill is unpriced or another line item."""
    billed.add()
    billed.billing.more = [Used(DAY, "from-the-future", 5, 1_000_000, 0)]
    billed.billing.prices = {"from-the-future": {unit: Decimal(3) for unit in ("input", "cached_input", "output")}}
    done = billed.reconcile()
    assert classes(done) == {"unpriced": "3.00"}
    assert [row[2] for row in done.rows] == ["from-the-future", MODEL]
    assert done.rows[0][done.columns.index("requests_coverage")] == 0


@pytest.mark.slow
def test_what_is_of_no_model_has_no_coverage(billed):
    """A row of other line items, and a day on which nothing was used, tell no share of nothing."""
    billed.billing.lines = [Line(DAY, "images", Decimal(2))]
    billed.add(TODAY)
    done = billed.reconcile(since=DAY)
    assert [(row[2], row[done.columns.index("requests_coverage")]) for row in done.rows] == [(None, None)]
    assert done.total["tokens_coverage"] is None
    assert classes(done) == {"other_line_items": "2.00"}
    columns, lines = done.for_people
    assert lines[0][:7] == [DAY, "prod", "(other)", "", "", "$0.00", "$2.00"]
    assert columns[-1] == "other line items"


# -- fetching ----------------------------------------------------------------------------------------------------------


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_days_that_are_held_are_not_fetched_again(billed):
    """A first call fetches all days, page by page; the next one only those that are late; then none but the new."""
    billed.add(TODAY - 100 * ONE)
    billed.add()
    billed.reconcile()
    assert (len(billed.asked("usage")), len(billed.asked("costs"))) == (4, 1)
    first = billed.asked("usage")[0]
    assert (first["bucket_width"], first["limit"], first["project_ids[]"]) == ("1d", "31", "proj_sandbox")
    late = billed.reconcile(exports=False)
    assert late.requests == 2
    assert len(billed.asked("usage")) == 5
    starts = [int(query["start_time"]) for query in billed.asked("usage")]
    assert starts[-1] == starts[0] + 97 * 86_400
    billed.clock.advance(86_400)
    done = billed.reconcile(exports=False)
    assert done.fetched[0].days == 8  # of each kind: a new one, and three that were fetched when they were young
    billed.clock.advance(10 * 86_400)
    assert billed.reconcile(exports=False).fetched[0].days == 2 * (10 + 3)
    assert billed.reconcile(exports=False, since=TODAY - 90 * ONE, until=TODAY - 50 * ONE).requests == 0


@pytest.mark.slow
def test_the_day_that_is_not_over_is_left_out(billed):
    """Half a day would be half a bill: today is neither fetched nor compared, also where it is asked for."""
    billed.add(TODAY, at=3600)
    billed.add()
    done = billed.reconcile(until=TODAY + 5 * ONE)
    assert done.period.until == TODAY
    assert [row[0] for row in done.rows] == [DAY]


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_late_data_replace_what_was_held(billed):
    """What becomes known of a day within three days replaces what was held of it, and what is gone is gone."""
    billed.add()
    billed.billing.more = [Used(DAY, MODEL, 1, 1_000_000, 0), Used(DAY, MINI, 1, 1_000_000, 0)]
    assert classes(billed.reconcile()) == {"not_stored": "2.25"}
    billed.billing.more = [Used(DAY, MODEL, 2, 3_000_000, 0)]
    billed.clock.advance(2 * 86_400)
    assert classes(billed.reconcile(exports=False)) == {"not_stored": "6.00"}
    assert billed.rows("SELECT count(DISTINCT segment) FROM organization_usage WHERE created_date = '2026-11-19'") == [
        (1,)
    ]
    billed.billing.more, billed.billing.tells_usage, billed.billing.tells_costs = [], False, False
    billed.clock.advance(86_400)
    billed.reconcile(exports=False)
    assert billed.rows(
        "SELECT count(*), count(\"index\") FROM organization_costs WHERE created_date = '2026-11-19'"
    ) == [(1, 0)]
    prove(billed.folder.root, parquet=billed.config().parquet)


@pytest.mark.parametrize(
    "fault",
    ["2:503@usage:retry-after-ms=1", *(pytest.param(fault, marks=pytest.mark.slow) for fault in MORE_FAULTS)],
)
@pytest.mark.slow
def test_what_may_pass_is_asked_again(billed, fault):
    """A fault that passes costs a request, and nothing else."""
    billed.add(TODAY - 40 * ONE)
    billed.add()
    billed.fail(fault)
    done = billed.reconcile()
    assert (done.exit_code, done.requests) == (0, 4)
    assert classes(done) == {}


@pytest.mark.parametrize(
    "fault", ["2-:stuck@usage", "1-:empty-more@usage", pytest.param("1-:more@costs", marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_pages_that_do_not_get_on_are_an_error(billed, fault):
    """A page token that does not move ends the fetch with 3; what came before is kept and compared."""
    billed.add(TODAY - 40 * ONE)
    billed.add()
    billed.fail(fault)
    done = billed.reconcile()
    assert done.exit_code == 3
    assert "do not get on" in done.fetched[0].why_not
    assert len(billed.asked("usage")) < 5
    billed.fail()
    assert billed.reconcile(exports=False).exit_code == 0


@pytest.mark.slow
def test_a_server_that_is_down_is_tried_later(billed):
    """Where nothing could be fetched, the exit code says to try again; what is held is compared all the same."""
    billed.add()
    billed.reconcile()
    billed.fail("1-:503@usage:x-should-retry=false", "1-:503@costs:x-should-retry=false")
    done = billed.reconcile(exports=False)
    assert (done.exit_code, done.total["billed"]) == (75, Decimal("2.8"))
    billed.fail("1-:503@usage:x-should-retry=false")
    assert billed.reconcile(exports=False).exit_code == 3


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_a_source_without_a_project_is_told_and_left_out(billed):
    """A source whose project is unknown, or is another one's, is skipped with 3, in words; the others are compared."""
    billed.add()
    billed.export()
    sources = (*billed.config().sources, Source("azure", base_url="http://127.0.0.1:9/v1"))
    done = billed.reconcile(exports=False, config={"sources": sources})
    assert (done.exit_code, done.total["billed"]) == (3, Decimal("2.8"))
    assert "azure: its project is not known" in done.fetched[1].why_not
    twin = (*billed.config().sources, Source("twin", base_url="http://127.0.0.1:9/v1", project="proj_sandbox"))
    assert "is that of source prod" in billed.reconcile(exports=False, config={"sources": twin}).fetched[1].why_not


def test_a_wrong_key_is_refused(billed):
    """The server refuses a project's key for the organization, and the admin key for completions: 77, in words."""
    billed.add()
    billed.export()
    billed._keys["admin"].write_text(KEY)
    done = billed.reconcile(exports=False)
    assert done.exit_code == 77
    assert "admin_key must name an admin key" in done.fetched[0].hint
    assert KEY not in f"{done}"
    billed._keys["admin"].write_text("")
    with pytest.raises(RefusedError, match="no usable key"):
        billed.reconcile(exports=False)
    billed._keys["key"].write_text(ADMIN_KEY)
    assert export(billed.config()).exit_code == 77


def test_without_an_admin_key_it_says_what_to_do(billed):
    """No admin key is 78; a day that is none, or a key that nothing is told by, is a wrong call."""
    billed.add()
    billed.export()
    with pytest.raises(ConfigError, match="no admin key is named") as raised:
        billed.reconcile(exports=False, config={"organization": type(billed.config().organization)()})
    assert "OPENAI_ADMIN_KEY" in raised.value.hint
    with pytest.raises(UsageError, match="no day lies between"):
        billed.reconcile(exports=False, since=TODAY, until=DAY)
    with pytest.raises(UsageError, match="nothing is told by team"):
        billed.reconcile(exports=False, by=["team"])


# -- kept, rebuilt, verified -------------------------------------------------------------------------------------------


def test_a_crash_between_archive_and_load_loses_nothing(billed):
    """What was fetched is durable before anything is loaded; the next run loads it, without asking again."""
    billed.add()
    billed.export()
    with failpoints.armed("archive.entered=raise"), pytest.raises(FailpointError):
        billed.reconcile(exports=False)
    assert billed.rows("SELECT count(*) FROM organization_usage") == [(0,)]
    asked = len(billed.asked("usage"))
    billed.export()
    assert len(billed.asked("usage")) == asked
    assert billed.rows("SELECT count(*) FROM organization_usage") == [(1,)]
    prove(billed.folder.root, parquet=billed.config().parquet)


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_it_is_rebuilt_verified_and_never_forgotten(billed):
    """Both tables come from the archive alone, equal; verify compares them; forgetting touches no day of them."""
    for number in range(3):
        billed.add(DAY - number * ONE)
    billed.billing.more = [Used(DAY, MODEL, 1, 1_000_000, 0)]
    billed.reconcile()
    tables = 'FROM organization_usage JOIN organization_costs USING (source, created, "index") ORDER BY ALL'
    before = billed.rows(tables)
    assert before
    repair(billed.config(), "all")
    assert billed.rows(tables) == before
    assert forget(billed.config(), ids=["c0", DAY.isoformat()]).held == 1
    assert billed.rows(tables) == before
    verdict = verify(billed.config())
    assert (verdict.problems, verdict.exit_code) == ((), 0)
    prove(billed.folder.root, parquet=billed.config().parquet)


@pytest.mark.slow
def test_no_run_takes_its_segments_for_completions(billed):
    """Position, coverage, what is held and what a first export asks are as if nothing had been reconciled."""
    config = {"sources": (Source(**{**_fields(billed.config().sources[0]), "project": "proj_sandbox"}),)}
    billed.folder.root.mkdir()
    billed.folder.archive.mkdir()
    assert billed.reconcile(exports=False, config=config).exit_code == 0
    announced = []
    billed.add()
    result = export(billed.config(**config), announce=announced.append)
    assert (result.exit_code, len(announced), result.sources[0].new) == (0, 1, 1)
    billed.reconcile(exports=False, config=config)
    position = _archive(billed).position(config["sources"][0].fingerprint)
    billed.add(at=NOON_AND_ONE)
    result = export(billed.config(**config))
    assert (result.sources[0].new, result.sources[0].skipped, result.sources[0].complete) == (1, 1, True)
    assert _archive(billed).position(config["sources"][0].fingerprint) >= position
    prove(billed.folder.root, parquet=billed.config().parquet)


NOON_AND_ONE = 12 * 3600 + 1


def _fields(source):
    return {name: getattr(source, name) for name in Source.__dataclass_fields__}


def _archive(billed):
    return Archive(billed.folder.archive, "prod", scratch=billed.folder.scratch)


@pytest.mark.slow
def test_the_view_reads_the_same_from_a_file_that_was_rewritten(billed):
    """DuckDB writes some lists of a view in any order: of those there are none, or verify would call it changed."""
    billed.export()
    told = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY view_name"
    for _ in range(5):
        before = billed.rows(told)
        with closing(duckdb.connect(billed.folder.warehouse)) as connection:
            connection.execute("CREATE OR REPLACE TABLE another AS SELECT 1 AS one")
            assert connection.execute(told).fetchall() == before


def test_keys_are_nowhere(billed):
    """Neither key is in any file of the data folder, in what is told, or in what the server logged."""
    billed.add()
    done = billed.reconcile()
    for path in billed.folder.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert KEY.encode() not in content, path
            assert ADMIN_KEY.encode() not in content, path
    assert ADMIN_KEY not in f"{done} {done.as_dict()} {billed.server.requests}"


# -- as people call it -------------------------------------------------------------------------------------------------


@pytest.mark.both_duckdbs
@pytest.mark.slow
def test_the_command_tells_it_in_every_form(billed, tmp_path):
    """CSV is exact and by day, JSON has all of it, a table is for people; keys come from the environment alone."""
    billed.add()
    billed.billing.more = [Used(DAY, MODEL, 1, 1_000_000, 0)]
    billed.export()
    told = {"OPENAI_BASE_URL": billed.server.base_url, "OPENAI_API_KEY": KEY, "OPENAI_ADMIN_KEY": ADMIN_KEY}
    ends = ("--since", DAY, "--until", TODAY)
    settings = tmp_path / "pipeline.toml"
    where = f'base_url = "{billed.server.base_url}"\n'
    settings.write_text(f'[sources.prod]\n{where}[organization]\nadmin_key = "env:OPENAI_ADMIN_KEY"\n{where}')
    call = ("reconcile", "--data", billed.folder.root, "--config", settings, *ends)
    table = pipeline(*call, "--format", "table", **told)
    assert table.returncode == 0, table.stderr
    assert f"{DAY.day} November 2026: billed $4.80, estimated $2.80, difference $2.00" in table.stdout
    assert "not stored: $2.00, 100.0 % of the difference" in table.stdout
    assert "held: 50.0 % of requests, 52.4 % of tokens" in table.stdout
    rows = list(csv.DictReader(pipeline(*call, **told).stdout.splitlines()))
    assert [(row["day"], row["model"], Decimal(row["not_stored"])) for row in rows] == [(f"{DAY}", MODEL, 2)]
    answer = json.loads(pipeline(*call, "--json", "--by", "model", **told).stdout)
    assert (answer["total"]["difference"], answer["exit_code"]) == ("2.000000000000000", 0)
    without = pipeline(*call, **{**told, "OPENAI_ADMIN_KEY": ""})
    assert_one_message(without, 77, "no usable key in env:OPENAI_ADMIN_KEY", "set the environment variable")
    settings.write_text(f"[sources.prod]\n{where}")
    assert_one_message(pipeline(*call, **told), 78, "no admin key is named", "admin_key")
    wrong = pipeline("reconcile", "--data", billed.folder.root, *ends, **{**told, "OPENAI_ADMIN_KEY": "sk-other"})
    assert_one_message(wrong, 3, "its project is not known")  # of a source named default nothing was exported


# -- wide --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_any_bill_is_split_without_a_rest(billed, seed):
    """Whatever is stored, used and billed, classes sum to the difference in every row and by every key."""
    rng = random.Random(seed)
    models = (MODEL, MINI, "house-model")
    days = [DAY - number * ONE for number in range(4)]
    tiers = (None, "default", "flex", "priority", "scale")
    for _ in range(rng.randrange(25)):
        input_ = rng.randrange(2_000_000)
        billed.add(
            rng.choice(days),
            model=rng.choice(models),
            input=input_,
            output=rng.randrange(200_000),
            cached=rng.choice((None, None, 0, input_ // 3)),
            at=rng.randrange(86_400),
            service_tier=rng.choice(tiers),
        )
    billing = billed.billing
    billing.more = [
        Used(
            rng.choice(days),
            rng.choice((*models, "unheard-of")),
            rng.randrange(9),
            rng.randrange(10**6, 10**7),
            rng.randrange(10**6),
            rng.randrange(10**6),
            rng.choice(tiers[1:]),
            rng.random() < 0.3,
        )
        for _ in range(rng.randrange(6))
    ]
    share = rng.choice((2, 3, 7))
    billing.cached = lambda row: row["usage"]["prompt_tokens"] // share
    billing.batch = lambda row: row["created"] % 3 == 0
    percent = Decimal(rng.randrange(20))
    billing.discount = lambda used: percent if used.model == MODEL else Decimal(0)
    billing.prices = {"house-model": {unit: Decimal(rng.randrange(9)) for unit in ("input", "cached_input", "output")}}
    billing.lines = [
        Line(rng.choice(days), rng.choice(("images", f"{MODEL}, audio output", f"{MINI}, output")), Decimal("0.33"))
    ]
    billing.hides_cached = {day for day in days if rng.random() < 0.3}
    if rng.random() < 0.3:
        billed.fail(rng.choice(("1-:500@usage:x-should-retry=false", "1-:500@costs:x-should-retry=false")))
    done = billed.reconcile()
    if done.total["billed"] is not None:
        classes(done)
    prove(billed.folder.root, parquet=billed.config().parquet)
