"""expressions: results and conditions to the phase of a measurement, and expressions of times."""

from datetime import UTC, datetime
from typing import Any, Final

from agent.analysis.expression import evaluate_time
from agent.analysis.judge import judge
from agent.api.times import format_time
from agent.errors import Refused
from tests.conformance.compare import differences
from tests.conformance.compat import COMPAT

_NOW: Final = datetime(2024, 5, 1, 10, 0, 0, tzinfo=UTC)
_SPECIAL: Final = {"NaN": float("nan"), "+Inf": float("inf"), "-Inf": float("-inf")}
_FLOATS: Final = ("float", "floats", "optional-float")


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    if given["question"] == "time":
        return differences(expect, _time(given["expression"], expect))
    kind = given.get("resultType", "json")
    phase, message, *_ = judge(
        _typed(given.get("result"), kind),
        success=given.get("successCondition") or "",
        failure=given.get("failureCondition") or "",
        result_type=kind,
        compat=COMPAT.get(),
        now=_NOW,
    )
    got = {"phase": phase, "message": message}
    prefix = expect.get("messagePrefix")
    if prefix is not None:
        got["messagePrefix"] = message[: len(prefix)]
    return differences(expect, got)


def _time(text: str, expect: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"time": format_time(evaluate_time(text, _NOW))}
    except Refused as error:
        return {"error": True, "message": error.detail}


def _typed(value: Any, kind: str) -> Any:
    if isinstance(value, list):
        return [_typed(item, kind) for item in value]
    if kind in _FLOATS and isinstance(value, str):
        return _SPECIAL[value]
    return value
