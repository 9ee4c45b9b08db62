"""The forms that a hold takes: what is written when alerts begin and cease to hold a rollout.

An engine that drives reads the annotation and stops. Argo knows no such thing: beside it a hold also sets
`spec.paused`, as its command line does for a person, and remembers that it was us.
"""

from collections.abc import Callable

from agent.api.holds import Hold, decode_holds, encode_holds
from agent.api.managers import only_we_paused
from agent.api.meta import Object
from agent.api.names import HOLDS, PAUSED_BY_HOLD
from agent.api.times import format_time_ms
from agent.clock import Clock
from agent.engine.swap import Change
from agent.rollout.operator import Patch

Form = Callable[[Object, tuple[Hold, ...], str], Change]
"""The change that has exactly these alerts hold a Rollout; the last argument is the word for the sender."""


def annotation_form(rollout: Object, holds: tuple[Hold, ...], message: str) -> Change:
    """The form of an engine."""
    del rollout
    return annotated({HOLDS: encode_holds(holds) if holds else None}, message)


def pausing_form(clock: Clock) -> Form:
    """The form of a companion: pause with the first alert, and end with the last one what is still our pause."""

    def form(rollout: Object, holds: tuple[Hold, ...], message: str) -> Change:
        is_paused = bool((rollout.get("spec") or {}).get("paused"))
        annotations: dict[str, str | None] = {HOLDS: encode_holds(holds) if holds else None}
        body: dict[str, object] = {"metadata": {"annotations": annotations}}
        if holds and not is_paused:
            annotations[PAUSED_BY_HOLD] = format_time_ms(clock.now())
            body["spec"] = {"paused": True}
        elif not holds:
            annotations[PAUSED_BY_HOLD] = None
            if is_paused and is_our_pause(rollout):
                body["spec"] = {"paused": False}
        return Change(patches=(Patch("object", body),), message=message)

    return form


def is_our_pause(rollout: Object) -> bool:
    """Whether spec.paused was set by a hold of ours, and nobody has written it since."""
    return PAUSED_BY_HOLD in annotations_of(rollout) and only_we_paused(rollout)


def annotated(annotations: dict[str, str | None], message: str) -> Change:
    """A change of the Rollout's annotations; None removes one."""
    patch = Patch("object", {"metadata": {"annotations": annotations}})
    return Change(patches=(patch,), message=message)


def read_holds(obj: Object | None, annotation: str) -> tuple[Hold, ...]:
    """The holds in an annotation; one that cannot be read counts as none and is written anew."""
    try:
        return decode_holds(annotations_of(obj or {}).get(annotation, ""))
    except ValueError:
        return ()


def annotations_of(obj: Object) -> dict[str, str]:
    """The annotations of an object."""
    return (obj.get("metadata") or {}).get("annotations") or {}
