"""What Argo's command line writes for each of its actions: intents as patches. PURE.

Whoever drives a rollout understands these patches and no others, so every door of ours sends the same.
Texts of refusals are Argo's.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from agent.api import names
from agent.api.meta import Object
from agent.api.rollout import Rollout
from agent.api.times import parse_time
from agent.errors import Refused
from agent.rollout import defaults
from agent.rollout.replica_sets import ReplicaSetView
from agent.rollout.replicas import current_step


class Patch(msgspec.Struct, frozen=True):
    """A merge patch of the Rollout: `status` through its subresource, or the `object`."""

    target: Literal["status", "object"]
    body: dict[str, Any]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What to write; nothing when there are neither patches nor operations.

    Attributes:
        patches: in the order in which they are sent.
        operations: JSON Patch, instead of `patches`.
        on_workload: the operations are for the object that spec.workloadRef names.
        message: why there is nothing to do.
    """

    patches: tuple[Patch, ...] = ()
    operations: tuple[dict[str, Any], ...] = ()
    on_workload: bool = False
    message: str = ""

    @property
    def skips_step(self) -> bool:
        """Whether the canary goes on to another step without completing the one it is at."""
        return any("currentStepIndex" in patch.body.get("status", {}) for patch in self.patches)


def _status(**fields: Any) -> Patch:
    return Patch("status", {"status": fields})


def _paused(value: bool) -> Patch:
    return Patch("object", {"spec": {"paused": value}})


ABORT: Final = Intent(patches=(_status(abort=True),))
RETRY: Final = Intent(patches=(_status(abort=False),))
PAUSE: Final = Intent(patches=(_paused(True),))


def promote(rollout: Rollout) -> Intent:
    """End the pause; a canary without a pause goes on to its next step.

    An inconclusive analysis step is skipped together with its pause: the next step could be a pause that
    the old flag would end at once. A canary that only spec.paused holds skips a step as well, which is
    what Argo does; `resume` does not.
    """
    unpause = (_paused(False),) if rollout.spec.paused else ()
    status = rollout.status
    following = _following_step(rollout)
    if status.pause_conditions:
        if _is_inconclusive(rollout) and status.controller_pause and following is not None:
            skip = _status(pauseConditions=None, controllerPause=False, currentStepIndex=following)
            return Intent(patches=(skip, *unpause))
        return Intent(patches=(_status(pauseConditions=None), *unpause))
    if following is not None:
        skip = _status(pauseConditions=None, currentStepIndex=following)
        return Intent(patches=(skip, *unpause))
    return Intent(patches=unpause, message="" if unpause else "nothing is paused")


def _is_inconclusive(rollout: Rollout) -> bool:
    run = rollout.status.canary.current_step_analysis_run_status
    return rollout.spec.strategy.canary is not None and bool(run and run.status == "Inconclusive")


def _following_step(rollout: Rollout) -> int | None:
    """Index of the step after the current one, at most the number of steps; None without steps."""
    _, index = current_step(rollout)
    if index is None:
        return None
    return min(index + 1, max(index, len(defaults.canary_of(rollout).steps or ())))


def resume(rollout: Rollout) -> Intent:
    """End every pause, skip nothing."""
    patches = []
    if rollout.status.pause_conditions:
        patches.append(_status(pauseConditions=None))
    if rollout.spec.paused:
        patches.append(_paused(False))
    return Intent(patches=tuple(patches), message="" if patches else "nothing is paused")


def promote_full(rollout: Rollout) -> Intent:
    """Skip all steps, pauses and analysis of the update that runs."""
    patches = []
    if rollout.status.current_pod_hash != rollout.status.stable_rs:
        patches.append(_status(promoteFull=True))
    if rollout.spec.paused:
        patches.append(_paused(False))
    return Intent(patches=tuple(patches), message="" if patches else "no update is in progress")


def skip_current_step(rollout: Rollout) -> Intent:
    """Go on to the next step. Raises Refused without steps."""
    _refuse_without_steps(rollout)
    return Intent(patches=(_status(currentStepIndex=_following_step(rollout)),))


