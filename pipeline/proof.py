"""What `verify` shows and finds: plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import CheckFailedError, worst

if TYPE_CHECKING:
    from pipeline.result import Problem


@dataclass(slots=True)
class Proof:
    """What was shown of one source."""

    source: str
    segments: int = 0
    held: int = 0
    """Completions, each counted once."""
    versions: int = 0
    gone: int = 0
    """Of the held, those that the source does not list any more."""
    forgotten: int = 0
    may_be_lost: tuple[tuple[int, int], ...] = ()
    """Spans of Unix seconds in which completions may have expired before they were first seen."""
    listed: int | None = None
    """Completions that the API lists now; None where it was not asked."""
    listed_and_held: int = 0
    explained: dict[str, int] = field(default_factory=dict)
    """Differences from the API that need no repair, by reason."""
    unexplained: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """A source that could not be asked what it lists."""

    source: str
    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was verified, and what is not as it should be."""

    proofs: tuple[Proof, ...]
    compared: tuple[str, ...]
    """What was compared with the archive, row for row."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    """What is not wrong, and yet worth knowing: a destination behind the archive, one that is switched off."""
    refused: tuple[Refused, ...] = ()
    """Of these sources nothing is shown."""

    @property
    def unexplained(self) -> int:
        """How many things are not as they should be."""
        inside = sum(problem.kind != "listed-not-held" for problem in self.problems)
        return inside + sum(proof.unexplained for proof in self.proofs)

    @property
    def exit_code(self) -> int:
        """0 where everything is explained, 4 where it is not; what kept a source from answering comes first."""
        found = CheckFailedError.exit_code if self.unexplained else 0
        return worst((found, *(one.exit_code for one in self.refused)))

    def as_dict(self) -> dict[str, object]:
        """Return the verdict as JSON-ready values."""
        return {**asdict(self), "unexplained": self.unexplained, "exit_code": self.exit_code}
