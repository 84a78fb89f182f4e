"""What a completion costs is what genai-prices says it costs, and where it is not, it is on purpose."""

from __future__ import annotations

import pytest

from pipeline.cost.settings import Cost

from . import grid
from .warehouse import completion, warehouse

#: Prices are the same, and ours says what they rest on.
FLAGGED = {grid.TIER_UNKNOWN, grid.TIER_WITHOUT_RATE, grid.TIER_BEFORE_CHANGE}
#: Ours is another price, or none, on purpose.
STRICTER = {
    grid.AUDIO_WITHOUT_RATE: "no rate for audio",
    grid.BAD_USAGE: "usage inconsistent",
    grid.OUTPUT_WITHOUT_RATE: "no rate for text",
}
PRICED_BY_US = {grid.DATED_NAME, grid.NOT_IN_GENAI, grid.CACHED_AUDIO}
BATCH = {"queue": "batch"}


def row(number, case):
    return completion(
        number,
        day=case.created,
        model=case.model,
        service_tier=case.service_tier,
        metadata=list(BATCH.items()) if case.is_batch else [],
        prompt_tokens=case.prompt_tokens,
        completion_tokens=case.completion_tokens,
        prompt_cached_tokens=case.cached_tokens,
        prompt_cache_write_tokens=case.cache_write,
        prompt_audio_tokens=case.audio_in,
        completion_audio_tokens=case.audio_out,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("every", [97, pytest.param(1, marks=pytest.mark.slow)])
def test_prices_are_those_of_genai_prices(tmp_path, every):
    """To the last decimal, for every model, tier, day, cached share and side of a threshold; else with a reason."""
    cases = list(grid.cases(every))
    with warehouse(tmp_path / "w.duckdb", (row(n, case) for n, case in enumerate(cases)), Cost(batch=BATCH)) as db:
        told = db.execute("""
            SELECT cost, unpriced_because, is_tier_unsupported, is_history_assumed, is_prefix_matched, billed_tier
            FROM cost_by_completion ORDER BY completion_id[2:]::INTEGER
        """).fetchall()
    assert len(told) == len(cases)
    wrong = [(case, ours) for case, ours in zip(cases, told, strict=True) if not agrees(case, ours)]
    assert wrong == []


def agrees(case, ours):
    """Judge one answer by why it may be another."""
    cost, unpriced, is_tier_unsupported, is_history_assumed, is_prefix_matched, tier = ours
    if case.differs in STRICTER:
        is_refused = cost is None and unpriced in {STRICTER[case.differs], "usage inconsistent"}
        return is_refused or cost == case.expected
    if case.differs in PRICED_BY_US:
        return cost is not None and (is_prefix_matched or case.differs == grid.CACHED_AUDIO)
    if case.differs == grid.TIER_HISTORY:
        return is_history_assumed and cost is not None
    if case.differs == grid.BATCH_AND_TIER:
        return tier == "batch" or is_tier_unsupported
    return cost == case.expected and is_tier_unsupported == (case.differs in FLAGGED)
