"""Forgetting: completions that must go, everywhere, and never come back.

    tombstones, durable ──▶ segments rewritten ──▶ blobs without a reference removed ──▶ Parquet, DuckDB and snapshot
    made anew ──▶ tombstones settled

From the first step on every reader of the archive passes them over; a run that finds it interrupted finishes it first.
Of each completion only the hash of its id stays.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pyarrow.compute as pc

from pipeline import assemble, jsontext, rebuild
from pipeline.archive import segments
from pipeline.archive.check import references
from pipeline.archive.segments import Archive
from pipeline.archive.tombstones import digest
from pipeline.errors import FolderError, PipelineError
from pipeline.failpoints import reach
from pipeline.folder import DataFolder, owned
from pipeline.result import Forgotten
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipeline.config import Config


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

    ``confirm`` is asked with their number before anything is done; ``upstream`` deletes them at the source first.
    Raises FolderInUseError while a run has the folder.
    """
    folder = DataFolder(config.data)
    folder.insist()
    with owned(folder, share=config.share == "group"):
        archives = open_all(folder)
        finish(config, folder, archives)  # readers pass over what is pending: asked for again, it would not be found
        found = {archive.source: _find(archive, ids, metadata or {}) for archive in archives}
        held = {id_ for ids_ in found.values() for id_ in ids_}
        named = {*ids, *held}
        if not named or not confirm(len(named)):
            return Forgotten(len(named), 0, 0, 0, 0, ())
        for archive in archives:
            archive.bury(archive.tombstones.adding({*ids, *found[archive.source]}))
            reach("forget.buried")
        deleted = _delete(config, found) if upstream else 0
        blobs = finish(config, folder, archives)
        return Forgotten(len(named), len(held), len(named) - len(held), blobs, deleted, _out_of_reach(folder))


def open_all(folder: DataFolder) -> list[Archive]:
    """Open the archive of every source, for writing."""
    archives = [Archive(folder.archive, name, scratch=folder.scratch) for name in segments.sources(folder.archive)]
    for archive in archives:
        archive.enter()
    return archives


def finish(config: Config, folder: DataFolder, archives: Sequence[Archive], stop: Stop | None = None) -> int:
    """Take what has a pending tombstone out of everything; return how many blobs went. Safe to repeat."""
    pending = [archive for archive in archives if archive.tombstones.pending]
    if not pending:
        return 0
    for archive in pending:
        _rewrite(archive)
    blobs = remove_blobs(folder, archives)
    _make_anew(config, folder, archives, stop or Stop())
    for archive in pending:
        archive.bury(archive.tombstones.settled())
    return blobs


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


def remove_blobs_of_the_killed(folder: DataFolder, archives: Sequence[Archive]) -> None:
    """Remove the blobs of which whoever was killed wrote no segment; with a segment missing, nothing tells which."""
    if assemble.blobs(folder).are_coming:
        with contextlib.suppress(FolderError):
            rebuild.insist_on_whole(archives, folder)
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
    has_duckdb = folder.warehouse.exists() or folder.snapshot.exists()
    there = [("parquet", folder.parquet.exists()), ("duckdb", has_duckdb)]
    for result in rebuild.rebuild([name for name, is_there in there if is_there], archives, config, folder, stop):
        if result.error:
            raise PipelineError(result.error, hint=result.hint or "")
    if has_duckdb:
        assemble.publish(config, folder, anew=True)
    reach("forget.rebuilt")


def _out_of_reach(folder: DataFolder) -> tuple[str, ...]:
    """Name what may still hold what was forgotten."""
    aside = sorted(folder.private.glob("*.wal.*")) if folder.private.exists() else []
    return (
        "snapshots that somebody still has open, until they are closed",
        "copies and backups of the data folder",
        "notebooks, exports and logs that others made of it",
        *(f"{path}: what somebody wrote into a snapshot" for path in aside),
    )


def _delete(config: Config, found: Mapping[str, set[str]]) -> int:
    """Delete at the source what was found of it; what is not there any more counts as deleted."""
    deleted = 0
    for source in config.sources:
        if not found.get(source.name):
            continue
        with assemble.client(source, None, Stop()) as client:
            for id_ in sorted(found[source.name]):
                client.delete(id_)
                deleted += 1
    return deleted
