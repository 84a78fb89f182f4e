"""Forgetting: completions that must go, everywhere, and never come back.

    tombstones, durable, in every source ──▶ segments rewritten ──▶ blobs without a reference removed ──▶
    Parquet, DuckDB, Delta and snapshot made anew ──▶ tombstones settled

From the first step on every reader of the archive passes them over; a run that finds it interrupted finishes it first:
the first tombstones written hold all that is meant, of every source. Of each completion only the hash of its id stays.
Deleting at the source comes before all that, while the ids are still known; what fails there stops nothing here.
"""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import pyarrow.compute as pc

from pipeline import assemble, files, jsontext, rebuild
from pipeline.archive import segments
from pipeline.archive.check import references
from pipeline.archive.segments import Archive
from pipeline.archive.tombstones import digest
from pipeline.errors import FolderError, IncompleteError, PipelineError, TryAgainError, UsageError, worst
from pipeline.extract.walk import Refusal, Request
from pipeline.failpoints import reach
from pipeline.folder import DataFolder, owned
from pipeline.handoff import Account
from pipeline.result import Forgotten
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipeline.config import Config, Source
    from pipeline.extract.client import Client


class _Metadata(msgspec.Struct):
    metadata: dict[str, msgspec.Raw] | None = None


def forget(
    config: Config,
    *,
    ids: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
    upstream: bool = False,
    confirm: Callable[[int], bool] = lambda _: True,
) -> Forgotten:
    """Forget completions by id, or every one of which any version had all of ``metadata``.

    ``confirm`` is asked with their number before anything is done; ``upstream`` deletes them at the source first, those
    named by id at every source: what could not be deleted is the result's ``failure``, and is forgotten here all the
    same. Raises FolderInUseError while a run has the folder, UsageError for an empty id.
    """
    if not all(id_.strip() for id_ in ids):
        raise UsageError("an id is empty", hint="--id wants the id of a completion: is the variable set?")
    folder = DataFolder(config.data)
    folder.insist()
    with owned(folder, share=config.share == "group"):
        archives = _and_configured(config, folder, open_all(folder))
        finish(config, folder, archives)  # readers pass over what is pending: asked for again, it would not be found
        found = {archive.source: _find(archive, ids, metadata or {}) for archive in archives}
        held = {id_ for ids_ in found.values() for id_ in ids_}
        named = {*ids, *held}
        if not named or not confirm(len(named)):
            return Forgotten(len(named), 0, 0, 0, ())
        told = _delete(config, archives, ids, found) if upstream else _Upstream()
        new = held | {id_ for id_ in ids if not all(archive.tombstones.cover(id_) for archive in archives)}
        _bury(archives, frozenset(map(digest, new)))
        try:
            blobs = finish(config, folder, archives)
        except PipelineError as error:
            if told.failures:
                raise told.beside(error) from error
            raise
        return Forgotten(
            meant=len(named),
            held=len(held),
            not_held=len(named) - len(held),
            blobs=blobs,
            out_of_reach=_out_of_reach(config, folder),
            deleted_upstream=len(told.deleted),
            absent_upstream=len(told.absent),
            failure=told.failure,
        )


def open_all(folder: DataFolder) -> list[Archive]:
    """Open the archive of every source, for writing."""
    archives = [Archive(folder.archive, name, scratch=folder.scratch) for name in segments.sources(folder.archive)]
    for archive in archives:
        archive.enter()
    return archives


def finish(config: Config, folder: DataFolder, archives: Sequence[Archive], stop: Stop | None = None) -> int:
    """Take what has a pending tombstone out of everything; return how many blobs went. Safe to repeat."""
    pending = frozenset[str]().union(*(archive.tombstones.pending for archive in archives))
    if not pending:
        return 0
    archives = _and_configured(config, folder, archives)
    _bury(archives, pending)
    for archive in archives:
        _rewrite(archive)
    blobs = remove_blobs(folder, archives)
    _make_anew(config, folder, archives, stop or Stop())
    for archive in archives:
        archive.bury(archive.tombstones.settled())
    return blobs


