"""How a server behaves where servers differ: one switch per field, the defaults as the recordings show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pipeline.errors import UsageError

Cursor = Literal["second", "exact"]
Order = Literal["asc", "desc"]
Vanished = Literal["404", "400", "empty", "page1"]
House = Literal["openai", "azure", "ogx"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The habits of one server."""

    cursor: Cursor = "second"
    """``second``: ``after`` means strictly beyond that row's second. ``exact``: right behind that row."""
    default_order: Order = "desc"
    """The order of a list request that names none; the reference says asc, the service answers desc."""
    max_limit: int | None = 100
    """The largest ``limit`` that is not answered with 400; None takes any."""
    shuffle: bool = True
    """Rows of one second come in another order with each request; only where the cursor is ``second``."""
    vanished: Vanished = "404"
    """The answer to an ``after`` that names no visible row."""
    no_id: str | None = None
    """What stands for the first and last id of an empty page."""
    total: bool = False
    """Pages say how many rows they hold, under ``total``: whether the real ones count more than the page is unknown."""
    by_metadata: bool = True
    """The metadata filter is honoured."""
    always_stores: bool = False
    """Created completions are stored whatever ``store`` says."""
    changes: bool = True
    """Stored completions can be edited and deleted."""
    answers: bool = False
    """The messages of a completion end with its answers."""
    only_creates: bool = False
    """A gateway that knows ``POST /chat/completions`` and nothing else."""
    house: House = "openai"
    """Whose rows, error bodies and headers these are: see ``house``."""
    root: str = "/v1"
    """What stands before ``/chat/completions``."""
    api_version: str | None = None
    """Nothing is found without ``?api-version=``; this one is in the base URL."""
    generation: float = 10.0
    """Seconds from ``created`` to the end of generation, for completions created over HTTP (recorded: 7 to 24)."""
    lag: float = 3.0
    """Seconds from the end of generation until the row is visible (recorded: 1 to 6)."""

    @classmethod
    def named(cls, name: str, **switches: Any) -> Self:
        """Return a known server's shape, ``switches`` over its own."""
        if name not in SHAPES:
            raise UsageError(f"unknown shape {name!r}", hint=f"known shapes: {', '.join(SHAPES)}")
        return replace(cls(**SHAPES[name]), **switches)

    @property
    def path(self) -> str:
        """The path of the list."""
        return f"{self.root}/chat/completions"


#: What is known of other servers, and where it differs from the recorded one (reference §6).
SHAPES: dict[str, dict[str, Any]] = {
    "openai": {},
    "exact": {"cursor": "exact"},
    "azure": {"house": "azure", "root": "/openai/v1", "default_order": "asc", "total": True},
    "azure-preview": {
        "house": "azure",
        "root": "/openai",
        "api_version": "2025-02-01-preview",
        "default_order": "asc",
        "total": True,
    },
    "ogx": {
        "house": "ogx",
        "max_limit": None,
        "vanished": "400",
        "no_id": "",
        "by_metadata": False,
        "always_stores": True,
        "changes": False,
        "answers": True,
    },
    "post-only": {"only_creates": True},
}
