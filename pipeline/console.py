"""All that people see: results on stdout, everything else on stderr, and the table of exit codes.

On a terminal tables are drawn and progress moves; elsewhere tables are CSV or JSON and progress is a line now and then.
No content, no key and no metadata value is ever written here.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import sys
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.errors import TryAgainError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pipeline.cost.answer import Costs
    from pipeline.errors import PipelineError
    from pipeline.extract.retry import Retry
    from pipeline.preview import Preview
    from pipeline.proof import Proof, Verdict
    from pipeline.result import Adopted, Copied, DestinationResult, Forgotten, Progress, RunResult, SourceResult
    from pipeline.troubles import Trouble

EXIT_CODES: dict[int, str] = {
    0: "done, also when there was nothing new",
    1: "a bug: please report it",
    2: "the command was called wrongly",
    3: "incomplete: part of the work failed or could not be shown complete; what was read is kept",
    4: "a check failed: verify, doctor, status --max-age, cost --check, --strict",
    75: "try again later: the folder is in use, the disk is full or fails, or the server is down or limits the rate",
    77: "refused: key or permission",
    78: "configuration: settings, server or data folder are not what they should be",
    130: "stopped by Ctrl-C; nothing is lost, the next run goes on",
    143: "stopped by SIGTERM; nothing is lost, the next run goes on",
}
#: Off a terminal a run of hours leaves hundreds of lines, not hundreds of thousands.
LINE_SECONDS = 30.0
#: Seconds between two lines about questions that fail.
COMPLAINT_SECONDS = 10.0
#: Columns of a table that is asked for off a terminal, where 80 would squeeze it.
WIDTH = 160
#: How a formula begins in a spreadsheet, or what hides that it does.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
#: Before that much of the span is walked an estimate would be a guess.
LEAST_FRACTION = 0.02


# -- messages on stderr --------------------------------------------------------------------------------------------


def _tell(text: str, end: str = "\n") -> None:
    """Write to stderr; where nobody can be told, a log on a full disk say, the work goes on and its result stays."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = _Nowhere()  # what waits to be written would fail again at exit, and be the exit code


class _Nowhere(io.TextIOBase):
    """Takes what nobody can be told."""

    def write(self, text: str) -> int:
        """Take text."""
        return len(text)


#: Letters of a text that a column of a table has room for, at least.
_NARROW = 10


class Log:
    """Writes one line per event to stderr, as text or as JSON."""

    def __init__(self, form: str = "text") -> None:
        self._is_json = form == "json"

    def say(self, level: str, event: str, message: str, **fields: object) -> None:
        """Write one event; ``fields`` are for programs and appear in JSON only."""
        if self._is_json:
            told = {"ts": datetime.now(UTC).isoformat(), "level": level, "event": event, "message": message, **fields}
            _tell(json.dumps(told, default=str))
        else:
            _tell(_printable(message))

    def explain(self, error: PipelineError) -> None:
        """Say what is wrong and what to do next."""
        self.say("error", type(error).__name__, f"error: {error}", exit_code=error.exit_code)

    def preview(self, preview: Preview) -> None:
        """Say what a first export is about to do."""
        self.say("info", "preview", str(preview), source=preview.source, completions=preview.completions)

    def result(self, result: RunResult) -> None:
        """Say how every source and destination ended, where no summary is read by people."""
        for source in result.sources:
            told = source.why_not or "complete"
            level = "error" if source.exit_code else "info"
            counts = {
                "new": source.new,
                "changed": source.changed,
                "pages": source.pages,
                "seconds": source.seconds,
                "data_through": source.data_through,
            }
            named = {"source": source.source, "exit_code": source.exit_code}
            self.say(level, "source", f"{source.source}: {told}", **named, **counts)
        for done in result.destinations:
            told = done.error or f"{done.completions:,} completions loaded"
            level = "error" if done.exit_code else "info"
            self.say(level, "destination", f"{done.destination}: {told}", exit_code=done.exit_code)


# -- progress ------------------------------------------------------------------------------------------------------


