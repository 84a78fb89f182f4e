"""A month as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification, as SQL on the snapshot; pure.

    cost_by_completion ──a month, by day and all that sets a price──▶ sums ──by class of tokens──▶ rows ◀── the bill

One row per UTC day, source, model, tier, class of tokens and set of allowed tags; where these were priced at several
rates, or rest on several things, one row for each, so that quantity times unit price is the cost to the last decimal.

- ListCost is the estimate at list prices, ContractedCost and EffectiveCost that after the owner's discounts; all are
  upper bounds like ``cost``, and x_CostMin is the lower one. The owner's own prices are list prices, too.
- BilledCost comes from the bill only, in rows of its own (``bill_rows``), and is 0 in all others.
- What has no price has no SkuPriceId and no unit prices. FOCUS forbids a cost to be null, so its costs are 0, and
  x_CostBasis says 'unpriced' and why; x_CostMin is null. Its tokens are there; where even these are not told, its
  requests are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa

from pipeline.cost.pricing import CLASSES, MONEY
from pipeline.cost.rates import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.cost.period import Period

VERSION = "1.2"
#: What is counted, for people, by class of tokens.
METERS = {
    "input": "Input tokens",
    "cached_input": "Cached input tokens",
    "cache_write": "Cache write tokens",
    "audio_input": "Audio input tokens",
    "output": "Output tokens",
    "audio_output": "Audio output tokens",
}
#: What ``bill_rows`` makes rows of.
BILL = {"day": "DATE", "source": "VARCHAR", "project": "VARCHAR", "line_item": "VARCHAR", "amount": MONEY}
#: No bill is known.
NO_BILL = f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in BILL.items())} WHERE false"
_AZURE = (".azure.com", ".azure.us", ".azure.cn")
_UNKNOWN = "Unknown"

_TEXT, _MOMENT, _COUNT = pa.string(), pa.timestamp("us", tz="UTC"), pa.int64()
_COST, _PRICE, _QUANTITY = pa.decimal128(38, 15), pa.decimal128(38, 9), pa.decimal128(38, 6)
_TOKENS = pa.decimal128(38, 0)


@dataclass(frozen=True, slots=True)
class Account:
    """Who provides a source, and who is billed for it."""

    source: str
    provider: str
    """Who provides it, publishes it and issues the invoice."""
    service: str
    billing_account: str
    """The organization; the source's own name where the settings tell none."""
    sub_account: str
    """The project, likewise."""


def account(source: str, base_url: str, organization: str | None, project: str | None) -> Account:
    """Tell by its settings whose source this is: OpenAI's, Microsoft's, or that of whoever runs the host."""
    host = urlsplit(base_url).hostname or source
    provider, service = host, host
    if f".{host}".endswith(".openai.com"):
        provider, service = "OpenAI", "OpenAI API"
    elif host.endswith(_AZURE):
        provider, service = "Microsoft", "Azure OpenAI"
    return Account(source, provider, service, organization or source, project or source)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the file."""

    name: str
    kind: pa.DataType
    sql: str
    """What it is, over the rows that ``statement`` works out."""
    meaning: str

    @property
    def field(self) -> pa.Field:
        """Declare it as Arrow does, with its meaning."""
        return pa.field(self.name, self.kind, metadata={"description": self.meaning})


_IS_PRICED = "rate IS NOT NULL"
_THRESHOLD = "CASE WHEN above_tokens > 0 THEN '-above-' || above_tokens ELSE '' END"
_DETAILS = """
    'x_TokenType', token_class, 'x_BilledTier', billed_tier, 'x_PriceSet', price_set, 'x_PricedAs', priced_as
"""
_DESCRIPTION = f"""CASE
    WHEN line_item IS NOT NULL THEN 'As billed: ' || line_item
    WHEN {_IS_PRICED} THEN meter || ' of ' || model || ' at ' || billed_tier || ' rates, an estimate: ' || basis
    ELSE meter || ' of ' || coalesce(model, 'a model without a name') || ', cost not known and not 0: ' || basis
