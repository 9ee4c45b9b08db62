"""Suite operator-actions: the patches that Argo's command line would send."""

import copy
from typing import Any

from agent.api.decode import read
from agent.api.meta import Object
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.rollout import operator
from agent.rollout.operator import Intent
from agent.rollout.replica_sets import view
from tests.conformance.cases import Unsupported
from tests.conformance.compare import object_differences, set_differences, value_differences


def _rollout(given: dict[str, Any]) -> Rollout:
    """The vectors leave the name out, but messages hold it."""
    manifest = given["rollout"]
    return read(
        Rollout, {**manifest, "metadata": {"name": "guestbook", **manifest.get("metadata", {})}}
    )


def _intent(given: dict[str, Any]) -> Intent:
    rollout = _rollout(given)
    match given["action"]:
        case "promote":
            return operator.promote(rollout)
        case "promote-full":
            return operator.promote_full(rollout)
        case "promote-skip-current-step":
            return operator.skip_current_step(rollout)
        case "promote-skip-all-steps":
            return operator.skip_all_steps(rollout)
        case "abort":
            return operator.ABORT
        case "retry":
            return operator.RETRY
        case "pause":
            return operator.PAUSE
        case "restart":
            return operator.restart(given["restartAt"])
        case "undo":
            sets = [view(item) for item in given["replicaSets"]]
            return operator.undo(rollout, sets, given.get("toRevision") or 0)
        case "set-image":
            return operator.set_images(rollout, {given["container"]: given["image"]})
        case action:
            raise Unsupported(action)


def _applied(manifest: Object, intent: Intent) -> Object:
    """The manifest after the operations (`test`, and `add` or `replace` of members)."""
    result = copy.deepcopy(manifest)
    for operation in intent.operations:
        parts = operation["path"].split("/")[1:]
        place: Any = result
        for part in parts[:-1]:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if operation["op"] == "test":
            assert place[parts[-1]] == operation["value"]
        else:
            place[parts[-1]] = operation["value"]
    return result


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    try:
        intent = _intent(given)
    except Refused as error:
        return value_differences(expect.get("error"), str(error), path="error")
    if "error" in expect:
        return [f"error: expected {expect['error']!r}, but it was accepted"]
    wrong = []
    if "patches" in expect:
        patches = [{"target": patch.target, "patch": patch.body} for patch in intent.patches]
        wrong += set_differences(expect["patches"], patches, path="patches")
    if "message" in expect:
        wrong += value_differences(expect["message"], intent.message, path="message")
    for member in ("template", "templateRestored"):
        if member in expect:
            template = _applied(given["rollout"], intent)["spec"]["template"]
            wrong += object_differences(expect[member], template, path=member)
    return wrong
