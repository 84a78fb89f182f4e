"""Believable stored completions: the same arguments make the same bytes."""

from __future__ import annotations

import random
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pipeline.sandbox.create import choice, random_id, random_seed, stored_row, usage
from pipeline.sandbox.scenes import FOLLOW_UPS, IMAGE, MODELS, REFUSALS, SCENES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sandbox.scenes import Model, Scene
    from pipeline.sandbox.store import Store

HOUR, DAY = 3600, 86_400
LARGEST_GROUP = 12
IMAGE_TOKENS, TOOL_TOKENS = 85, 40
_BURST, _LATE, _IMAGE, _MULTI_TURN, _MANY_CHOICES = 0.02, 0.01, 0.015, 0.2, 0.02
_TOOL_CALLS, _REFUSED, _CUT_OFF, _DETAILS, _BARE_METADATA = 0.6, 0.006, 0.02, 0.15, 0.06
#: Relative traffic by hour of the day (UTC) and by day of the week, Monday first.
_HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 13, 16, 17, 16, 14, 16, 17, 16, 14, 11, 8, 6, 5, 4, 3, 2)
_WEEKDAYS = (10, 11, 11, 10, 9, 3, 2)
_FIRST_MONDAY = 4 * DAY  # 1970-01-05
_SCENE_WEIGHTS = list(accumulate(scene.share for scene in SCENES))
_MODEL_WEIGHTS = list(accumulate(model.share for model in MODELS))


def month(store: Store, *, completions: int = 5000, days: float = 30, until: float | None = None, seed: int = 0) -> int:
    """Add completions of the ``days`` before ``until``, by default the store's now, and return how many.

    Some become visible minutes or hours after ``created``; those whose time lies beyond the store's now are
    listed only when its clock gets there.
    """
    end = store.clock() if until is None else until
    rng = random.Random(f"month {seed}")
    for created in _moments(rng, completions, int(end - days * DAY), int(end)):
        _add(store, rng, created, _visible_at(rng, created))
    return completions


def later(store: Store, *, completions: int = 300, late: int = 12, days: float = 1, seed: int = 1) -> int:
    """Add the ``days`` before the store's now, and ``late`` rows created up to two hours before them.

    Advance the store's clock by ``days`` first. All are visible at once, the late ones as if they had just come.
    """
    end = int(store.clock())
    start = int(end - days * DAY)
    rng = random.Random(f"later {seed}")
    moments = [rng.randint(start - 2 * HOUR, start) for _ in range(late)]
    moments += _moments(rng, completions - late, start + 1, end)
    for created in moments:
        _add(store, rng, created, end)
    return completions


def _moments(rng: random.Random, completions: int, start: int, end: int) -> Iterator[int]:
    """Yield the seconds of ``completions`` rows, those of one group in a row."""
    hours = range(start, end, HOUR)
    weights = list(accumulate(_traffic(hour) for hour in hours))
    for size in _groups(rng, completions):
        hour = rng.choices(hours, cum_weights=weights)[0]
        yield from [rng.randrange(hour, min(hour + HOUR, end))] * size


def _groups(rng: random.Random, completions: int) -> Iterator[int]:
    """Yield how many rows share a second until all are placed: mostly one."""
    while completions > 0:
        size = min(completions, rng.randint(2, LARGEST_GROUP) if rng.random() < _BURST else 1)
        yield size
        completions -= size


