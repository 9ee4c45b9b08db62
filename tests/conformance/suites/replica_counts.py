"""Suite replica-counts: how many pods each ReplicaSet should have."""

from typing import Any

from agent.api.decode import read
from agent.api.rollout import ReplicaProgressThreshold, Rollout, TrafficWeights
from agent.rollout import replicas, sizing
from agent.rollout.replica_sets import ReplicaSetView, view
from tests.conformance.cases import Unsupported
from tests.conformance.compare import differences


def _view(obj: dict[str, Any] | None) -> ReplicaSetView | None:
    return None if obj is None else view(obj)


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    rollout = read(Rollout, given.get("rollout") or {})
    canary, stable = _view(given.get("canaryRS")), _view(given.get("stableRS"))
    others = [view(item) for item in given.get("olderRSs") or []]
    recorded = given.get("weights")
    weights = None if recorded is None else read(TrafficWeights, recorded)
    match given["question"]:
        case "basic":
            return sizing.basic_sizes(rollout, canary, stable, others)._asdict()
        case "traffic-routed":
            return replicas.routed_sizes(rollout, canary, stable, weights)._asdict()
        case "ideal":
            return replicas.ideal_sizes(
                given["replicas"], given["weight"], given["maxTrafficWeight"], given["maxSurge"]
            )._asdict()
        case "at-desired":
            return {"atDesired": sizing.at_desired(rollout, canary, stable, others, weights)}
        case "progress-threshold":
            threshold = given.get("threshold")
            met = replicas.threshold_met(
                None if threshold is None else read(ReplicaProgressThreshold, threshold),
                _view(given.get("replicaSet")),
                given["desired"],
            )
            return {"met": met}
        case "surge-and-unavailable":
            return {
                "maxSurge": replicas.max_surge(rollout),
                "maxUnavailable": replicas.max_unavailable(rollout),
            }
        case "current-set-weight":
            return {"weight": replicas.current_set_weight(rollout)}
        case "desired-canary-size":
            return replicas.canary_size(rollout, canary, stable)._asdict()
        case "blue-green-new":
            every = [view(item) for item in given["allRSs"]]
            return {"replicas": replicas.preview_size(rollout, view(given["newRS"]), every)}
        case question:
            raise Unsupported(question)


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return differences(expect, _answer(given))
