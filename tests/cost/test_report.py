"""The report tells what SQL tells, and nothing from the data can do more in it than be read."""

from __future__ import annotations

import datetime as dt
import random
import re
import stat
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline import assemble, costs
from pipeline.config import Config
from pipeline.cost import figures as told_figures
from pipeline.cost import grounds
from pipeline.cost import page as told_page
from pipeline.cost.amounts import NOTHING
from pipeline.cost.figures import Expensive, Figure, Freshness, Line, ModelStep, TokenClass, TokenStep, Unpriced, gather
from pipeline.cost.period import Period, read_month
from pipeline.cost.pricing import REASONS
from pipeline.cost.query import Asked
from pipeline.cost.settings import Cost, Discount
from pipeline.errors import PipelineError, RefusedError, UsageError
from pipeline.report import MOST_TAGS, Wanted, refuse_to_overwrite, report
from tests.cli.program import assert_one_message, pipeline

from .reported import choice, heads_of, last_of, query, rows_of, snapshot, told
from .warehouse import completion

MODELS = (
    "gpt-4.1-2025-04-14",
    "gpt-5-2025-08-07",
    "gpt-4o-mini-2024-07-18",
    "o3",
    "ft:gpt-4o-2024-08-06:a:b",
    "ours",
    None,
)
#: What anybody may send as the name of a model, a metadata key or a value.
HOSTILE = (
    "</script><script>document.title=1337</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "'-- ; DROP TABLE completions",
    "</style></title></textarea><base href=//evil.example>",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
    "\N{RIGHT-TO-LEFT ISOLATE}left open",
    '=HYPERLINK("http://evil.example")',
    "+1", "-1", "@SUM(A1)",
    "\x00\x07\x1b[2J",
    "line\u2028separator\nand more",
    "שלום",
    "e" + "\N{COMBINING ACUTE ACCENT}" * 300,
    "a" * 500,
    "",
    "&lt;b&gt;",
    "{{7*7}} ${7*7} %s",
)  # fmt: skip
OCTOBER = "created_date >= DATE '2026-10-01' AND created_date < DATE '2026-11-01'"
#: The elements that a report is made of.
OURS = """
    html head meta title style body main header section footer h1 h2 h3 p small a ul li i bdi dl div dt dd figure
    details summary pre code table caption thead tbody tfoot tr th td data svg desc g rect line text
"""
DISCOUNT = Cost(discounts=(Discount(Decimal("7.5"), model="gpt-5"),), batch={"team": "night"})