END"""

#: The columns in their order: FOCUS' own by alphabet, then ours, which FOCUS wants to begin with x_.
COLUMNS = (
    Column("BilledCost", _COST, "billed", "What the bill says; 0 in rows that are estimates."),
    Column(
        "BillingAccountId", _TEXT, "coalesce(billing_account, source)", "The organization; the source where none is set"
    ),
    Column("BillingAccountName", _TEXT, "coalesce(billing_account, source)", "The same."),
    Column("BillingCurrency", _TEXT, "'USD'", "US dollars."),
    Column("BillingPeriodEnd", _MOMENT, "billing_period_end", "First moment of the next month, UTC."),
    Column("BillingPeriodStart", _MOMENT, "billing_period_start", "First moment of the month, UTC."),
    Column("ChargeCategory", _TEXT, "'Usage'", "Always Usage."),
    Column("ChargeClass", _TEXT, "NULL::VARCHAR", "Always null: nothing here corrects an earlier invoice."),
    Column("ChargeDescription", _TEXT, _DESCRIPTION, "The row in words."),
    Column("ChargeFrequency", _TEXT, "'Usage-Based'", "Always Usage-Based."),
    Column("ChargePeriodEnd", _MOMENT, "(day + INTERVAL 1 DAY)::TIMESTAMP", "First moment of the next day, UTC."),
    Column("ChargePeriodStart", _MOMENT, "day::TIMESTAMP", "First moment of the day, UTC."),
    Column(
        "ConsumedQuantity", _QUANTITY, "quantity::DECIMAL(38, 6)", "Tokens; requests where their tokens are not told."
    ),
    Column("ConsumedUnit", _TEXT, "unit", "Tokens or Requests."),
    Column("ContractedCost", _COST, f"coalesce(cost, 0::{MONEY})", "The estimate after the owner's discounts."),
    Column("ContractedUnitPrice", _PRICE, "(rate * 1000000)::DECIMAL(38, 9)", "Its price per million tokens."),
    Column("EffectiveCost", _COST, f"coalesce(cost, 0::{MONEY})", "The same as ContractedCost."),
    Column("InvoiceId", _TEXT, "NULL::VARCHAR", "Always null: the API of costs names no invoice."),
    Column("InvoiceIssuerName", _TEXT, f"coalesce(provider, '{_UNKNOWN}')", "Who provides the source."),
    Column("ListCost", _COST, f"coalesce(list_cost, 0::{MONEY})", "The estimate at list prices."),
    Column("ListUnitPrice", _PRICE, "(list_rate * 1000000)::DECIMAL(38, 9)", "The list price per million tokens."),
    Column("PricingCategory", _TEXT, "'Standard'", "Always Standard: rates agreed beforehand."),
    Column(
        "PricingQuantity",
        _QUANTITY,
        "(quantity * (CASE unit WHEN 'Tokens' THEN 0.000001 ELSE 1 END)::DECIMAL(7, 6))::DECIMAL(38, 6)",
        "Millions of tokens; requests where their tokens are not told.",
    ),
    Column("PricingUnit", _TEXT, "CASE unit WHEN 'Tokens' THEN '1000000 Tokens' ELSE unit END", "What is counted."),
    Column(
        "ProviderName",
        _TEXT,
        f"coalesce(provider, '{_UNKNOWN}')",
        "OpenAI, Microsoft, or the host; Unknown where the settings do not hold the source.",
    ),
    Column("PublisherName", _TEXT, f"coalesce(provider, '{_UNKNOWN}')", "Who provides the source."),
    Column("ServiceCategory", _TEXT, "'AI and Machine Learning'", "Always the same."),
    Column("ServiceName", _TEXT, f"coalesce(service, '{_UNKNOWN}')", "OpenAI API, Azure OpenAI, or the host."),
    Column("ServiceSubcategory", _TEXT, "'Generative AI'", "Always the same."),
    Column("SkuId", _TEXT, "coalesce(line_item, model)", "The model as the API names it; the line item of a bill."),
    Column("SkuMeter", _TEXT, "CASE WHEN coalesce(line_item, model) IS NOT NULL THEN meter END", "What is counted."),
    Column(
        "SkuPriceDetails",
        _TEXT,
        f"""CASE WHEN {_IS_PRICED} THEN (CASE WHEN above_tokens > 0
            THEN json_object({_DETAILS}, 'x_AbovePromptTokens', above_tokens::VARCHAR)
            ELSE json_object({_DETAILS}) END)::VARCHAR END""",
        "What the price depends on, as JSON; null where there is none.",
    ),
    Column(
        "SkuPriceId",
        _TEXT,
        f"""CASE WHEN {_IS_PRICED} THEN
            model || '/' || token_class || '/' || billed_tier || {_THRESHOLD} || '/' || price_set END""",
        "Model, class of tokens, tier and price set; null where there is no price.",
    ),
    Column(
        "SubAccountId", _TEXT, "coalesce(project, sub_account, source)", "The project; the source where none is set"
    ),
    Column("SubAccountName", _TEXT, "coalesce(project, sub_account, source)", "The same."),
    Column("Tags", _TEXT, "tags", "The metadata that the settings allow, as JSON; {} where there are none."),
    Column("x_ConsumedTokens", _TOKENS, "tokens", "Tokens; null where they are not told."),
    Column("x_CostBasis", _TEXT, "basis", "What the costs rest on; 'unpriced' and why; 'bill' in rows of the bill."),
    Column("x_CostMin", _COST, "cost_min", "The least that EffectiveCost can be; null where there is no price."),
    Column("x_PriceSet", _TEXT, "price_set", "The table of prices; 'own' is the settings' own."),
    Column("x_Requests", _COUNT, "requests", "Requests with tokens of the class: they do not add up over classes."),
    Column("x_ServiceTier", _TEXT, "service_tier", "The tier as served; SkuPriceDetails holds that of the price."),
    Column("x_Source", _TEXT, "source", "The source in the settings."),
    Column("x_TokenType", _TEXT, "token_class", "The class of tokens, as in cost_daily."),
)
_RATES = tuple(f"{name}_{kind}" for name in CLASSES for kind in ("rate", "list_rate"))
#: What all tokens of a row have in common.
_SAME = (
    *("day", "source", "model", "service_tier", "billed_tier", "tags", "basis", "price_set", "priced_as"),
    "above_tokens",
)


def schema() -> pa.Schema:
    """Return all columns, each with its meaning, and the version of FOCUS that they follow."""
    return pa.schema([column.field for column in COLUMNS], metadata={"FocusVersion": VERSION})


def statement(period: Period, accounts: Iterable[Account], tags: Sequence[str], bill: str = NO_BILL) -> str:
    """Return the query of a month's rows, in an order of their own; only metadata of the keys ``tags`` are told."""
    month = f"TIMESTAMP '{period.since}' AS billing_period_start, TIMESTAMP '{period.until}' AS billing_period_end"
    return f"""
        WITH sums AS ({_sums(period, tags)}
        ), lines AS (
            SELECT {", ".join(_SAME)}, unnest([{", ".join([*map(_line, CLASSES), _UNTOLD])}]) AS line FROM sums
        ), estimates AS (
            SELECT {", ".join(_SAME)}, line.* FROM lines WHERE line.requests > 0
        ), billed AS ({bill_rows(bill)}
        ), told AS (
            SELECT *, 0::{MONEY} AS billed, NULL::VARCHAR AS project, NULL::VARCHAR AS line_item,
                tokens * list_rate AS list_cost
            FROM estimates
            UNION ALL BY NAME SELECT * FROM billed
        ), accounts AS ({_accounts(accounts)}
        )
        SELECT {", ".join(f"{column.sql} AS {column.name}" for column in COLUMNS)}
        FROM (SELECT *, {month} FROM told LEFT JOIN accounts USING (source))
        ORDER BY {", ".join(_SAME)}, place, rate, list_rate, project, line_item
    """


