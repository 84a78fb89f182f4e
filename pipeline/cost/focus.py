"""A month as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification, as SQL on the snapshot; pure.

    completions ──a month, summed and priced──▶ sums ──by class of tokens──▶ rows ◀── the bill

One row per UTC day, source, model, tier, class of tokens and set of allowed tags; where these were priced at several
rates, or rest on several things, one row for each, so that quantity times unit price is the cost to the last decimal.

- ListCost is the estimate at list prices, ContractedCost and EffectiveCost that after the owner's discounts; all are
  upper bounds like ``cost``, and x_CostMin is the lower one. The owner's own prices are list prices, too.
- BilledCost comes from the bill only, in rows of its own (``_bill``), and is 0 in all others.
- What has no price has no SkuPriceId and no unit prices. FOCUS forbids a cost to be null, so its costs are 0, and
  x_CostBasis says 'unpriced' and why; x_CostMin is null. Its tokens are there; where even these are not told, its
  requests are.
- x_Requests stands on each class of the same completions; rows of the class input, always there, add up to them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa

from pipeline.cost.pricing import CLASSES, MONEY, basis, grouped
from pipeline.cost.rates import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.cost.period import Period
    from pipeline.cost.settings import Cost

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
    Column("InvoiceId", _TEXT, "NULL::VARCHAR", "Always null: the bill is known by its lines, not by its number."),
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
            model || '/' || price_class || '/' || billed_tier || {_THRESHOLD} || '/' || price_set END""",
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
    Column("x_Requests", _COUNT, "requests", "Requests, on each class of theirs: those of class input add up to all."),
    Column("x_ServiceTier", _TEXT, "service_tier", "The tier as served; SkuPriceDetails holds that of the price."),
    Column("x_Source", _TEXT, "source", "The source in the settings."),
    Column("x_TokenType", _TEXT, "token_class", "The class of tokens, as in cost_daily."),
)
#: What all tokens of a row have in common, besides their rates.
_SAME = (
    "day",
    "source",
    "model",
    "service_tier",
    "billed_tier",
    "tags",
    "basis",
    "price_set",
    "priced_as",
    "above_tokens",
)
_RATES = ("rate", "list_rate")
_TOKENS_OF = {"input": "prompt_tokens", "output": "completion_tokens"}
#: The type of each part of a line: those of all lines must agree.
_PARTS = {
    "token_class": "VARCHAR",
    "price_class": "VARCHAR",
    "place": "INTEGER",
    "meter": "VARCHAR",
    "unit": "VARCHAR",
    "quantity": "DECIMAL(38, 0)",
    "tokens": "DECIMAL(38, 0)",
    "cost": MONEY,
    "cost_min": MONEY,
    "rate": MONEY,
    "list_rate": MONEY,
}


def schema() -> pa.Schema:
    """Return all columns, each with its meaning, and the version of FOCUS that they follow."""
    return pa.schema([column.field for column in COLUMNS], metadata={"FocusVersion": VERSION})


def statement(period: Period, accounts: Iterable[Account], cost: Cost, price_set: str | None = None) -> str:
    """Return the query of a month's rows, in an order of their own, of the newest price set or of the one named.

    Only metadata that the settings allow are told.
    """
    month = f"TIMESTAMP '{period.since}' AS billing_period_start, TIMESTAMP '{period.until}' AS billing_period_end"
    return f"""
        WITH sums AS ({_sums(period, cost, price_set)}
        ), lines AS (
            SELECT {", ".join(_SAME)}, requests, unnest([{", ".join(map(_line, CLASSES))}]) AS line FROM sums
        ), told AS (
            SELECT {", ".join(_SAME)}, requests, line.*, line.tokens * line.list_rate AS list_cost,
                0::{MONEY} AS billed, NULL::VARCHAR AS project, NULL::VARCHAR AS line_item
            FROM lines WHERE line.tokens <> 0 OR line.token_class = 'input'
            UNION ALL BY NAME ({_bill(period)})
        ), accounts AS ({_accounts(accounts)}
        )
        SELECT {", ".join(f"{column.sql} AS {column.name}" for column in COLUMNS)}
        FROM (SELECT *, {month} FROM told LEFT JOIN accounts USING (source))
        ORDER BY {", ".join(_SAME)}, place, rate, list_rate, project, line_item
    """