def some(count, seed=0, months=2):
    """Make completions of September and October that differ in all that is told apart."""
    rng = random.Random(seed)
    for number in range(count):
        prompt = rng.choice([0, 10, 999, 272_001, None])
        yield completion(
            number,
            at=dt.datetime(2026, 9, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=rng.randrange(months * 30 * 86_400)),
            source=rng.choice(["prod", "test"]),
            model=rng.choice(MODELS),
            service_tier=rng.choice([None, "default", "flex"]),
            prompt_tokens=prompt,
            completion_tokens=rng.choice([0, 7, 12_345]),
            prompt_cached_tokens=rng.choice([None, 0, 5]),
            prompt_audio_tokens=rng.choice([None, None, 3]),
            metadata=[(key, rng.choice(["a", "b", "night"])) for key in ("team", "it's") if rng.random() < 0.7],
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Hold some thousand completions whose choices ended in several ways."""
    rng, rows = random.Random(1), list(some(1500))
    choices = [
        choice(row, rng.choice(["stop", "length", None]), index)
        for row in rows
        for index in range(rng.choice([0, 1, 1, 2]))
    ]
    runs = ({"source": "prod"}, {"source": "test", "complete": False, "why_not": "the server hangs"})
    return snapshot(tmp_path_factory.mktemp("report") / "data", rows, choices=choices, runs=runs)


@pytest.fixture(scope="module")
def page(folder):
    """Report October."""
    return told(folder, month="2026-10", tags=("team", "it's"))


def figures_of(asked, folder, *, tags=(), with_content=False):
    """Gather the figures as the report does."""
    with assemble.asking(Config(data=folder)) as ask:

        def rows(sql):
            answer = ask(sql)
            return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

        return gather(rows, asked, through=costs.reached(ask), tags=tags, with_content=with_content)


def told_apart(figures):
    """Yield every figure with a way to read its rows."""
    kinds = {
        "models_by_day": ModelStep,
        "tokens_by_day": TokenStep,
        "classes": TokenClass,
        "most_expensive": Expensive,
        "unpriced": Unpriced,
        "freshness": Freshness,
    }
    for name in figures.__slots__:
        if isinstance(figure := getattr(figures, name), Figure):
            kind = kinds.get(name)
            yield name, figure, (lambda row, kind=kind: kind(**row)) if kind else told_figures.line
    for key, figure in figures.tags.items():
        yield f"tag {key}", figure, told_figures.line


# -- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tz", "changes"),
    [
        ("UTC", {}),
        ("Europe/Berlin", {"cost": DISCOUNT, "is_as_published": False}),
        ("Asia/Kolkata", {"price_set": "2026-11-10", "is_as_published": False}),
    ],
)
@pytest.mark.slow
def test_the_sql_shown_gives_the_numbers_shown(folder, tz, changes):
    """Every query runs on the snapshot alone, and answers to the last decimal what was asked by a faster one."""
    figures = figures_of(Asked(read_month("2026-10", tz), **changes), folder, tags=("team", "it's"), with_content=True)
    names = []
    for name, figure, read in told_apart(figures):
        assert tuple(map(read, query(folder, figure.sql))) == figure.rows, name
        names.append(name)
    assert len(names) == 17


@pytest.mark.slow
def test_the_page_shows_every_query(folder, page):
    """The SQL in the page is that of the figures, to the letter."""
    shown = {pre.text for pre in page.root.all("pre")}
    figures = figures_of(Asked(read_month("2026-10")), folder, tags=("team", "it's"))
    assert {figure.sql for name, figure, _ in told_apart(figures)} - shown == {figures.total.sql}


def test_tables_add_up_to_the_total(folder, page):
    """In every table of costs the rows sum to the total, exactly, and that is the sum of all completions."""
    (truth,) = query(
        folder,
        "SELECT sum(cost) AS cost, sum(cost_min) AS cost_min, count(*) AS requests FROM cost_by_completion "
        f"WHERE {OCTOBER}",
    )
    checked = 0
    for table in page.root.all("table"):
        heads = heads_of(table)
        if "Share" in heads and table.all("tfoot"):
            for head, column in (("At most", "cost"), ("At least", "cost_min")):
                place = heads.index(head)
                cells = [Decimal(row[place]) for row in rows_of(table) if row[place] != NOTHING]
                assert sum(cells) == Decimal(last_of(table)[place]) == truth[column]
            checked += 1
        if "Requests" in heads and table.all("tfoot"):
            place = heads.index("Requests")
            counts = [int(row[place].replace(",", "")) for row in rows_of(table)]
            assert sum(counts) == truth["requests"]
    assert checked == 10


def test_the_headline_tells_the_bounds(folder, page):
    """The total is told as no less than and no more than, rounded to the cent."""
    (truth,) = query(
        folder,
        f"SELECT round(sum(cost_min), 2) AS least, round(sum(cost), 2) AS most FROM cost_by_completion WHERE {OCTOBER}",
    )
    (headline,) = page.root.all("p", class_="headline")
    assert headline.text == f"${truth['least']:,} to ${truth['most']:,}"
    assert headline.text in page.root.all("title")[0].text


@pytest.mark.slow
def test_time_zones_move_the_edges(folder):
    """A month of another zone holds the completions that its clocks showed in it."""
    page = told(folder, month="2026-10", tz="Pacific/Auckland")
    (truth,) = query(
        folder,
        "SELECT count(*) AS requests FROM completions "
        "WHERE strftime(created AT TIME ZONE 'Pacific/Auckland', '%Y-%m') = '2026-10'",
    )
    assert f"{truth['requests']:,}" in page.text


def test_unpriced_usage_is_told_by_tokens_and_requests(folder, page):
    """What has no price is told with why, and what usage does not tell is not 0."""
    truth = query(
        folder,
        "SELECT unpriced_because, count(*)::VARCHAR AS requests, sum(prompt_tokens)::BIGINT AS tokens "
        f"FROM cost_by_completion WHERE {OCTOBER} AND cost IS NULL GROUP BY ALL",
    )
    (table,) = page.section("unpriced").all("table")
    assert heads_of(table) == ["Model", "Why", "Requests", "Share", "Tokens in", "Tokens out"]
    requests, tokens = Counter(), Counter()
    for _, why, count, _, prompt, _ in rows_of(table):
        requests[why] += int(count.replace(",", ""))
        tokens[why] += 0 if prompt == "not told" else int(prompt.replace(",", ""))
    assert requests == {row["unpriced_because"]: int(row["requests"]) for row in truth}
    assert tokens == {row["unpriced_because"]: row["tokens"] or 0 for row in truth}
    assert "not told" in table.text


@pytest.mark.slow
def test_a_running_month_is_projected_and_compared_with_as_many_days(tmp_path):
    """The month so far, the rate and what it comes to; and the first days are compared with the first days."""
    rows = [completion(n, day=dt.date(2026, 9, 1) + dt.timedelta(days=n), prompt_cached_tokens=0) for n in range(40)]
    through = dt.datetime(2026, 10, 11, tzinfo=dt.UTC)
    folder = snapshot(tmp_path / "data", rows, runs=({"data_through": through},))
    figures = figures_of(Asked(read_month("2026-10")), folder)
    one = figures.days.rows[0].cost
    assert figures.sum.cost == 10 * one
    assert figures.running.projected == (31 * one, 31 * one)
    assert [round(cost, 20) for cost in figures.running.per_day] == [one, one]
    assert figures.running.so_far.sum.cost == figures.running.before.sum.cost == 10 * one
    page = told(folder)
    assert "Its first 10 days cost about as much as 1 to 10 September 2026." in page.text
    assert "All sources are read up to 11 October 2026, 00:00 UTC" in page.text
    assert "Change" not in heads_of(page.section("models").all("table")[0])


@pytest.mark.slow
def test_the_default_is_the_month_that_the_data_end_in(folder, tmp_path):
    """Without a period it is the month up to which every source was read."""
    through = ({"data_through": dt.datetime(2026, 9, 30, 23, tzinfo=dt.UTC)}, {"source": "test"})
    folder = snapshot(tmp_path / "data", some(10), runs=through)
    assert told(folder).root.all("h1")[0].text == "September 2026 days of UTC"
    assert told(folder, tz="Asia/Tokyo").root.all("h1")[0].text == "October 2026 days of Asia/Tokyo"


@pytest.mark.slow
def test_settings_of_today_count_and_the_sql_brings_them_along(folder):
    """Other settings than those of the last run give other amounts, and the SQL shown gives the same ones."""
    before, after = told(folder, month="2026-10"), told(folder, month="2026-10", cost=DISCOUNT)
    assert before.root.all("p", class_="headline")[0].text != after.root.all("p", class_="headline")[0].text
    assert "WITH cost_by_completion AS" in after.sql("models")[0]
    assert "WITH cost_by_completion AS" not in before.sql("models")[0]


@pytest.mark.slow
def test_prices_of_another_day(folder):
    """A report can be as it was then; a set that is not there is refused with those that are."""
    assert "List prices of the set 2026-11-10" in told(folder, month="2026-10", price_set="2026-11-10").text
    with pytest.raises(UsageError, match="there is no price set yesterday"):
        told(folder, price_set="yesterday")


# -- what anybody may send -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Hold completions whose every text is hostile, and report them with all keys."""
    rows, choices = [], []
    for number, text in enumerate(HOSTILE):
        metadata = [(text, HOSTILE[number - 1]), ("key", text)]
        rows.append(
            completion(number, id=f"{number}{text}", source=text, model=text, service_tier=text, metadata=metadata)
        )
        rows.append(
            completion(f"x{number}", source=text, service_tier=text, prompt_tokens=10**6 + number, metadata=metadata)
        )
        choices.append(choice(rows[-1], text, content=text))
    runs = [{"source": text, "complete": False, "why_not": text} for text in HOSTILE]
    folder = snapshot(tmp_path_factory.mktemp("hostile") / "data", rows, choices=choices, runs=runs)
    return told(folder, month="2026-11", tags=("key", *HOSTILE[:3], *HOSTILE[5:8], HOSTILE[11]), with_content=True)


@pytest.mark.slow
def test_nothing_from_the_data_is_markup(hostile):
    """Only our elements and attributes are there, closed in order, and no script, picture, frame or form."""
    names = {one.name for one in hostile.root.all()}
    assert names == set(OURS.split())
    attributes = {name for one in hostile.root.all() for name in one.attributes}
    assert not {name for name in attributes if name.startswith("on") or name in {"src", "srcset", "style", "action"}}


@pytest.mark.parametrize("name", ["page", "hostile"])
def test_nothing_comes_from_elsewhere(request, name):
    """No address outside the page, and a policy that would forbid it."""
    page = request.getfixturevalue(name)
    assert "<script" not in page.html.lower()
    assert {one.attributes["href"] for one in page.root.all() if "href" in one.attributes} <= {"#basis"}
    (style,) = page.root.all("style")
    assert not re.search(r"url\(|@import|https?:", style.text)
    policy = page.root.all("meta", **{"http-equiv": "Content-Security-Policy"})[0].attributes["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_no_text_can_steer_the_page(hostile):
    """Control characters and marks of direction are not in the page, and names keep to themselves."""
    allowed = "\n\N{NO-BREAK SPACE}\u200c\u200d"
    assert not {letter for letter in hostile.html if not (letter.isprintable() or letter in allowed)}
    assert not {letter for letter in hostile.root.text if not (letter.isprintable() or letter in allowed)}
    assert "\N{REPLACEMENT CHARACTER}gnp.exe" in hostile.text


def test_no_text_is_a_formula_when_pasted(hostile):
    """No cell begins with what a spreadsheet would work out."""
    cells = [cell.text for table in hostile.root.all("table") for cell in table.all("td") + table.all("th")]
    assert not [
        cell for cell in cells if cell.startswith(("=", "+", "-", "@")) and not re.fullmatch(r"\+[\d.]+\xa0%", cell)
    ]
    assert any(cell.startswith("“=HYPERLINK") for cell in cells)


def test_names_are_told_as_they_are(hostile):
    """Markup in a name is text to be read."""
    assert "<img src=x onerror=alert(1)>" in hostile.text
    assert "&lt;b&gt;" in hostile.text


def test_long_names_lose_their_middle(hostile):
    """A name that is wider than a chart has room for ends as it ends."""
    names = [text.text for text in hostile.root.all("text", class_="name narrow")]
    assert "aaaaaaaaa…aaaaaaaa" in names
    assert max(map(len, names)) <= 18


@pytest.mark.slow
def test_ten_thousand_values_become_a_few_and_the_rest(tmp_path):
    """The most expensive are told, all others are one, and everything still adds up."""
    rows = [
        completion(n, metadata=[(f"key{n}", "x"), ("user", f"u{n}")], prompt_tokens=1000 + n) for n in range(10_000)
    ]
    page = told(snapshot(tmp_path / "data", rows), month="2026-11", tags=("user", "key7"))
    (table,) = page.section("tags-0").all("table")
    assert [row[0] for row in rows_of(table)] == [f"u{9999 - n}" for n in range(10)] + ["(other)"]
    assert sum(Decimal(row[1]) for row in rows_of(table)) == Decimal(last_of(table)[1])
    assert len(page.html) < 200_000


@pytest.mark.slow
def test_completions_are_told_by_id_only(tmp_path):
    """What was said is in the page only where that was asked for."""
    row = completion(1)
    folder = snapshot(tmp_path / "data", [row], choices=[choice(row, "stop", content="a secret")])
    assert "a secret" not in told(folder, month="2026-11").html
    assert "a secret" in told(folder, month="2026-11", with_content=True).text


@pytest.mark.slow
def test_metadata_are_told_by_allowed_keys_only(folder):
    """Without keys that the settings allow or that were asked for, no metadata value is in the page."""
    assert "night" not in told(folder, month="2026-10").html
    assert "night" in told(folder, month="2026-10", cost=Cost(tags=("team",))).text


@pytest.mark.slow
def test_more_keys_than_there_is_room_for_are_refused(folder):
    """A report has room for some keys; a key given twice is one."""
    with pytest.raises(UsageError, match="more than a report has room for"):
        told(folder, tags=tuple(f"key{n}" for n in range(MOST_TAGS + 1)))
    assert len(told(folder, month="2026-10", tags=("team", "team")).root.all("h2")) == 12


# -- for every reader ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["page", "hostile"])
def test_every_chart_has_words_a_table_and_its_sql(request, name):
    """A chart has a title and a description of its own; its section holds a table and a query."""
    page = request.getfixturevalue(name)
    ids = [one.attributes["id"] for one in page.root.all() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    charts = 0
    for section in page.sections().values():
        drawn = [one for one in section.all("svg") if "role" in one.attributes]
        for chart in drawn:
            title, desc = chart.attributes["aria-labelledby"].split()
            assert {title, desc} <= set(ids)
            assert chart.all("title", id=title)[0].text
            assert chart.all("desc", id=desc)[0].text
        charts += len(drawn)
        assert len(drawn) <= len(section.all("table")) == len(section.all("caption"))
        assert len(drawn) <= len(section.all("pre"))
    assert charts >= 8


def test_tables_have_heads_for_rows_and_columns(page):
    """Each table has a caption, and every row as many cells as the head, the first of them a head itself."""
    for table in page.root.all("table"):
        width = len(heads_of(table))
        for row in table.all("tr"):
            assert len(row.children) == width
            assert row.children[0].name == "th"
            assert row.children[0].attributes["scope"] in {"col", "row"}


def test_contrast():
    """Text has a contrast of 4.5 and more on what is behind it, in light and in dark."""
    style = Path(told_page.__file__).with_name("report.css").read_text(encoding="utf-8")
    for scheme in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        assert {"paper", "ink", "soft", "least", "note"} <= colours.keys()
        for text, behind in (("ink", "paper"), ("soft", "paper"), ("ink", "note")):
            assert contrast(colours[text], colours[behind]) >= 4.5
        for drawn in ("least", "axis", "before", "s1", "s2", "s3", "s4"):
            assert contrast(colours[drawn], colours["paper"]) >= 3


def contrast(one, other):
    """Return the contrast of two colours, as WCAG has it."""
    light, dark = sorted(map(luminance, (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    """Return how bright a colour is."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


# -- little and much -----------------------------------------------------------------------------------------------


def plain(page):
    """Return the text with plain spaces."""
    return page.text.replace("\N{NO-BREAK SPACE}", " ")


def test_nothing_at_all(tmp_path):
    """A snapshot without completions and runs is reported as that."""
    page = told(snapshot(tmp_path / "data", [completion(1)][:0], runs=()))
    assert page.root.all("p", class_="headline")[0].text == "No completions"
    assert "There are none at all." in page.text
    assert list(page.sections()) == ["data", "prices"]


@pytest.mark.slow
def test_nothing_in_the_period(folder):
    """A month without completions says up to when the data reach."""
    page = told(folder, month="2025-01")
    assert "No completion of January 2025 is held. The data reach to 1 December 2026, 00:00 UTC." in page.text


@pytest.mark.slow
def test_one_day(folder):
    """A period of one day has one column, and the day before to compare with."""
    page = told(folder, since=dt.date(2026, 10, 7), until=dt.date(2026, 10, 8))
    assert page.root.all("h1")[0].text.startswith("7 October 2026")
    assert len(rows_of(page.section("time").all("table")[0])) == 1
    assert "Change" in heads_of(page.section("models").all("table")[0])


@pytest.mark.parametrize(
    ("days", "step", "rows"), [(92, "Day", 60), (93, "Week", 10), (401, "Month", 3), (4000, "Year", 1)]
)
@pytest.mark.slow
def test_long_periods_are_told_in_longer_steps(folder, days, step, rows):
    """A chart of many days goes by week, month or year."""
    until = dt.date(2026, 11, 2)
    page = told(folder, since=until - dt.timedelta(days=days), until=until)
    table = page.section("time").all("table")[0]
    assert heads_of(table)[0] == step
    assert len(rows_of(table)) in {rows, rows - 1}


@pytest.mark.slow
def test_only_unpriced(tmp_path):
    """Where nothing has a price there is no amount, and all of it is told as unpriced."""
    page = told(snapshot(tmp_path / "data", [completion(n, model="ours") for n in range(3)]), month="2026-11")
    assert page.root.all("p", class_="headline")[0].text == "No price"
    assert "3 requests (100 %) with 3,300 tokens have no price and are in no amount here." in plain(page)


@pytest.mark.slow
def test_exact_amounts_have_no_bounds(tmp_path):
    """Where every cached share is told there is one amount, and no column for the lower one."""
    page = told(snapshot(tmp_path / "data", [completion(1, prompt_cached_tokens=0)]), month="2026-11")
    assert page.root.all("p", class_="headline")[0].text == "$0.00280"
    assert "At least" not in heads_of(page.section("models").all("table")[0])
    assert "Everything" not in page.text
    assert page.section("unpriced").all("p")[0].text == "There is none."


# -- the file ------------------------------------------------------------------------------------------------------


def test_the_file_is_private_and_replaces_an_earlier_report(folder, tmp_path):
    """It is whole, for its owner alone, leaves nothing beside it, and takes the place of a report."""
    out = tmp_path / "r.html"
    for month in ("2026-10", "2026-09"):
        told(folder, out=out, month=month)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "September 2026" in out.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [out]


def test_nothing_else_is_overwritten(folder, tmp_path):
    """Another file, a folder, a link and a place that is not there are left alone."""
    other, link = tmp_path / "letter.html", tmp_path / "link.html"
    other.write_text("<!doctype html>Dear Sir", encoding="utf-8")
    link.symlink_to(other)
    for out in (other, link, tmp_path, tmp_path / "nowhere" / "r.html", Path("/dev/null")):
        with pytest.raises(UsageError):
            told(folder, out=out)
    assert other.read_text(encoding="utf-8") == "<!doctype html>Dear Sir"
    assert sorted(tmp_path.iterdir()) == [other, link]


def test_a_folder_that_cannot_be_written_is_told(folder, monkeypatch, tmp_path):
    """What the system refuses ends with where the report can go instead."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(RefusedError, match="--out"):
        told(folder, out=tmp_path / "r.html", month="2026-10")
    monkeypatch.undo()
    earlier = tmp_path / "earlier.html"
    earlier.touch()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PipelineError, match="--out"):
        refuse_to_overwrite(earlier)


@pytest.mark.slow
def test_the_command(folder, tmp_path):
    """`pipeline report` writes the file and says what it tells."""
    done = pipeline("report", "--data", folder, "--month", "2026-10", "--tag", "team", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"report\.html: October 2026, \$[\d,]+\.\d\d to \$[\d,]+\.\d\d\n", done.stdout)
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--month", "2026-13"), "2026-13 is not a month"),
        (("--month", "2026-10", "--since", "2026-10-01"), "a month and days were asked for"),
        (("--since", "2026-10-02", "--until", "2026-10-01"), "no day lies between"),
        (("--since", "yesterday"), "is not a day"),
        (("--tz", "Mars/Olympus"), "is not a time zone"),
        (("--tag", ""), "cost cannot be told by"),
    ],
)
def test_wrong_calls(folder, tmp_path, arguments, says):
    """A wrong call ends with 2, says what was wrong, and writes nothing."""
    done = pipeline("report", "--data", folder, *arguments, cwd=tmp_path)
    assert_one_message(done, 2, says)
    assert not list(tmp_path.iterdir())


def test_a_report_needs_a_snapshot(tmp_path):
    """Where nothing was published yet, the report says so."""
    with pytest.raises(PipelineError, match="nothing was published"):
        report(Config(data=tmp_path), Wanted(), tmp_path / "r.html")


def test_everything_that_a_cost_may_rest_on_is_explained():
    """Each reason has its words."""
    assert {"exact", *REASONS.values()} == grounds.MEANINGS.keys()


def test_lines_know_their_label():
    """What has several things in common is named by it."""
    assert Line("gpt-5", 1, 2, 3, None, None, 0, 0).tokens == 5
    assert Period(dt.date(2026, 10, 1), dt.date(2026, 10, 2)).is_month is False
