"""What the engine counts. The base counts nothing; the composition root hands in one that does."""


class Meter:
    """Callbacks at the places worth a metric; every one returns at once and never fails."""

    def wrote(self, kind: str, verb: str, result: str, seconds: float) -> None:
        """A write to the cluster ended: `ok` or the name of its error."""

    def passed(self, result: str) -> None:
        """A pass ended: ok, superseded, conflict, retry, unavailable, rejected or bug."""

    def waited(self, seconds: float) -> None:
        """A wake waited this long for its pass."""

    def aborted(self, seconds: float) -> None:
        """From the decision of an abort to the route's write."""

    def unheeded(self) -> None:
        """An abort that was asked for was not carried out in time."""

    def drifted(self, direction: str) -> None:
        """Somebody else changed a canary's weight: up or down."""

    def announced(self, transition: str, result: str) -> None:
        """An announcement was published, or a subscriber gave up."""

    def recorded(self, result: str) -> None:
        """A core Event was written (ok), refused (failed) or left out (dropped)."""