def _and_configured(config: Config, folder: DataFolder, archives: Sequence[Archive]) -> list[Archive]:
    """Add the sources that have no archive yet: what is forgotten is not taken in by their first run either.

    A source that the environment merely implies counts where nothing else is held, as for ``status``.
    """
    there = {archive.source for archive in archives}
    new = [source.name for source in config.sources if source.name not in there]
    if config.is_implied and there:
        new = []
    return [*archives, *(Archive(folder.archive, name, scratch=folder.scratch) for name in new)]


def _bury(archives: Sequence[Archive], pending: frozenset[str]) -> None:
    """Put the same tombstones into every source: each alone is enough for a run to finish what was begun."""
    for archive in archives:
        if not pending <= archive.tombstones.pending:
            archive.bury(archive.tombstones.adding(pending))
            reach("forget.buried")


# -- which ------------------------------------------------------------------------------------------------------------


def _find(archive: Archive, ids: Sequence[str], metadata: Mapping[str, str]) -> set[str]:
    """Return which of the completions held are meant; all versions count, so that an edit hides nothing."""
    wanted, found = set(ids), set()
    for footer in archive.footers:
        table = archive.columns(footer.number, ["kind", "id", "body"] if metadata else ["kind", "id"])
        table = table.filter(pc.equal(table["kind"], "completion"))
        found |= wanted.intersection(table["id"].to_pylist())
        if metadata:
            rows = zip(table["id"].to_pylist(), table["body"].to_pylist(), strict=True)
            found |= {id_ for id_, body in rows if _has(body, metadata)}
    return found


def _has(body: bytes, metadata: Mapping[str, str]) -> bool:
    held = _metadata(body)
    return all(key in held and _says(bytes(held[key]), value) for key, value in metadata.items())


def _metadata(body: bytes) -> Mapping[str, bytes | msgspec.Raw]:
    """Return the metadata of a body, raw; of one that the decoder refuses, what can be made out."""
    try:
        return msgspec.json.decode(body, type=_Metadata).metadata or {}
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _members(_members(body).get("metadata", b""))