def _bill(period: Period) -> str:
    """Return the rows that the bill adds: one per day, source, project and line item, BilledCost its amount.

    The bill is what `pipeline reconcile` fetched into ``organization_costs``; before it did, there is no such row, and
    BilledCost is 0 throughout. These rows stand beside the estimates instead of being spread over them, which would be
    one more estimate; so they carry no estimate and no quantity, and each column of costs adds up to what it says it
    is. They are Usage without a ChargeClass: a Correction corrects a month that was invoiced before.
    """
    return f"""
        SELECT created_date AS day, source, project_id AS project, coalesce(line_item, 'not told by line') AS line_item,
            sum(amount)::{MONEY} AS billed, '{{}}' AS tags, 'bill' AS basis, 'Billed amount' AS meter, 'Tokens' AS unit,
            0::DECIMAL(38, 0) AS quantity
        FROM organization_costs
        WHERE amount IS NOT NULL AND lower(coalesce(currency, 'usd')) = 'usd' AND {period.condition()}
        GROUP BY ALL
    """


def _sums(period: Period, cost: Cost, price_set: str | None) -> str:
    """Sum what has all in common that tells rows apart."""
    keys = {"tags": _json(cost.tags), "is_prompt_told": "prompt_tokens IS NOT NULL"}
    named = {"day": "created_date AS day", "basis": f"{basis()} AS basis"}
    rates = ", ".join(
        f"CASE WHEN is_priced AND used_{name}_list_rate IS NOT NULL THEN used_{name}_{kind} END AS {name}_{kind}"
        for name in CLASSES
        for kind in _RATES
    )
    sums = ", ".join(
        f"sum({_counted(name)})::DECIMAL(38, 0) AS sum_{name}_tokens, sum({name}_cost)::{MONEY} AS sum_{name}_cost"
        for name in CLASSES
    )
    return f"""
        SELECT {", ".join(named.get(name, name) for name in _SAME)}, is_prompt_told,
            is_cached_share_estimated, {rates}, sum(requests)::BIGINT AS requests,
            sum(cost - cost_min)::{MONEY} AS spread, {sums}
        FROM ({grouped(cost, keys, where=period.condition(), price_set=price_set)}) GROUP BY ALL
    """


def _counted(name: str) -> str:
    """Return the tokens of a class; what has no price counts as plain input and output."""
    plain = _TOKENS_OF.get(name)
    return f"CASE WHEN is_priced THEN {name}_tokens ELSE {plain} END" if plain else f"{name}_tokens"


def _json(tags: Iterable[str]) -> str:
    """Write the metadata of some keys as a JSON object, in the order of the keys; no other is read."""
    pairs = [
        f"CASE WHEN metadata[{text(tag)}] IS NOT NULL "
        f"THEN to_json({text(tag)}) || ':' || to_json(metadata[{text(tag)}]) END"
        for tag in dict.fromkeys(tags)
    ]
    return f"'{{' || concat_ws(',', {', '.join(pairs)}) || '}}'" if pairs else "'{}'"


def _line(name: str) -> str:
    """Return one class of tokens of a sum: the bounds of a cost lie apart by its input.

    Input with the cached share of others has a rate between two. Where no tokens are told, input counts requests.
    """
    tokens, cost = f"sum_{name}_tokens", f"sum_{name}_cost"
    parts = {
        "token_class": text(name),
        "price_class": text(name),
        "place": str(list(CLASSES).index(name)),
        "meter": text(METERS[name]),
        "unit": "'Tokens'",
        "quantity": tokens,
        "tokens": tokens,
        "cost": cost,
        "cost_min": cost,
        "rate": f"{name}_rate",
        "list_rate": f"{name}_list_rate",
    }
    if name == "input":
        parts["price_class"] = "CASE WHEN is_cached_share_estimated THEN 'input+cached_input' ELSE 'input' END"
        parts["meter"] = f"CASE WHEN is_prompt_told THEN {parts['meter']} ELSE 'Requests' END"
        parts["unit"] = "CASE WHEN is_prompt_told THEN 'Tokens' ELSE 'Requests' END"
        parts["quantity"] = f"CASE WHEN is_prompt_told THEN {tokens} ELSE requests END"
        parts["cost_min"] = f"{cost} - spread"
    return "{" + ", ".join(f"'{part}': ({parts[part]})::{kind}" for part, kind in _PARTS.items()) + "}"


def _accounts(accounts: Iterable[Account]) -> str:
    rows = [
        f"({', '.join(map(text, (one.source, one.provider, one.service, one.billing_account, one.sub_account)))})"
        for one in accounts
    ] or [f"({', '.join(['NULL::VARCHAR'] * 5)})"]
    names = "source, provider, service, billing_account, sub_account"
    return f"SELECT * FROM (VALUES {', '.join(rows)}) AS known({names})"
