"""A clock that tests and the demo move by hand."""


class Clock:
    """Tells the time it was set to; ``store.clock`` may be this or ``time.time``."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