class Reporter:
    """Tells how far a walk is: a moving line on a terminal, a log line every half minute elsewhere."""

    def __init__(self, log: Log, *, is_live: bool) -> None:
        self._log = log
        self._live = is_live
        self._began: dict[str, tuple[float, int]] = {}
        self._told = time.monotonic()
        self._complained = -COMPLAINT_SECONDS

    def __call__(self, progress: Progress) -> None:
        """Take note of a page."""
        now = time.monotonic()
        reached = progress.reached or progress.server_time
        started, first = self._began.setdefault(progress.source, (now, reached))
        if not self._live and now - self._told < LINE_SECONDS:
            return
        line = describe(progress, seconds=now - started, first=first)
        if self._live:
            _tell(f"\r\033[K{line}", end="")
        else:
            self._log.say("info", "progress", line, source=progress.source, pages=progress.pages, kept=progress.kept)
        self._told = now

    def complain(self, retry: Retry) -> None:
        """Say why nothing gets on, now and then: many questions may wait at a time."""
        now = time.monotonic()
        if now - self._complained < COMPLAINT_SECONDS:
            return
        self._complained = now
        if self._live:
            _tell("\r\033[K", end="")
        self._log.say("warning", "retry", str(retry), tried=retry.tried, wait=round(retry.wait, 1))

    def end(self) -> None:
        """Leave the line."""
        if self._live and self._began:
            _tell("\r\033[K", end="")


def describe(progress: Progress, *, seconds: float, first: int) -> str:
    """Put progress into one line; with an estimate only where it rests on something."""
    if progress.is_sweep or progress.messages:
        doing = "sweeping" if progress.is_sweep else f"input messages of {progress.messages:,} completions kept"
        return f"{progress.source}: {doing}, {progress.pages:,} pages so far"
    reached = progress.reached or progress.server_time
    rate = f", {progress.kept / seconds:,.0f}/s" if seconds >= 1 else ""
    line = (
        f"{progress.source}: {progress.pages:,} pages, {progress.kept:,} completions kept{rate}, "
        f"reached {_moment(datetime.fromtimestamp(reached, UTC))}"
    )
    walked = (reached - first) / max(progress.server_time - first, 1)
    if seconds >= 1 and LEAST_FRACTION <= walked < 1:
        line += f", about {_duration(seconds * (1 - walked) / walked)} left if traffic was even"
    return line


# -- results on stdout ---------------------------------------------------------------------------------------------


def summary(result: RunResult, snapshot: Path, code: int | None = None) -> str:
    """Put a run's result into some lines for people; ``code`` is the exit code where a signal ended the run."""
    lines = [line for source in result.sources for line in _source_lines(source)]
    for done in result.destinations:
        what = f"{counted(done.segments, 'segment')} loaded, {counted(done.completions, 'completion')}"
        lines.append(_line(done.destination, done.error or (what if done.segments else "nothing new")))
        lines += [_line("", done.hint)] if done.hint else []
    lines += [_line("snapshot", f"published {snapshot}")] if result.published else []
    lines += [_line("note", finding.message) for finding in result.findings]
    took = (result.ended - result.started).total_seconds()
    code = code or result.exit_code
    lines.append(_line("exit", f"{code}, {EXIT_CODES[code]}; {took:.1f} s"))
    return "\n".join(lines)


def _source_lines(source: SourceResult) -> list[str]:
    through = f"data through {_moment(source.data_through)}" if source.data_through else "nothing complete yet"
    state = f"complete, {through}" if source.complete else f"NOT COMPLETE, {through}"
    lines = [_line(source.source, state)]
    lines += [_line("", source.why_not)] if source.why_not else []
    lines += [_line("", source.hint)] if source.hint else []
    late = _duration(source.largest_lateness) if source.largest_lateness is not None else "none"
    counts = f"{source.new:,} new, {source.changed:,} changed, {source.skipped:,} skipped, {source.rejected:,} rejected"
    more = _more(source)
    cost = f"{source.pages:,} pages, {source.retries:,} retries, {_size(source.bytes)}, {source.seconds:.1f} s"
    lines += [_line("", counts), *([_line("", more)] if more else [])]
    lines += [_line("", f"largest lateness {late}; {cost}"), *_horizon_lines(source)]
    if source.swept_through:
        lines.append(_line("", f"swept through {_moment(source.swept_through)}"))
    return lines + [_line("", f"note: {finding.message}") for finding in source.findings]


