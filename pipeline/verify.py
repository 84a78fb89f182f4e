"""The proof: everything held is recomputed and held against the archive and, where asked, against the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import assemble
from pipeline.archive.segments import Archive
from pipeline.errors import PipelineError, UsageError
from pipeline.folder import DataFolder, owned
from pipeline.inside import Inside
from pipeline.listed import Listed
from pipeline.proof import Proof, Refused, Verdict
from pipeline.stopping import Stop

if TYPE_CHECKING:
    from pipeline.config import Config, Source
    from pipeline.result import Problem


def verify(config: Config, *, inside: bool = True, against_api: bool = False, stop: Stop | None = None) -> Verdict:
    """Verify a data folder; raises FolderInUseError while a run has it, and UsageError where nothing is asked.

    ``inside`` recomputes everything from segment bodies, ``against_api`` walks everything listed; nothing is mended.
    A source that could not be asked is told in the verdict, beside what was found inside.
    """
    if not (inside or against_api):
        raise UsageError("there is nothing to verify", hint="leave out --no-inside, or add --against-api")
    folder, stop = DataFolder(config.data), stop or Stop()
    folder.insist()
    with owned(folder, share=config.share == "group"):
        looked = Inside(config, folder, stop)
        if inside:
            looked.verify()
        problems, refused = list(looked.problems), []
        for source in config.sources if against_api else ():
            try:
                problems += _against(source, folder, looked.proofs.setdefault(source.name, Proof(source.name)), stop)
            except PipelineError as error:
                refused.append(Refused(source.name, error.message, error.hint, error.exit_code))
        return Verdict(
            tuple(looked.proofs[name] for name in sorted(looked.proofs)),
            tuple(looked.compared),
            tuple(problems),
            tuple(looked.notes),
            tuple(refused),
        )


def _against(source: Source, folder: DataFolder, proof: Proof, stop: Stop) -> list[Problem]:
    archive = Archive(folder.archive, source.name, scratch=folder.scratch)
    with assemble.client(source, archive.account, stop) as client:
        listed = Listed(source, archive, client, assemble.content(source), proof)
        listed.verify()
    return listed.problems