def bill_rows(bill: str) -> str:
    """Return the rows that a bill adds: one per day, source, project and line item, BilledCost its amount.

    Until `pipeline reconcile` hands in what the organization was billed, there is no bill (``NO_BILL``), hence no such
    row, and BilledCost is 0 throughout. A bill is a query with the columns of ``BILL``. Its rows stand beside the
    estimates instead of being spread over them, since that would be one more estimate; so they carry no estimate and
    no quantity, and each column of costs adds up to what it says it is. They are Usage without a ChargeClass: a
    Correction corrects a month that was invoiced before.
    """
    return f"""
        SELECT day, source, project, line_item, amount::{MONEY} AS billed, '{{}}' AS tags, 'bill' AS basis,
            'Tokens' AS unit, 0::DECIMAL(38, 0) AS quantity, 'Billed amount' AS meter
        FROM ({bill})
    """


def _sums(period: Period, tags: Sequence[str]) -> str:
    """Sum what has all in common that tells rows apart; tokens without a price count as plain input and output."""
    used = ", ".join(f"{_used(name)} AS {name}_used" for name in CLASSES)
    sums = ", ".join(
        f"sum({name}_used)::DECIMAL(38, 0) AS {name}_tokens, count(*) FILTER ({name}_used <> 0) AS {name}_requests, "
        f"sum({name}_cost)::{MONEY} AS {name}_cost"
        for name in CLASSES
    )
    return f"""
        SELECT {", ".join(_SAME)}, {", ".join(_RATES)}, sum(cost - cost_min) AS spread,
            count(*) FILTER (is_unpriced AND is_untold) AS untold_requests, {sums}
        FROM (
            SELECT * EXCLUDE ({", ".join(_RATES)}), created_date AS day, {_json(tags)} AS tags,
                unpriced_because IS NOT NULL AS is_unpriced, {used},
                prompt_tokens IS NULL OR completion_tokens IS NULL
                    OR (prompt_tokens = 0 AND completion_tokens = 0) AS is_untold,
                {", ".join(f"CASE WHEN NOT is_unpriced THEN {rate} END AS {rate}" for rate in _RATES)}
            FROM cost_by_completion WHERE {period.condition()}
        ) GROUP BY ALL
    """


