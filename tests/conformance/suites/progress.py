"""Suite progress: what counts as progress, health, completion and a missed deadline; conditions."""

from typing import Any

from agent.api.decode import read, write
from agent.api.rollout import Condition, Rollout, RolloutStatus
from agent.api.times import parse_time
from agent.rollout import conditions
from tests.conformance.cases import Unsupported
from tests.conformance.compare import differences


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    rollout = read(Rollout, given.get("rollout") or {})
    status = read(RolloutStatus, given.get("newStatus") or {})
    match given["question"]:
        case "progressing":
            return {"progressing": conditions.is_progressing(rollout, status)}
        case "healthy":
            return {"healthy": conditions.is_healthy(rollout, status)}
        case "completed":
            return {"completed": conditions.is_completed(status)}
        case "timed-out":
            now = parse_time(given["now"])
            return {"timedOut": conditions.is_timed_out(rollout, status, now)}
        case "set-condition":
            after = conditions.put(status.conditions, read(Condition, given["condition"]))
            return {
                "changed": after != (status.conditions or []),
                "conditions": [write(condition) for condition in after],
            }
        case question:
            raise Unsupported(question)


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return differences(expect, _answer(given))