def skip_all_steps(rollout: Rollout) -> Intent:
    """Go to the end of the steps. Raises Refused without steps."""
    _refuse_without_steps(rollout)
    return Intent(patches=(_status(currentStepIndex=len(defaults.canary_of(rollout).steps or ())),))


def _refuse_without_steps(rollout: Rollout) -> None:
    if rollout.spec.strategy.blue_green is not None:
        raise Refused("Cannot skip steps of a bluegreen rollout. Run without a flags")
    if not defaults.canary_of(rollout).steps:
        raise Refused("Cannot skip steps of a rollout without steps")


def restart(restart_at: str) -> Intent:
    """Replace all pods that are older than `restart_at` (RFC 3339). Raises Refused when it is no time."""
    try:
        parse_time(restart_at)
    except ValueError as error:
        raise Refused(f"{restart_at!r} is not an RFC 3339 time", field="restartAt") from error
    return Intent(patches=(Patch("object", {"spec": {"restartAt": restart_at}}),))


def undo(rollout: Rollout, sets: Iterable[ReplicaSetView], to_revision: int = 0) -> Intent:
    """Bring back the template of an earlier revision, 0 for the one before the newest.

    Raises Refused when there is no such revision among `sets`, the ReplicaSets of the Rollout.
    """
    known = sorted((item for item in sets if item.revision > 0), key=lambda item: -item.revision)
    if to_revision:
        target = next((item for item in known if item.revision == to_revision), None)
        if target is None:
            raise Refused(f"unable to find specified revision {to_revision} in history")
    elif len(known) < 2:
        raise Refused(f'no revision found for rollout "{rollout.metadata.name}"')
    else:
        target = known[1]
    wanted = _without_hash((target.raw.get("spec") or {}).get("template") or {})
    current = _without_hash(rollout.spec.template or {})
    # A ReplicaSet also holds the API server's defaults, so that the newest revision is recognised by what
    # the Rollout says. An older one is another version even if all that differs was taken out since.
    if current == wanted or (target is known[0] and _is_part_of(current, wanted)):
        return Intent(
            message=f"skipped rollback (current template already matches revision {target.revision})"
        )
    return Intent(
        operations=({"op": "replace", "path": "/spec/template", "value": wanted},),
        on_workload=rollout.spec.workload_ref is not None,
    )


def _without_hash(template: Object) -> Object:
    """The template without the label that the engine adds for a revision."""
    meta = template.get("metadata") or {}
    labels = meta.get("labels") or {}
    if names.POD_TEMPLATE_HASH not in labels:
        return template
    rest = {key: value for key, value in labels.items() if key != names.POD_TEMPLATE_HASH}
    return {**template, "metadata": {**meta, "labels": rest}}


def _is_part_of(part: Any, whole: Any) -> bool:
    """Whether all that `part` says is said by `whole`; empty values say nothing."""
    if part in (None, "", [], {}):
        return True
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            _is_part_of(value, whole.get(key)) for key, value in part.items()
        )
    if isinstance(part, list):
        return (
            isinstance(whole, list)
            and len(part) <= len(whole)
            and all(map(_is_part_of, part, whole))
        )
    return bool(part == whole)


CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")


def set_images(rollout: Rollout, images: Mapping[str, str]) -> Intent:
    """Put images (container name to image; `*` is every container) into the template.

    The operations also test the containers' names. Raises Refused when there is no such container.
    """
    pod = (rollout.spec.template or {}).get("spec") or {}
    places = [
        (f"/spec/template/spec/{group}/{index}", container)
        for group in CONTAINER_LISTS
        for index, container in enumerate(pod.get(group) or ())
    ]
    operations: list[dict[str, Any]] = []
    for name, image in sorted(images.items()):
        found = [place for place in places if name in ("*", place[1].get("name"))]
        if not found:
            raise Refused(f'unable to find container named "{name}"')
        for path, container in found:
            if container.get("image") != image:
                test = {"op": "test", "path": f"{path}/name", "value": container.get("name")}
                operations += [test, {"op": "add", "path": f"{path}/image", "value": image}]
    return Intent(
        operations=tuple(operations),
        on_workload=rollout.spec.workload_ref is not None,
        message="" if operations else "these images are set already",
    )
