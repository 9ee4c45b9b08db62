"""Whether a rollout is still what the sender of a command saw."""

from agent.api.meta import Object
from agent.engine.observe import Objects
from agent.engine.revision import revision_number
from agent.errors import Refused
from agent.events.catalogue import Expect


def check_expected(objects: Objects, rollout: Object, expect: Expect | None) -> None:
    """Raises Refused, with the field, when it is not. What is not expected may be anything."""
    if expect is None:
        return
    status = rollout.get("status") or {}
    owned = objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", "")))
    revision = revision_number(rollout, tuple(owned))
    if expect.revision and expect.revision != revision:
        raise Refused(f"expected {expect.revision}, it is {revision}", field="revision")
    index = status.get("currentStepIndex")
    if expect.step_index is not None and expect.step_index != index:
        raise Refused(f"expected {expect.step_index}, it is {index}", field="stepIndex")
    started = [item.get("startTime") for item in status.get("pauseConditions") or ()]
    if expect.pause_start_time and expect.pause_start_time not in started:
        raise Refused(
            f"the pause that started at {expect.pause_start_time} is over", field="pauseStartTime"
        )
