"""Suite phase: phase and message of a rollout, and the textual form of steps."""

from typing import Any

from agent.api.decode import read
from agent.api.rollout import Rollout, Step
from agent.rollout import phase
from agent.rollout.steps import describe
from tests.conformance.cases import Unsupported
from tests.conformance.compare import differences


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    rollout = read(Rollout, given.get("rollout") or {})
    match given["question"]:
        case "observed":
            return phase.observed_phase(rollout)._asdict()
        case "computed":
            return phase.computed_phase(rollout.spec, rollout.status)._asdict()
        case "step-text":
            return {"text": describe(read(Step, given["step"]))}
        case "promoted":
            return {
                "fullyPromoted": phase.is_fully_promoted(rollout.status),
                "unpausing": phase.is_unpausing(rollout.status),
            }
        case question:
            raise Unsupported(question)


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return differences(expect, _answer(given))