def _traffic(second: int) -> int:
    weekday = (second - _FIRST_MONDAY) // DAY % 7
    return _HOURS[second // HOUR % 24] * _WEEKDAYS[weekday]


def _visible_at(rng: random.Random, created: int) -> float:
    """Add generation and lag as recorded; for a few, minutes up to two hours."""
    if rng.random() < _LATE:
        return created + rng.uniform(5 * 60, 2 * HOUR)
    return created + rng.uniform(2, 24) + rng.uniform(1, 6)


def _add(store: Store, rng: random.Random, created: int, visible_at: float) -> None:
    """Make one completion with its input messages."""
    scene = rng.choices(SCENES, cum_weights=_SCENE_WEIGHTS)[0]
    model = rng.choices(MODELS, cum_weights=_MODEL_WEIGHTS)[0]
    messages, images = _messages(rng, scene)
    choices = _choices(rng, scene)
    tier = rng.choice(("flex", "priority")) if rng.random() < _CUT_OFF else "default"
    body = stored_row(
        id=random_id(rng),
        model=model.name,
        created=created,
        request_id=f"req_{rng.getrandbits(128):032x}",
        usage=_usage(rng, model, _prompt_tokens(scene, messages, images), sum(_answer_tokens(one) for one in choices)),
        seed=random_seed(rng),
        system_fingerprint=model.fingerprint,
        service_tier=tier,
        tools=list(scene.tools) or None,
        metadata=_metadata(rng, scene),
        choices=choices,
        response_format=scene.response_format,
    )
    if model.reasons:
        body.update(top_p=None, temperature=None, presence_penalty=None, frequency_penalty=None)
    store.add(body, visible_at=visible_at, messages=messages)


def _messages(rng: random.Random, scene: Scene) -> tuple[list[dict[str, Any]], int]:
    """Return the request's messages and how many images they hold."""
    question: Any = rng.choice(scene.questions)
    images = int(rng.random() < _IMAGE)
    if images:
        question = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": IMAGE}}]
    messages = [{"role": "system", "content": scene.system}, {"role": "user", "content": question}]
    while rng.random() < _MULTI_TURN:
        messages.append({"role": "assistant", "content": rng.choice(scene.answers)})
        messages.append({"role": "user", "content": rng.choice(FOLLOW_UPS)})
    return messages, images


def _choices(rng: random.Random, scene: Scene) -> list[dict[str, Any]]:
    """Return one choice, rarely several."""
    wanted = rng.randint(2, 4) if rng.random() < _MANY_CHOICES else 1
    return [_choice(rng, scene, index) for index in range(wanted)]


def _choice(rng: random.Random, scene: Scene, index: int) -> dict[str, Any]:
    """Answer in text, by tool calls, or with a refusal."""
    if scene.tools and rng.random() < _TOOL_CALLS:
        return choice(index, None, "tool_calls", tool_calls=[_tool_call(rng, scene) for _ in range(rng.randint(1, 3))])
    if rng.random() < _REFUSED:
        return choice(index, None, refusal=rng.choice(REFUSALS))
    if scene.response_format:
        return choice(index, rng.choice(scene.answers))
    text = " ".join(rng.choices(scene.answers, k=rng.randint(5, 22)))
    if rng.random() < _CUT_OFF:
        return choice(index, text[: len(text) * 2 // 3], "length")
    return choice(index, text)


def _tool_call(rng: random.Random, scene: Scene) -> dict[str, Any]:
    tool, arguments = rng.choice(scene.tools), rng.choice(scene.arguments)
    function = {"name": tool["function"]["name"], "arguments": arguments}
    return {"id": f"call_{rng.getrandbits(96):024x}", "type": "function", "function": function}


def _metadata(rng: random.Random, scene: Scene) -> dict[str, str]:
    """Return the labels of a request; some callers set none."""
    if rng.random() < _BARE_METADATA:
        return {}
    environment = "production" if rng.random() < 0.85 else rng.choice(("staging", "development"))  # noqa: PLR2004
    labels = {"team": scene.team, "feature": scene.feature, "environment": environment}
    if scene.team == "support":
        labels["customer"] = f"c-{rng.randrange(400):04d}"
    return labels


def _usage(rng: random.Random, model: Model, prompt: int, answered: int) -> dict[str, Any]:
    """Return bare counters like the recordings, or with details as other accounts see them."""
    reasoning = 64 * rng.randint(1, 24) if model.reasons else 0
    if rng.random() >= _DETAILS:
        return usage(prompt, answered + reasoning)
    cached = prompt // 2 if rng.random() < 0.5 else 0  # noqa: PLR2004
    return usage(
        prompt,
        answered + reasoning,
        prompt_tokens_details={"cached_tokens": cached, "audio_tokens": 0},
        completion_tokens_details={
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    )


def _prompt_tokens(scene: Scene, messages: list[dict[str, Any]], images: int) -> int:
    """Count the request: texts with the few tokens that frame each, tools, images."""
    contents = (message["content"] for message in messages)
    texts = (content if isinstance(content, str) else content[0]["text"] for content in contents)
    return sum(4 + _tokens(text) for text in texts) + TOOL_TOKENS * len(scene.tools) + IMAGE_TOKENS * images


def _answer_tokens(one: dict[str, Any]) -> int:
    """Count a choice: its text and its tool calls."""
    message = one["message"]
    calls = message["tool_calls"] or ()
    text = message["content"] or message.get("refusal") or ""
    return 1 + len(text.encode()) // 4 + sum(8 + _tokens(call["function"]["arguments"]) for call in calls)


@lru_cache(maxsize=256)
def _tokens(text: str) -> int:
    """Guess: a token for every four bytes, which suits Latin and CJK scripts alike."""
    return 1 + len(text.encode()) // 4
