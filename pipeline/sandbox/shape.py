"""How a server's list behaves where servers differ: one switch per field, the defaults as the recordings show."""

from dataclasses import dataclass
from typing import Literal

Order = Literal["asc", "desc"]
Vanished = Literal["404", "400", "empty", "page1"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The habits of one server."""

    cursor: Literal["second", "exact"] = "second"
    """``second``: ``after`` means strictly beyond that row's second. ``exact``: right behind that row."""
    default_order: Order = "desc"
    """The order of a list request that names none; the reference says asc, the service answers desc."""
    max_limit: int = 100
    """The largest ``limit`` that is not answered with 400."""
    shuffle: bool = True
    """Rows of one second come in another order with each request; only where the cursor is ``second``."""
    vanished: Vanished = "404"
    """The answer to an ``after`` that names no visible row."""
    generation: float = 10.0
    """Seconds from ``created`` to the end of generation, for completions created over HTTP (recorded: 7 to 24)."""
    lag: float = 3.0
    """Seconds from the end of generation until the row is visible (recorded: 1 to 6)."""