def _members(raw: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with contextlib.suppress(jsontext.NotJSONError):
        for key, value in jsontext.members(raw):
            with contextlib.suppress(jsontext.NotJSONError):
                found[jsontext.text(key)] = value
    return found


def _says(raw: bytes, text: str) -> bool:
    try:
        return jsontext.text(raw) == text
    except jsontext.NotJSONError:
        return False


# -- out of the archive -----------------------------------------------------------------------------------------------


def _rewrite(archive: Archive) -> None:
    """Rewrite every segment that holds something forgotten."""
    pending = archive.tombstones.pending
    for footer in list(archive.footers):
        if any(digest(id_) in pending for id_ in archive.raw_ids(footer.number)):
            archive.rewrite(footer.number)
            reach("forget.rewritten")


def remove_blobs_of_the_killed(config: Config, folder: DataFolder, archives: Sequence[Archive]) -> None:
    """Remove the blobs of which whoever was killed wrote no segment; with a segment missing, nothing tells which."""
    if assemble.blobs(folder).are_coming:
        with contextlib.suppress(FolderError):
            rebuild.insist_on_whole(archives, config, folder)
            remove_blobs(folder, archives)


def remove_blobs(folder: DataFolder, archives: Iterable[Archive]) -> int:
    """Remove every blob that nothing refers to any more, in any source."""
    blobs = assemble.blobs(folder)
    referred: set[bytes] = set().union(*(references(archive) for archive in archives))
    unreferred = [held for held in blobs.digests() if held not in referred]
    for held in unreferred:
        blobs.remove(held)
    blobs.take_note_away()
    return len(unreferred)


# -- out of everything else -------------------------------------------------------------------------------------------


def _make_anew(config: Config, folder: DataFolder, archives: Sequence[Archive], stop: Stop) -> None:
    """Make every destination anew that is there, also one that is switched off, and publish."""
    has_duckdb = any(path.exists() for path in (folder.warehouse, folder.snapshot, folder.published))
    is_elsewhere = assemble.is_delta_elsewhere(config, folder)
    has_delta = is_elsewhere or folder.delta.exists()
    there = [("parquet", folder.parquet.exists()), ("duckdb", has_duckdb), ("delta", has_delta)]
    for result in rebuild.rebuild([name for name, is_there in there if is_there], archives, config, folder, stop):
        result.insist()
    if has_delta:
        assemble.delta(config, folder).purge([archive.source for archive in archives])
    if is_elsewhere and folder.delta.exists():  # left there when the settings named another place
        files.remove(folder.delta)
    if has_duckdb:
        assemble.publish(config, folder, anew=True, is_whole=True, forgets=True)
    reach("forget.rebuilt")


def _out_of_reach(config: Config, folder: DataFolder) -> tuple[str, ...]:
    """Name what may still hold what was forgotten."""
    aside = sorted(folder.private.glob("*.wal.*")) if folder.private.exists() else []
    return (
        "snapshots that somebody still has open, until they are closed",
        "copies and backups of the data folder",
        "notebooks, exports and logs that others made of it",
        *([f"{config.delta}: versions of objects that the server keeps"] if isinstance(config.delta, str) else []),
        *(f"{path}: what somebody wrote into a snapshot" for path in aside),
    )


# -- at the source ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Upstream:
    """What became of completions at their sources."""

    asked: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    """Not deleted, as far as is known, at some source where they may be."""
    failures: list[PipelineError] = field(default_factory=list)

    @property
    def absent(self) -> set[str]:
        """Return what no source had any more."""
        return self.asked - self.deleted - self.left

    def delete(self, source: Source, account: Account, ids: set[str]) -> None:
        """Delete at one source until it fails."""
        self.asked |= ids
        left = sorted(ids)
        try:
            with assemble.client(source, account, Stop()) as client:
                _insist_on_account(client, source)
                while left:
                    if _was_there(client, left[0]):
                        self.deleted.add(left[0])
                    del left[0]
        except PipelineError as error:
            self.failures.append(error)
            self.left.update(left)

    def pass_over(self, source: str, ids: set[str]) -> None:
        """Take note of a source that cannot be asked; what was deleted under another name is done with."""
        if left := ids - self.deleted:
            self.asked |= left
            self.left |= left
            self.failures.append(IncompleteError(f"source {source}: it is not in the settings"))

    @property
    def failure(self) -> PipelineError | None:
        """Say what was not deleted, why, and how to try again: the ids are not known here any more."""
        if not self.failures:
            return None
        code = worst(error.exit_code for error in self.failures)
        kind = next(type(error) for error in self.failures if error.exit_code == code)
        reasons = "; ".join(error.message for error in self.failures)
        again = " ".join(f"--id {shlex.quote(id_)}" for id_ in sorted(self.left))
        hints = [error.hint for error in self.failures if error.hint and not isinstance(error, TryAgainError)]
        return kind(
            f"{len(self.left):,} of {len(self.asked):,} completions were not deleted at the source: {reasons}",
            hint="; ".join([*hints, f"to try again: pipeline forget --upstream {again}"]),
        )

    def beside(self, error: PipelineError) -> PipelineError:
        """Tell of an error here, and of what failed at the source as well."""
        both = [error, *filter(None, [self.failure])]
        message, hint = ("; ".join(parts) for parts in zip(*((one.message, one.hint) for one in both), strict=True))
        return type(error)(message, hint=hint)


def _delete(
    config: Config, archives: Sequence[Archive], ids: Sequence[str], found: Mapping[str, set[str]]
) -> _Upstream:
    """Delete at the sources: by id at each of them, whatever is held, and else where it was found."""
    told = _Upstream()
    accounts = {archive.source: archive.account for archive in archives}
    configured = {source.name: source for source in config.sources}
    for name, source in configured.items():
        if meant := {*ids, *found.get(name, ())}:
            told.delete(source, accounts.get(name, Account()), meant)
    for name in found.keys() - configured.keys():
        told.pass_over(name, found[name])
    return told


def _insist_on_account(client: Client, source: Source) -> None:
    """Ask something harmless first: the answer shows whether the key is still that of the project that is held."""
    if isinstance(answer := client.list(Request(None, 1)), Refusal):
        raise IncompleteError(f"source {source.name}: it refuses its list: {answer.status} {answer.message}".rstrip())


def _was_there(client: Client, id_: str) -> bool:
    """Delete one completion; tell whether it was there. Answers that say so are counted as calls."""
    calls = client.tally.calls
    client.delete(id_)
    return client.tally.calls > calls
