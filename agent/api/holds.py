"""A hold: an alert that keeps a rollout where it is, stored in the annotation `serinus.dev/holds`."""

import msgspec

from agent.api.meta import Struct


class Hold(Struct):
    """One alert that holds. Times are RFC 3339.

    Attributes:
        fingerprint: Alertmanager's fingerprint of the alert.
        starts_at: when the alert started to fire, as Alertmanager wrote it.
        since: when the hold was set.
        alert: the alert's name.
        reason: why it holds instead of aborting, a sentence for people.
    """

    fingerprint: str
    starts_at: str
    since: str
    alert: str = ""
    reason: str = ""


def decode_holds(text: str) -> tuple[Hold, ...]:
    """The holds in an annotation's text; "" is none. Raises ValueError for anything else."""
    if not text:
        return ()
    try:
        return tuple(msgspec.json.decode(text, type=list[Hold]))
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a list of holds: {error}") from error


def encode_holds(holds: tuple[Hold, ...]) -> str:
    """Text of the annotation, oldest hold first; the same set gives the same bytes."""
    ordered = sorted(holds, key=lambda hold: (hold.since, hold.fingerprint, hold.starts_at))
    return msgspec.json.encode(ordered).decode()
