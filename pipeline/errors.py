"""Everything that can go wrong on purpose, by what its reader can do about it.

PipelineError
├── UsageError              2   call it differently
├── IncompleteError         3   part of the work could not be done or shown complete; what was read is kept
├── CheckFailedError        4   a check that was asked for did not hold
├── TryAgainError          75   wait, then run again
│   ├── FolderInUseError        another run holds the data folder
│   ├── DiskFullError           no space left
│   ├── DiskError               the disk fails
│   └── ServerError             down, hanging, rate limited, or not speaking JSON
├── RefusedError           77   a key or a permission is missing
└── ConfigError            78   the settings, the server or the data folder are not what they should be
    ├── NoListRouteError        this server has no stored completions
    └── FolderError             not our data folder, or of a newer format
"""

from collections.abc import Iterable


class PipelineError(Exception):
    """What is wrong and where; ``hint`` says what to do next, ``exit_code`` how the program ends."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling: results that carry errors cross process borders."""
        return (_rebuild, (type(self), self.message, self.hint))

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


def _rebuild(kind: type[PipelineError], message: str, hint: str) -> PipelineError:
    error = kind.__new__(kind)
    PipelineError.__init__(error, message, hint=hint)
    return error


class UsageError(PipelineError):
    """The call itself is wrong."""

    exit_code = 2


class IncompleteError(PipelineError):
    """Part of the work could not be done or shown complete; what was read is kept."""

    exit_code = 3


class CheckFailedError(PipelineError):
    """A check that was asked for did not hold."""

    exit_code = 4


class TryAgainError(PipelineError):
    """Nothing is wrong that time cannot mend."""

    exit_code = 75


class FolderInUseError(TryAgainError):
    """Another run holds the data folder."""


class DiskFullError(TryAgainError):
    """No space is left where the data folder lies."""


class DiskError(TryAgainError):
    """The disk, or the network it lies behind, fails where the data folder is."""


class ServerError(TryAgainError):
    """The server is down, hangs, limits the rate, or does not answer in JSON."""


class RefusedError(PipelineError):
    """The key, or the permission of the user who runs this, is not enough."""

    exit_code = 77


class ConfigError(PipelineError):
    """The settings, the server or the data folder are not what they should be."""

    exit_code = 78


class NoListRouteError(ConfigError):
    """This server has no list of stored completions."""


class FolderError(ConfigError):
    """The folder is not a data folder of ours, or a newer version made it."""


#: Of several codes the first in this order wins (design §8).
PRECEDENCE = (1, 78, 77, 3, 75, 4, 0)


def worst(codes: Iterable[int]) -> int:
    """Return the exit code that speaks for all of ``codes``; 0 for none."""
    return min(codes, key=PRECEDENCE.index, default=0)
