"""What the generated completions are about: features of an imaginary product, with its prompts and answers."""
# ruff: noqa: RUF001 - text of many languages is meant

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Model:
    """A model and how it shows in stored rows."""

    name: str
    share: int
    """Weight among all completions."""
    fingerprint: str | None
    reasons: bool = False
    """Whether it thinks first: hidden tokens are counted, and sampling parameters are null."""


MODELS = (
    Model("gpt-4o-mini-2024-07-18", 34, "fp_560af6e559"),
    Model("gpt-4.1-mini-2025-04-14", 20, "fp_6f2eabb9a5"),
    Model("gpt-4.1-2025-04-14", 16, "fp_50cad350e4"),
    Model("gpt-5-mini-2025-08-07", 12, None, reasons=True),
    Model("gpt-4o-2024-08-06", 9, "fp_cbf1785567"),
    Model("gpt-5-2025-08-07", 6, None, reasons=True),
    Model("o4-mini-2025-04-16", 2, None, reasons=True),
    Model("ft:gpt-4o-mini-2024-07-18:sandbox:intents:9xY2ab", 1, "fp_9b78b61c52"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One feature that asks the model for something."""

    feature: str
    team: str
    share: int
    system: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    """Sentences; an answer is a handful of them."""
    tools: tuple[dict[str, Any], ...] = ()
    arguments: tuple[str, ...] = ()
    """JSON text, as a model writes it."""
    response_format: dict[str, Any] | None = None


def _tool(name: str, description: str, *required: str) -> dict[str, Any]:
    properties = {key: {"type": "string"} for key in required}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


SCENES = (
    Scene(
        "help-centre",
        "support",
        30,
        "You answer customers of a bicycle shop. Be brief, kind and exact; say so if you do not know.",
        (
            "My order has not arrived and the tracking page says nothing since Tuesday. What can I do?",
            "Can I return a helmet that I wore once, if the box is gone?",
            "Which tyres fit a 28 inch touring rim, and do I need new tubes with them?",
            "¿Puedo cambiar la dirección de entrega si el pedido ya salió del almacén?",
            "注文した自転車の保証期間はどのくらいですか？修理は無料ですか？",
            "Ich habe zwei Rechnungen für dieselbe Bestellung bekommen. Welche soll ich bezahlen? 🤔",
        ),
        (
            "I am sorry about the wait; your parcel left our warehouse on Monday and is with the carrier now.",
            "If it has not moved for three working days, we open a search with the carrier for you.",
            "You can return anything within thirty days, even without its box, as long as it can be sold again.",
            "Refunds reach the card that you paid with after three to five working days.",
            "A 28 inch touring rim takes tyres from 32 to 47 millimetres; tubes of the same range can stay.",
            "Please keep the receipt: it is also your proof for the two years of guarantee.",
            "Sí, todavía puede cambiar la dirección: responda a este mensaje con la nueva y avisamos al transportista.",
            "保証期間は2年間で、通常の使用による故障であれば修理は無料です。",
            "Bezahlen Sie bitte nur die Rechnung mit der höheren Nummer; die andere wurde storniert.",
            "Is there anything else that I can look up for you? 🚲",
        ),
    ),
    Scene(
        "order-assistant",
        "support",
        18,
        "You look up and change orders with the tools you have. Never guess an order number.",
        (
            "Where is order 48213?",
            "Please cancel the second bell of order 50117, I only need one.",
            "What is the weather like in Utrecht tomorrow? I would like to ride home.",
        ),
        (
            "Order 48213 left the warehouse this morning and should be with you on Thursday.",
            "I have taken the second bell off the order; the refund is on its way.",
            "Tomorrow will be dry with a light wind from the west, so the ride home should be pleasant.",
            "The parcel is at the depot nearest to you and goes out with the next van.",
        ),
        tools=(
            _tool("find_order", "Look up one order by its number.", "order_number"),
            _tool("cancel_line", "Cancel one line of an order.", "order_number", "line"),
            _tool("weather", "Tell the weather at a place.", "place", "day"),
        ),
        arguments=(
            '{"order_number":"48213"}',
            '{"order_number":"50117","line":"2"}',
            '{"place":"Utrecht","day":"tomorrow"}',
            '{"place": "Köln",\n "day": "today"}',
        ),
    ),
    Scene(
        "invoice-reader",
        "finance",
        16,
        "Read the invoice and fill in the fields of the schema. Leave out what is not there.",
        (
            "Invoice 2025-0913 of Spoke & Chain Ltd: 14 wheels at 39.90, 2 frames at 410.00, payable within 30 days.",
            "Rechnung Nr. 77-1 der Kettenwerk GmbH über 1.204,00 EUR, zahlbar bis zum Monatsende.",
            "Facture n° F-3308, Cycles Béranger: selles 6 × 24,50 €, port 12,00 €.",
        ),
        (
            '{"supplier":"Spoke & Chain Ltd","number":"2025-0913","currency":"EUR","total":1378.6,"lines":2}',
            '{"supplier":"Kettenwerk GmbH","number":"77-1","currency":"EUR","total":1204.0,"lines":1}',
            '{"supplier":"Cycles Béranger","number":"F-3308","currency":"EUR","total":159.0,"lines":2}',
        ),
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "invoice",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {
                        "supplier": {"type": "string"},
                        "number": {"type": "string"},
                        "currency": {"type": "string"},
                        "total": {"type": "number"},
                        "lines": {"type": "integer"},
                    },
                    "required": ["supplier", "number", "currency", "total", "lines"],
                    "additionalProperties": False,
                },
            },
        },
    ),
    Scene(
        "search-summary",
        "search",
        22,
        "Summarise the search results for the reader. Cite nothing that is not in them.",
        (
            "Summarise: long-distance cycling routes along rivers, with trains back.",
            "Summarise: how often a chain should be oiled, by weather and distance.",
            "Summarise: differences between belt and chain drives for commuters.",
        ),
        (
            "Most guides agree that the river routes are flat, well signed and easy to leave by train every few hours.",
            "The stretch below the third lock is gravel; after rain, tyres under 35 millimetres are no fun there.",
            "A chain wants oil every 200 to 300 kilometres, and after each ride in heavy rain.",
            "Too much oil collects dust, so wipe off whatever does not go into the links.",
            "Belts are quiet, clean and last about three times as long, but need a frame that can be opened.",
            "Chains are cheaper, repairable on the road and a little more efficient when clean.",
            "Two sources disagree about winter: one sees salt as the greater enemy, the other sand.",
            "For a daily ride of ten kilometres the difference in cost evens out after roughly four years.",
        ),
    ),
    Scene(
        "code-review",
        "platform",
        14,
        "You review pull requests. Point out bugs first, then unclear names, then nothing.",
        (
            "def total(rows):\n    return sum(r['amount'] for r in rows if r['amount'])\n\nIs zero a problem here?",
            "SELECT day, count(*) FROM rides GROUP BY 1 ORDER BY 2 -- why is the order of days wrong?",
            "Why does `for i in range(len(items)): del items[i]` fail half way?",
        ),
        (
            "Zero is falsy, so those rows are dropped; the sum is the same, but a count taken here would be wrong.",
            "`ORDER BY 2` sorts by the count; write `ORDER BY day`, which also survives a change of the columns.",
            "The list shrinks while the range does not:\n\n```python\nitems.clear()\n```\n\nsays what is meant.",
            "The name `rows` hides that these are payments; `payments` would make the condition read by itself.",
            "Consider a test with an empty list, one with a refund, and one where the key is missing.",
            "Otherwise this reads well. \u2713",
        ),
    ),
)

REFUSALS = ("I'm sorry, but I can't help with that.", "I can't assist with this request.")
FOLLOW_UPS = ("Thank you! And if I am not at home?", "Could you say that in one sentence?", "Are you sure?", "Merci 🙏")
#: A picture of one dot: images in messages are stored as data URIs.
IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA"
    "60e6kgAAAABJRU5ErkJggg=="
)
