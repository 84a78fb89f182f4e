"""The proof: everything held is recomputed and held against the archive and, where asked, against the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import assemble
from pipeline.archive.segments import Archive
from pipeline.folder import DataFolder, owned
from pipeline.inside import Inside
from pipeline.listed import Listed
from pipeline.proof import Proof, Verdict
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from pipeline.config import Config, Source
    from pipeline.result import Problem


def verify(config: Config, *, inside: bool = True, against_api: bool = False, stop: Stop | None = None) -> Verdict:
    """Verify a data folder; raises FolderInUseError while a run has it, and what keeps a source from answering.

    ``inside`` recomputes everything from segment bodies, ``against_api`` walks everything listed; nothing is mended.
    """
    folder, stop = DataFolder(config.data), stop or Stop()
    folder.insist()
    with owned(folder, share=config.share == "group"):
        looked = Inside(config, folder, stop)
        if inside:
            looked.verify()
        problems = list(looked.problems)
        if against_api:
            for source in config.sources:
                problems += _against(source, folder, looked.proofs.setdefault(source.name, Proof(source.name)), stop)
        return Verdict(
            tuple(looked.proofs[name] for name in sorted(looked.proofs)),
            tuple(looked.compared),
            tuple(problems),
            tuple(looked.notes),
        )


def _against(source: Source, folder: DataFolder, proof: Proof, stop: Stop) -> list[Problem]:
    archive = Archive(folder.archive, source.name, scratch=folder.scratch)
    with assemble.client(source, archive.account, stop) as client:
        listed = Listed(source, archive, client, assemble.content(source), proof)
        listed.verify()
    return listed.problems
