"""desired-weight: which weight the router is given in a state, and what is recorded of it."""

from typing import Any

from agent.api.decode import read, write
from agent.api.rollout import Rollout, SetHeaderRoute
from agent.rollout import managed_routes, replica_sets
from agent.rollout.weights import recorded_weights, wanted
from tests.conformance.compare import differences
from tests.conformance.compat import COMPAT


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    rollout = read(Rollout, given["rollout"])
    new = replica_sets.view(given["canaryRS"]) if given.get("canaryRS") else None
    stable = replica_sets.view(given["stableRS"]) if given.get("stableRS") else None
    others = tuple(replica_sets.view(rs) for rs in given.get("otherRSs") or ())
    answer = wanted(
        rollout, new, stable, others, experiment=given.get("experiment"), compat=COMPAT.get()
    )
    got: dict[str, Any] = {
        "weight": answer.weight,
        "managedRoutesRemoved": answer.managed_routes_removed,
    }
    # Both may be said of one state: the removal wins then, here as in what the user sees.
    asked = managed_routes.of_step(rollout)
    if isinstance(asked, SetHeaderRoute):
        got["setHeaderRoute"] = asked.name
    elif asked is not None:
        got["setMirrorRoute"] = asked.name
    if answer.weight is not None:
        status = rollout.status
        canary_hash = _canary_hash(rollout, answer.weight, new.hash if new else "")
        got["canaryHash"], got["stableHash"] = canary_hash, status.stable_rs
        weights = recorded_weights(
            rollout, answer.weight, canary_hash, status.stable_rs, answer.additional
        )
        got["statusWeights"] = _full(write(weights))
        if answer.additional:
            got["additional"] = write(weights)["additional"]
        promoted = status.stable_rs == status.current_pod_hash
        if (
            status.abort
            and not promoted
            and given.get("canaryServiceHash") != status.stable_rs
            and answer.weight == 0
        ):
            got["canaryServiceSwitchedTo"] = status.stable_rs
    expect = {key: value for key, value in expect.items() if key != "weightMovesBeforeHashes"}
    return differences(expect, got)


def _canary_hash(rollout: Rollout, weight: int, new: str) -> str:
    """The version whose weight it is: going back to stable, that is the one before."""
    status, weights = rollout.status, rollout.status.canary.weights
    if status.stable_rs == status.current_pod_hash and weights and weight:
        return weights.canary.pod_template_hash
    return new


def _full(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights of 0 as the API writes them."""
    full = {
        side: {"weight": 0, **weights[side]} for side in ("canary", "stable") if side in weights
    }
    return full | ({"additional": weights["additional"]} if "additional" in weights else {})
