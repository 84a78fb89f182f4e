"""How each recipe's answer is drawn, as Altair code that its reader may change; in the order of the notebook; pure.

The name of a recipe is that of its rows. Types are said rather than guessed, so that no rows are drawn as well. Texts
out of the data become labels of a chart, never markup.
"""

#: By recipe; an empty one is a table and nothing else.
CHARTS: dict[str, str] = {
    "freshness": "",
    "tokens_by_day": """\
_days = alt.Chart(tokens_by_day, width=640, height=200).transform_joinaggregate(
    of_model="sum(total_tokens)", groupby=["model"]
).encode(
    x=alt.X("yearmonthdate(day):T", title=None, axis=alt.Axis(format="%-d %b")),
    color=alt.Color(
        "model:N", title="Model, most tokens first", sort=alt.EncodingSortField("of_model", order="descending")
    ),
    order=alt.Order("of_model:Q", sort="descending"),
    tooltip=[
        alt.Tooltip("day:T", title="Day"),
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("requests:Q", title="Requests", format=","),
        alt.Tooltip("total_tokens:Q", title="Tokens", format=","),
        alt.Tooltip("cost_min:Q", title="Cost, at least", format="$,.4f"),
        alt.Tooltip("cost:Q", title="Cost, at most", format="$,.4f"),
    ],
)
alt.vconcat(
    _days.mark_bar()
    .encode(y=alt.Y("total_tokens:Q", title="Tokens", axis=alt.Axis(format="~s")))
    .properties(title="Tokens by day and model (UTC)"),
    _days.mark_bar()
    .encode(y=alt.Y("cost:Q", title="US dollars", axis=alt.Axis(format="$,~f")))
    .properties(title="Cost by day and model, at most (UTC)"),
)""",
    "by_metadata": """\
_values = alt.Chart(by_metadata, width=640).encode(
    y=alt.Y("value:N", title=None, sort=alt.EncodingSortField("cost", order="descending")),
    tooltip=[
        alt.Tooltip("key:N", title="Key"),
        alt.Tooltip("value:N", title="Value"),
        alt.Tooltip("requests:Q", title="Requests", format=","),
        alt.Tooltip("cost_min:Q", title="Cost, at least", format="$,.4f"),
        alt.Tooltip("cost:Q", title="Cost, at most", format="$,.4f"),
    ],
)
alt.layer(
    _values.mark_bar(opacity=0.35).encode(x=alt.X("cost:Q", title="US dollars", axis=alt.Axis(format="$,~f"))),
    _values.mark_bar().encode(x="cost_min:Q"),
    title=alt.Title("Cost by value of the key", subtitle="solid: at least, light: at most"),
)""",
    "most_expensive": "",
    "cached_share": """\
_told = alt.Chart(cached_share, width=640).transform_filter("datum.requests_that_tell > 0")
_sums = {"cached": "sum(cached_tokens)", "prompt": "sum(prompt_tokens)", "told": "sum(requests_that_tell)"}
_tooltip = [
    alt.Tooltip("share:Q", title="Cached share", format=".1%"),
    alt.Tooltip("prompt:Q", title="Prompt tokens", format=","),
    alt.Tooltip("told:Q", title="Requests that tell it", format=","),
]
alt.vconcat(
    _told.transform_aggregate(**_sums, groupby=["day"])
    .transform_calculate(share="datum.cached / datum.prompt")
    .mark_line(point=True)
    .encode(
        x=alt.X("yearmonthdate(day):T", title=None, axis=alt.Axis(format="%-d %b")),
        y=alt.Y("share:Q", title="Share of prompt tokens", axis=alt.Axis(format=".0%")),
        tooltip=[alt.Tooltip("day:T", title="Day"), *_tooltip],
    )
    .properties(
        height=200,
        title=alt.Title("Prompt tokens read from the cache, by day (UTC)", subtitle="where the completion tells it"),
    ),
    _told.transform_aggregate(**_sums, groupby=["model"])
    .transform_calculate(share="datum.cached / datum.prompt")
    .mark_bar()
    .encode(
        x=alt.X("share:Q", title="Share of prompt tokens", axis=alt.Axis(format=".0%")),
        y=alt.Y("model:N", title=None, sort=alt.EncodingSortField("share", order="descending")),
        tooltip=[alt.Tooltip("model:N", title="Model"), *_tooltip],
    )
    .properties(title="The same by model"),
)""",
    "prompts_by_length": """\
alt.Chart(prompts_by_length, title="Requests by tokens of the prompt", width=640).transform_calculate(
    length="format(datum.prompt_tokens_from, ',') + ' to ' + format(datum.prompt_tokens_to, ',')"
).mark_bar().encode(
    x=alt.X("requests:Q", title="Requests", axis=alt.Axis(format=",~f")),
    y=alt.Y("length:N", title=None, sort=alt.EncodingSortField("prompt_tokens_from")),
    tooltip=[
        alt.Tooltip("prompt_tokens_from:Q", title="Prompt tokens, from", format=","),
        alt.Tooltip("prompt_tokens_to:Q", title="to", format=","),
        alt.Tooltip("requests:Q", title="Requests", format=","),
        alt.Tooltip("share_of_requests:Q", title="Share of requests", format=".1%"),
        alt.Tooltip("mean_completion_tokens:Q", title="Completion tokens, mean", format=",.0f"),
    ],
)""",
    "finish_reasons": """\
alt.Chart(finish_reasons, title="How choices ended, by model", width=640).mark_bar().encode(
    x=alt.X("choices:Q", title="Share of choices", stack="normalize", axis=alt.Axis(format="%")),
    y=alt.Y("model:N", title=None, sort=alt.EncodingSortField("choices", op="sum", order="descending")),
    color=alt.Color(
        "finish_reason:N",
        title="Finish reason",
        sort=alt.EncodingSortField("choices", op="sum", order="descending"),
    ),
    order=alt.Order("choices:Q", sort="descending"),
    tooltip=[
        alt.Tooltip("model:N", title="Model"),
        alt.Tooltip("finish_reason:N", title="Finish reason"),
        alt.Tooltip("choices:Q", title="Choices", format=","),
        alt.Tooltip("share_of_model:Q", title="Share of the model", format=".1%"),
    ],
)""",
    "tool_calls": """\
alt.Chart(tool_calls, title="Tool calls, by whether their arguments are JSON", width=640).transform_fold(
    ["valid_json", "invalid_json", "without_arguments"], as_=["arguments", "number"]
).mark_bar().encode(
    x=alt.X("number:Q", title="Calls", axis=alt.Axis(format=",~f")),
    y=alt.Y("tool:N", title=None, sort=alt.EncodingSortField("calls", order="descending")),
    color=alt.Color(
        "arguments:N",
        title="Arguments",
        scale=alt.Scale(
            domain=["valid_json", "invalid_json", "without_arguments"], range=["#4c78a8", "#e45756", "#bab0ac"]
        ),
        legend=alt.Legend(labelExpr="replace(replace(datum.label, '_', ' '), 'json', 'JSON')"),
    ),
    tooltip=[
        alt.Tooltip("tool:N", title="Tool"),
        alt.Tooltip("calls:Q", title="Calls", format=","),
        alt.Tooltip("valid_share:Q", title="Valid JSON", format=".1%"),
        alt.Tooltip("answered:Q", title="Answered", format=","),
    ],
)""",
    "requests_by_hour": """\
alt.Chart(requests_by_hour, title="Requests by day of the week and hour", width=640).mark_rect().encode(
    x=alt.X("hour:O", title="Hour", scale=alt.Scale(domain=list(range(24))), axis=alt.Axis(labelAngle=0)),
    y=alt.Y("name:N", title=None, sort=alt.EncodingSortField("weekday")),
    color=alt.Color("requests:Q", title="Requests", scale=alt.Scale(scheme="blues"), legend=alt.Legend(format=",~f")),
    tooltip=[
        alt.Tooltip("name:N", title="Day"),
        alt.Tooltip("hour:O", title="Hour"),
        alt.Tooltip("requests:Q", title="Requests", format=","),
        alt.Tooltip("total_tokens:Q", title="Tokens", format=","),
    ],
)""",
    "lateness": """\
alt.Chart(lateness, title="How long after its creation a completion was first seen", width=640).mark_bar().encode(
    x=alt.X("completions:Q", title="Completions", axis=alt.Axis(format=",~f")),
    y=alt.Y("lateness:N", title=None, sort=alt.EncodingSortField("step")),
    color=alt.Color("source:N", title="Source"),
    tooltip=[
        alt.Tooltip("source:N", title="Source"),
        alt.Tooltip("lateness:N", title="First seen after"),
        alt.Tooltip("completions:Q", title="Completions", format=","),
        alt.Tooltip("share_of_source:Q", title="Share of the source", format=".1%"),
        alt.Tooltip("largest_hours:Q", title="Hours, at most", format=",.1f"),
    ],
)""",
    "search": "",
}
