"""Coverage: what spans add up to, whatever their order, and which seconds stay in doubt."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.archive import coverage
from pipeline.handoff import Span

TOP = 30
seconds = st.integers(0, TOP)


@st.composite
def spans(draw):
    """Draw spans from the beginning and from elsewhere."""
    start = draw(st.none() | seconds)
    return Span(start, draw(st.integers(start or 0, TOP)), TOP)


def read(some):
    """Model: the set of seconds read, -1 standing for everything before them."""
    return {second for span in some for second in range(-1 if span.start is None else span.start + 1, span.end + 1)}


def contiguous(some):
    """Model: how far one can go from the beginning without stepping on a second that was not read."""
    done = read(some)
    if -1 not in done:
        return None
    end = -1
    while end + 1 in done:
        end += 1
    return end


@given(st.lists(spans(), max_size=8), st.randoms(use_true_random=False))
def test_the_position_is_the_end_of_what_was_read_without_a_gap(some, random):
    """Position counts second by second from the beginning, and the order of the spans does not matter."""
    expected = contiguous(some)
    assert coverage.position(some) == expected
    random.shuffle(some)
    assert coverage.position(some) == expected


@given(st.lists(spans(), max_size=8), spans())
def test_reading_more_never_moves_the_position_back(some, more):
    """A further span leaves the position or moves it on."""
    before, after = coverage.position(some), coverage.position([*some, more])
    assert before is None or (after is not None and after >= before)


@given(st.integers(0, 20), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=5))
def test_spans_found_elsewhere_do_not_move_the_position(end, gaps):
    """Spans that begin beyond a gap leave the position until the gap is read."""
    far, start = [], end + 1
    for gap, length in gaps:
        far.append(Span(start + gap, start + gap + length, 100))
        start += gap + length
    assert coverage.position([*far, Span(None, end, 100)]) == end
    assert coverage.position([*far, Span(None, end, 100), Span(end, start + 1, 100)]) == max(
        [start + 1, *(span.end for span in far)]
    )


def test_nothing_read_has_no_position():
    """Without a span from the beginning there is no position, however much was read elsewhere."""
    assert coverage.position([]) is None
    assert coverage.position([Span(5, 100, 200)]) is None


def test_a_doubt_stays_until_a_later_reading_covers_it():
    """A later span that holds the second and does not doubt it resolves the doubt; one beside it does not."""
    doubtful = Span(None, 100, 200, (50, 90))
    assert coverage.doubtful([doubtful]) == [50, 90]
    assert coverage.doubtful([doubtful, Span(60, 120, 300)]) == [50]
    assert coverage.doubtful([doubtful, Span(50, 120, 300)]) == [50]
    assert coverage.doubtful([doubtful, Span(49, 89, 300)]) == [90]
    assert coverage.doubtful([doubtful, Span(None, 120, 300)]) == []


def test_a_doubt_met_again_stays_and_an_earlier_reading_does_not_resolve_it():
    """Only what was read afterwards counts: a span before the doubt says nothing about it."""
    clear, doubtful = Span(None, 100, 200), Span(40, 120, 300, (50,))
    assert coverage.doubtful([clear, doubtful]) == [50]
    assert coverage.doubtful([clear, doubtful, Span(30, 130, 400, (50,))]) == [50]