def _more(source: SourceResult) -> str:
    """Tell what only some runs do."""
    told = (
        (source.messages, "with input messages"),
        (source.messages_waiting, "whose input messages wait for the next run"),
        (source.gone, "gone"),
        (source.missed, "missed, to be asked for"),
        (source.forgotten, "forgotten, not taken in again"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in told if count)


def _horizon_lines(source: SourceResult) -> list[str]:
    """Tell how far back the source lists, and how late the next run may be."""
    if source.horizon is None or source.safety is None:
        return []
    least = "" if source.is_horizon_known else "at least "
    safe = f"the next run may be {_duration(source.safety)} late" if source.safety > 0 else "NO TIME IS LEFT"
    if not source.is_horizon_known and source.safety <= 0:
        safe = "too young to tell how late the next run may be"
    return [_line("", f"lists {least}{_duration(source.horizon)} back: {safe} before something unseen expires")]


def verdict(verdict: Verdict) -> str:
    """Put what was verified into some lines for people."""
    lines = [line for proof in verdict.proofs for line in _proof_lines(proof)]
    if verdict.compared:
        lines.append(_line("compared", f"{', '.join(verdict.compared)}: counts, ids and contents, row for row"))
    lines += [_line("note", note) for note in verdict.notes]
    for problem in verdict.problems:
        lines += [_line("PROBLEM", f"{problem.where}: {problem.message}"), _line("", problem.repair)]
    for one in verdict.refused:
        lines += [_line(one.source, f"NOT ASKED: {one.message}"), _line("", one.hint)]
    lines.append(_line("exit", f"{verdict.exit_code}, {verdict.unexplained:,} unexplained"))
    return "\n".join(lines)


def _proof_lines(proof: Proof) -> list[str]:
    held = f"{proof.held:,} held in {proof.versions:,} versions and {proof.segments:,} segments, {proof.gone:,} gone"
    forgotten = f", {proof.forgotten:,} forgotten" if proof.forgotten else ""
    lines = [_line(proof.source, held + forgotten)] if proof.segments else []
    lost = f"{len(proof.may_be_lost):,} spans that may have expired before first sight"
    if proof.listed is not None:
        told = f"{proof.listed:,} listed, {proof.listed_and_held:,} of them held, {lost}"
        lines.append(_line(proof.source, f"{told}, {proof.unexplained:,} unexplained"))
        lines += [_line("", f"{count:,} {reason}") for reason, count in sorted(proof.explained.items())]
    for start, end in proof.may_be_lost:
        first, last = (_moment(datetime.fromtimestamp(second, UTC)) for second in (start, end))
        lines.append(_line("", f"may have expired before first sight: created between {first} and {last}"))
    return lines


def rebuilt(done: Sequence[DestinationResult]) -> str:
    """Say what was made anew."""
    lines = []
    for result in done:
        made = f"made anew: {result.segments:,} segments, {result.completions:,} completions"
        made = f"{result.removed:,} removed" if result.destination == "blobs" else made
        made = f"{result.segments:,} segments checked and entered" if result.destination.startswith("ledger") else made
        lines.append(_line(result.destination, result.error or made))
        lines += [_line("", result.hint)] if result.hint else []
    return "\n".join(lines)


def costs(answer: Costs, form: str) -> None:
    """Print what tokens cost: as CSV every column, exact; for people rounded, with the total and what it rests on."""
    form = ("table" if sys.stdout.isatty() else "csv") if form == "auto" else form
    if form == "csv":
        table(answer.columns, answer.rows, form)
        return
    if answer.is_grouped:
        columns, rows = answer.for_people
        _markdown(columns, rows) if form == "md" else table(columns, rows, form)
    for line in answer.lines:
        say(f"- {line}" if form == "md" else line)


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    lines = [columns, ["---"] * len(columns), *([_shown(value) for value in row] for row in rows)]
    for line in lines:
        cells = (str(cell).replace("|", "\\|").replace("\n", " ") for cell in line)
        say(f"| {' | '.join(cells)} |")
    say("")


def forgotten(done: Forgotten) -> str:
    """Say what was forgotten, and where it may still be."""
    if not done.held + done.not_held:
        return "nothing was forgotten" + ("" if done.meant else ": nothing held has these metadata")
    lines = [f"{counted(done.held, 'completion')} forgotten, {counted(done.blobs, 'blob')} removed"]
    was = "id was" if done.not_held == 1 else "ids were"
    lines += [f"{done.not_held:,} {was} not held; refused from now on all the same"] if done.not_held else []
    lines += [f"{done.deleted_upstream:,} deleted at the source"] if done.deleted_upstream else []
    lines += [f"{done.absent_upstream:,} not there any more at the source"] if done.absent_upstream else []
    lines += [f"out of reach: {place}" for place in done.out_of_reach]
    return "\n".join(lines)


def copied(done: Copied, verb: str) -> str:
    """Say what a push or a pull of the archive did."""
    if not done.bytes and not done.removed:
        return f"nothing new: {counted(done.held, 'segment')} at {done.place}, head {done.head}"
    what = f"{counted(done.segments, 'segment')} and {counted(done.blobs, 'blob')} {verb}, {_size(done.bytes)}"
    gone = f"; {counted(done.removed, 'object')} removed that held what was forgotten" if done.removed else ""
    return f"{what}; {counted(done.held, 'segment')} at {done.place}, head {done.head}{gone}"


def adopted(done: Adopted) -> str:
    """Say what became of saved completions."""
    lines = [_line(done.source, f"{done.new:,} adopted, {done.held:,} held already and left as they are")]
    lines += [_line("", f"{done.forgotten:,} forgotten, not taken in again")] if done.forgotten else []
    lines += [_line("skipped", f"{where}: {reason}") for where, reason in done.skipped[:10]]
    lines += [_line("", f"and {len(done.skipped) - 10:,} more")] if len(done.skipped) > 10 else []  # noqa: PLR2004
    return "\n".join(lines)


def troubles(known: Sequence[Trouble]) -> None:
    """Say on stderr what does not work, since when, what was kept and what to do."""
    for one in known:
        since = f"since {_moment(one.since)}, {counted(one.runs, 'run')}, exit {one.exit_code}"
        lines = [f"{one.place}: {since}", f"  {one.what}", f"  kept: {one.kept}", f"  {one.hint}" if one.hint else ""]
        _tell("\n".join(filter(None, map(_printable, lines))))


def counted(number: int, what: str) -> str:
    """Say how many of something there are."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def _line(name: str, text: str) -> str:
    return f"{name:<10} {text}"


def say(text: str) -> None:
    """Print text on stdout; what others wrote into it steers no terminal."""
    verbatim(_printable(text))


def verbatim(text: str) -> None:
    """Print text on stdout that is made of the caller's own words; raises TryAgainError where it cannot be written."""
    with _on_stdout():
        print(text, flush=True)


@contextlib.contextmanager
def _on_stdout() -> Iterator[None]:
    """Say of output that cannot be written what stands in its way; a reader that has seen enough is no trouble."""
    try:
        yield
    except BrokenPipeError:
        to_nobody()
    except OSError as error:
        sys.stdout = None  # nothing is flushed at exit, where it would fail again
        raise TryAgainError(
            f"the output cannot be written: {error.strerror}",
            hint="make room where it goes, or send it elsewhere; what the command did is done",
        ) from error


def to_nobody() -> None:
    """Let all further output go nowhere: whoever reads has seen enough, and the command still says how it ended."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def heading(text: str) -> None:
    """Print a heading on stdout."""
    say(f"\n=== {text}")


def emit_json(value: object) -> None:
    """Print one JSON document as one line on stdout."""
    verbatim(_json(value))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], form: str = "auto", title: str | None = None
) -> None:
    """Print rows on stdout: a table on a terminal, CSV elsewhere, or what ``form`` asks for."""
    form = ("table" if sys.stdout.isatty() else "csv") if form == "auto" else form
    if form == "json":
        if twice := next((name for place, name in enumerate(columns) if name in columns[:place]), None):
            raise UsageError(f"two columns are named {twice}", hint="name one of them otherwise: SELECT … AS …")
        emit_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif form == "csv":
        with _on_stdout():
            write_csv(sys.stdout, columns, ([_csv_cell(value) for value in row] for row in rows))
            sys.stdout.flush()
    else:
        _draw(columns, rows, title)


def records(columns: Sequence[str], rows: Iterable[Sequence[object]], form: str = "auto") -> None:
    """Print rows of many columns on stdout: on a terminal one below the other, what is empty left out, else a table."""
    if form != "auto" or not sys.stdout.isatty():
        table(columns, rows, form)
    else:
        _list(columns, rows)


def _list(columns: Sequence[str], rows: Iterable[Sequence[object]], *, is_whole: bool = False) -> None:
    """Tell rows column by column; what is empty only where each ``is_whole``."""
    width = max(map(len, columns))
    for row in rows:
        told = zip(columns, row, strict=True)
        lines = [f"{name:<{width}}  {_of_record(value)}" for name, value in told if is_whole or value is not None]
        say("\n".join(line.rstrip() for line in lines) + "\n")


def _of_record(value: object) -> str:
    return _moment(value) if isinstance(value, datetime) else _shown(value)


def no_formula(text: str) -> str:
    """Put a ' before a text that a spreadsheet would run as a formula: there it is not shown."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv_cell(value: object) -> object:
    """Write a cell that no spreadsheet runs, and that steers no terminal where it is shown on one."""
    cell = _cell(value)
    if not isinstance(cell, str):
        return cell
    return no_formula(_printable(cell) if sys.stdout.isatty() else cell)


def write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write rows as CSV, each ended by a line feed; a text with either sign of a line's end is quoted."""
    writer = csv.writer(_Lines(file), lineterminator="\r\n")  # what it does not end lines with, it would not quote
    writer.writerow(columns)
    writer.writerows(rows)


class _Lines:
    """Ends the lines of a CSV writer, which writes one at a time, with one sign only."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        """Write one line."""
        return self._file.write(line.removesuffix("\r\n") + "\n")


def _draw(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None) -> None:
    from rich import box  # noqa: PLC0415 - only where a table is drawn
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    drawn = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    kept = [list(row) for row in rows]
    width = None if sys.stdout.isatty() else WIDTH
    room = Console(width=width).width
    if kept and _least_width(columns, kept) > room:
        if title:
            say(f"{title}\n")
        _list(columns, kept, is_whole=True)
        return
    for number, name in enumerate(columns):
        is_number = any(isinstance(row[number], int | float) or _is_amount(row[number]) for row in kept)
        drawn.add_column(escape(_printable(name)), justify="right" if is_number else "left", overflow="fold")
    for row in kept:
        drawn.add_row(*(escape(_shown(value)) for value in row))
    # Not drawn to stdout itself: a reader that has seen enough would be answered by rich, with an exit code of its own.
    lines = io.StringIO()
    Console(file=lines, highlight=False, width=room, force_terminal=sys.stdout.isatty()).print(drawn)
    verbatim(lines.getvalue().removesuffix("\n"))


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """Return how wide a table is in which no number and no time is broken, and no text to a letter a line."""
    least = 2 * (len(columns) - 1)
    for number, name in enumerate(columns):
        cells = [(row[number], len(_shown(row[number]))) for row in rows]
        whole = [width for value, width in cells if not isinstance(value, str) or _is_amount(value)]
        least += max([min(_NARROW, max([len(name), *(width for _, width in cells)])), *whole])
    return least


def _is_amount(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("$", "<$"))


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        return _printable(str(_cell(value)))
    return f"{value:,}"


def _printable(text: str) -> str:
    """Keep control characters of other people's texts from steering the terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _json(value: object) -> str:
    """Write JSON whose control characters, all of them, are escaped: the same to programs, harmless on a terminal."""
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # keys that are no texts, numbers that are none
        text = json.dumps(_in_json(value), default=_plain, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def _in_json(value: object) -> object:
    """Write keys as texts, and what is no finite number as null."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(_cell(key)): _in_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return _json(value)
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat(" ") if isinstance(value, datetime) else value


def _plain(value: Any) -> object:
    """Write what JSON has no word for."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - SI units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
