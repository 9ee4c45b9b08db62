"""Named points between two writes, at which the process may be killed by a test.

`Reach` is called with a point's name each time the engine gets there. In production it does nothing,
unless `SERINUS_CRASH_AT=name[:n]` is set: then the process kills itself at the n-th time (default: the
first). The simulation hands in a callable that raises instead.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

Reach = Callable[[str], None]

CRASH_POINTS: Final[dict[str, str]] = {
    "between-lowers": "one of several routes is lowered",
    "before-fence": "the routes that fall are written, the status is not",
    "after-fence": "the status and the outbox are written, nothing that follows from them is",
    "after-pods-up": "pods were asked for, selectors still name the old ones",
    "after-selectors": "selectors and subsets are written, no weight has risen",
    "before-raise": "first exposure is noted and the rollout was read again, the weight has not risen",
    "between-raises": "one of several routes is raised",
    "after-raise": "the weight has risen, the rollout was not read again",
    "after-routes-up": "the raise stands, what was done is not in the status",
    "after-pods-down": "pods were sent away",
    "after-analysis": "analysis objects are written",
    "after-done-status": "what was done is in the status and the outbox",
    "abort-before-intent": "an abort was decided, nothing is written",
    "abort-after-intent": "the abort is on the object, the route still has weight",
    "abort-after-route": "the route is down, `rolledback` is not in the outbox",
    "abort-after-record": "the abort is complete",
    "intent-before-write": "a command was accepted, nothing is written",
    "intent-after-write": "a command is on the object, the lane was not woken",
    "relay-before-publish": "an announcement waits",
    "relay-after-publish": "an announcement is out, it still stands in the outbox",
    "relay-after-removal": "an announcement is out and off the outbox",
}
"""Every point and the state of the world there. A test walks through all of them."""

COMPANION_POINTS: Final[dict[str, str]] = {
    "marks-before-swap": "a transition was seen, nothing is stored",
    "marks-after-swap": "the mark and what it tells are stored, nothing is published",
    "companion-before-publish": "an announcement waits in its mark",
    "companion-after-publish": "an announcement is out, it still stands in its mark",
    "marks-after-removal": "an announcement is out and off its mark",
    "companion-after-cause": "the cause of an abort is on the Rollout, the intent is not",
}
"""The same for what only a companion does."""

ENVIRONMENT: Final = "SERINUS_CRASH_AT"


def pass_by(_point: str) -> None:
    """The `Reach` of production: nothing happens."""


def from_environment(environment: Mapping[str, str] | None = None) -> Reach:
    """The `Reach` that `SERINUS_CRASH_AT` asks for. Raises ValueError for a name that is not a point."""
    wanted = (os.environ if environment is None else environment).get(ENVIRONMENT, "")
    if not wanted:
        return pass_by
    point, _, text = wanted.partition(":")
    points = CRASH_POINTS | COMPANION_POINTS
    if point not in points or (text and not (text.isdecimal() and int(text) > 0)):
        known = ", ".join(points)
        raise ValueError(
            f"{ENVIRONMENT}={wanted!r}: want name or name:n, n >= 1, name one of {known}"
        )
    return _Killer(point, int(text or "1"))


class _Killer:
    def __init__(self, point: str, times: int) -> None:
        self._point = point
        self._times = times
        self._seen: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        self._seen[point] += 1
        if point == self._point and self._seen[point] == self._times:
            os.kill(os.getpid(), signal.SIGKILL)
