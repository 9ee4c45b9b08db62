"""desired-weight: which weight the router is given in a state, and what is recorded of it."""

from typing import Any

from agent.api.decode import read, write
from agent.api.rollout import Rollout, SetHeaderRoute
from agent.rollout import managed_routes, replica_sets
from agent.rollout.weights import recorded_weights, wanted
from tests.conformance.cases import Unsupported
from tests.conformance.compare import differences


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    if "additional" in expect:
        raise Unsupported("experiments are not driven yet")
    rollout = read(Rollout, given["rollout"])
    if _goes_back_by_steps(rollout):
        raise Unsupported(
            "with dynamicStableScale, going back to stable follows its pods, not the steps"
        )
    new = replica_sets.view(given["canaryRS"]) if given.get("canaryRS") else None
    stable = replica_sets.view(given["stableRS"]) if given.get("stableRS") else None
    others = tuple(replica_sets.view(rs) for rs in given.get("otherRSs") or ())
    answer = wanted(rollout, new, stable, others)
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
        canary_hash = new.hash if new else ""
        got["canaryHash"], got["stableHash"] = canary_hash, status.stable_rs
        weights = recorded_weights(rollout, answer.weight, canary_hash, status.stable_rs)
        got["statusWeights"] = _full(write(weights))
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


def _goes_back_by_steps(rollout: Rollout) -> bool:
    status, strategy = rollout.status, rollout.spec.strategy.canary
    weights = status.canary.weights
    return bool(
        strategy
        and strategy.dynamic_stable_scale
        and weights
        and weights.canary.weight
        and status.stable_rs == status.current_pod_hash != weights.canary.pod_template_hash
    )


def _full(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights of 0 as the API writes them."""
    return {
        side: {"weight": 0, **weights[side]} for side in ("canary", "stable") if side in weights
    }