def _used(name: str) -> str:
    told = {"input": "prompt_tokens", "output": "completion_tokens"}.get(name)
    return f"CASE WHEN is_unpriced THEN {told} ELSE {name}_tokens END" if told else f"{name}_tokens"


def _json(tags: Sequence[str]) -> str:
    """Write the metadata of some keys as a JSON object, in the order of the keys; no other is read."""
    pairs = [
        f"CASE WHEN metadata[{text(tag)}] IS NOT NULL "
        f"THEN to_json({text(tag)}) || ':' || to_json(metadata[{text(tag)}]) END"
        for tag in dict.fromkeys(tags)
    ]
    return f"'{{' || concat_ws(',', {', '.join(pairs)}) || '}}'" if pairs else "'{}'"


def _line(name: str) -> str:
    """Return one class of tokens of a sum; the bounds of a cost lie apart by its input."""
    least = f"{name}_cost - coalesce(spread, 0::{MONEY})" if name == "input" else f"{name}_cost"
    return _struct(
        name,
        meter=text(METERS[name]),
        unit="'Tokens'",
        quantity=f"{name}_tokens",
        tokens=f"{name}_tokens",
        requests=f"{name}_requests",
        cost=f"{name}_cost",
        cost_min=least,
        rate=f"{name}_rate",
        list_rate=f"{name}_list_rate",
    )


#: The type of each part of a line: those of all lines must agree.
_PARTS = {
    "token_class": "VARCHAR",
    "place": "INTEGER",
    "meter": "VARCHAR",
    "unit": "VARCHAR",
    "quantity": "DECIMAL(38, 0)",
    "tokens": "DECIMAL(38, 0)",
    "requests": "BIGINT",
    "cost": MONEY,
    "cost_min": MONEY,
    "rate": MONEY,
    "list_rate": MONEY,
}


def _struct(name: str | None, **parts: str) -> str:
    place = list(CLASSES).index(name) if name else len(CLASSES)
    told = {"token_class": text(name), "place": str(place), **parts}
    return "{" + ", ".join(f"'{part}': ({told.get(part, 'NULL')})::{kind}" for part, kind in _PARTS.items()) + "}"


#: What has no price and tells no tokens is counted by its requests.
_UNTOLD = _struct(None, meter="'Requests'", unit="'Requests'", quantity="untold_requests", requests="untold_requests")


def _accounts(accounts: Iterable[Account]) -> str:
    rows = [
        f"({', '.join(map(text, (one.source, one.provider, one.service, one.billing_account, one.sub_account)))})"
        for one in accounts
    ] or [f"({', '.join(['NULL::VARCHAR'] * 5)})"]
    names = "source, provider, service, billing_account, sub_account"
    return f"SELECT * FROM (VALUES {', '.join(rows)}) AS known({names})"
