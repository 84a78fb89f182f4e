"""The guards of the walk: what goes wrong, what the walk does next, how the run ends. The README shows this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """One thing that a server does, and our answer to it."""

    name: str
    fault: str
    """As ``pipeline sandbox --fault`` takes it, counted from the first request of a run that holds earlier rows."""
    next_step: str
    exit_code: int


ASKED_AGAIN = "asks again after the wait that the server names, else after a random, growing one"
GIVEN_UP = "gives up when attempts or time are used up; pages so far are kept"
OLDER = "asks behind an older known row, at last from the beginning"
STUCK = "stops when five answers in a row bring nothing new; pages so far are kept"
NONE_SHOWN = "stops: more is said to follow and none is shown; pages so far are kept"
READ_ON = "goes on: the answer is whole"
SMALLER = "asks the same with a quarter of the limit, and goes on with that"
SMALLEST = "asks for fewer and fewer, then says that a single row is larger than page_size; pages so far are kept"
REFUSED = "stops without asking again; pages so far are kept"

GUARDS = (
    Guard("rate limit, retry-after-ms", "2:429:retry-after-ms=5", ASKED_AGAIN, 0),
    Guard("rate limit, Retry-After in seconds", "2:429:retry-after=0", ASKED_AGAIN, 0),
    Guard("rate limit, Retry-After as a date", "2:429:retry-after=date+0", ASKED_AGAIN, 0),
    Guard("rate limit without a header", "2:429", ASKED_AGAIN, 0),
    Guard("rate limit beyond the cap", "2:429:retry-after=3600", REFUSED, 75),
    Guard("429 about money", "2:money", REFUSED, 77),
    Guard("timeout at the server (408)", "2:408:retry-after-ms=1", ASKED_AGAIN, 0),
    Guard("conflict (409)", "2:409:retry-after-ms=1", ASKED_AGAIN, 0),
    Guard("server error (500)", "2:500:retry-after-ms=1", ASKED_AGAIN, 0),
    Guard("bad gateway (502)", "2:502:retry-after-ms=1", ASKED_AGAIN, 0),
    Guard("overloaded (503)", "2:503:retry-after-ms=1", ASKED_AGAIN, 0),
    Guard("gateway timeout (504)", "2:504:retry-after-ms=1", ASKED_AGAIN, 0),
    Guard("overloaded (529)", "2:529:retry-after-ms=1", ASKED_AGAIN, 0),
    Guard("server errors that do not end", "2-:503:retry-after-ms=1", GIVEN_UP, 75),
    Guard("x-should-retry: false", "2:503:x-should-retry=false", REFUSED, 75),
    Guard("x-should-retry: true", "2:400:x-should-retry=true", ASKED_AGAIN, 0),
    Guard("key refused (401)", "2:401", REFUSED, 77),
    Guard("permission refused (403)", "2:403", REFUSED, 77),
    Guard("no list (404)", "1-:404", "says that this server has no stored completions", 78),
    Guard("no list (405)", "1-:405", "says that this server has no stored completions", 78),
    Guard("no list (501)", "1-:501", "says that this server has no stored completions", 78),
    Guard("list refused (400)", "1-:400", "tries smaller limits, then says what the server said", 78),
    Guard("list refused (422)", "1-:422", "tries smaller limits, then says what the server said", 78),
    Guard("one request refused (400)", "2:400", OLDER, 0),
    Guard("one request refused (422)", "2:422", OLDER, 0),
    Guard("body stalled", "2:stall", ASKED_AGAIN, 0),
    Guard("connection reset", "2:reset", ASKED_AGAIN, 0),
    Guard("body cut short", "2:cut", ASKED_AGAIN, 0),
    Guard("JSON cut short", "2:truncated-json", ASKED_AGAIN, 0),
    Guard("gzip cut short", "2:truncated-gzip", ASKED_AGAIN, 0),
    Guard("HTML instead of JSON", "2:html", ASKED_AGAIN, 0),
    Guard("connection closed without an answer", "2:hang-up", ASKED_AGAIN, 0),
    Guard("connection closed behind an answer, announced", "2:close", READ_ON, 0),
    Guard("connection closed behind an answer, unannounced", "2:drop", READ_ON, 0),
    Guard("body that drips, and comes", "2:drip:3", READ_ON, 0),
    Guard("body that drips beyond page_time", "2:drip", ASKED_AGAIN, 0),
    Guard("JSON that says it is HTML", "2:wrong-type", READ_ON, 0),
    Guard("page larger than page_size", "2:big:1", SMALLER, 0),
    Guard("small gzip of a page larger than page_size", "2:bomb:1", SMALLER, 0),
    Guard("row larger than page_size", "2-:big:1", SMALLEST, 3),
    Guard("redirect to another host", "2:302:http://127.0.0.1:9/v1/chat/completions", REFUSED, 78),
    Guard("stalls that do not end", "2-:stall", GIVEN_UP, 75),
    Guard("drips that do not end", "2-:drip", GIVEN_UP, 75),
    Guard("resets that do not end", "2-:reset", GIVEN_UP, 75),
    Guard("HTML that does not end", "2-:html", GIVEN_UP, 75),
    Guard("after does not move, once", "2:stuck", OLDER, 0),
    Guard("after does not move", "2-:stuck", STUCK, 3),
    Guard("has_more is always true", "1-:more", NONE_SHOWN, 3),
    Guard("has_more is always false", "1-:no-more", "asks once more behind every full page", 0),
    Guard("has_more on an empty page, once", "2:empty-more", "asks again with a larger limit", 0),
    Guard("has_more on an empty page", "2-:empty-more", NONE_SHOWN, 3),
    Guard("the same with blank ids", "2-:empty-more-blank", NONE_SHOWN, 3),
    Guard("order not as asked", "2:wrong-order", "stops; pages so far are kept", 3),
    Guard("filter ignored", "2:filter-ignored", "stops: other completions would come under this name", 78),
    Guard("known row unknown (404)", "1-3:anchor-404", OLDER, 0),
    Guard("known row unknown (400)", "1-3:anchor-400", OLDER, 0),
    Guard("known row unknown (empty page)", "1-3:anchor-empty", OLDER, 0),
    Guard("known row unknown (page 1 again)", "1-3:anchor-page1", OLDER, 0),
    Guard("every known row unknown", "1-:anchor-404", STUCK, 3),
    Guard("row to continue from deleted", "2-4:delete:after", OLDER, 0),
    Guard("row edited during the walk", "2-4:edit:after", "keeps both versions", 0),
    Guard("another project answers", "2:other-project", "stops: its rows would come under this name", 77),
)
