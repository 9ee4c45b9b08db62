"""Conditions: what they make of data, of no data, and of no number, by the engine's own rules. PURE."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from agent.analysis.expression import asks
from agent.analysis.judge import judge
from agent.analysis.missing import EMPTY, NAN
from agent.analysis.verdict import Compat
from agent.api.names import SEQUENTIAL
from agent.lint.finding import Finding
from agent.lint.metrics import OneMetric, all_metrics
from agent.lint.world import Code, World, mapping

SRN211: Final = Code(
    "SRN211",
    "error",
    "a condition that cannot be evaluated",
    "Each measurement is an error; a few in a row end the run in phase Error, and the rollout is aborted.",
    "Correct the expression (docs/expressions.md). An instant query of Prometheus gives a list: write result[0].",
)
SRN212: Final = Code(
    "SRN212",
    "warning",
    "a condition that does not say what an empty answer means",
    "No traffic, a label that is gone, or a ratio without a numerator give an empty list. `result[0]` of it is an error,"
    " a few in a row abort the rollout; with compat: argo `all(…)` of it is a success.",
    "Decide it: `len(result) == 0 || result[0] >= 0.95` passes it, `len(result) > 0 && result[0] >= 0.95` fails it.",
)
SRN213: Final = Code(
    "SRN213",
    "warning",
    "a condition that does not say what NaN means",
    "A ratio without traffic is NaN, and every comparison with NaN is false: a successCondition fails, and with compat:"
    " argo a failureCondition alone passes.",
    "Decide it: `isNaN(result[0]) || result[0] >= 0.95`, or make the query answer a number.",
)
SRN214: Final = Code(
    "SRN214",
    "warning",
    "only a failureCondition",
    "Whatever is not proven to be a failure is a success: half an answer, the wrong series, one request.",
    "Write a successCondition as well; what is neither is inconclusive and pauses the rollout.",
)
SRN215: Final = Code(
    "SRN215",
    "error",
    "a metric without a condition",
    "Every answer is a success, whatever it says.",
    "Write a successCondition.",
)
CODES: Final = (SRN211, SRN212, SRN213, SRN214, SRN215)

_TAG: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_SAMPLES: Final = (0.5, 0.0, 1.0, 100.0)
_NO_CONDITIONS: Final = ("job", "kayenta", SEQUENTIAL)
"""Providers that decide by themselves."""
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


class _Conditions(NamedTuple):
    """Both conditions, with a number for each argument that only a run knows."""

    success: str
    failure: str

    def phase(self, value: Any, result_type: str, compat: Compat = "argo") -> tuple[str, str]:
        """Phase and message of a measurement with this result."""
        found = judge(
            value,
            success=self.success,
            failure=self.failure,
            result_type=result_type,
            compat=compat,
            now=_NOW,
        )
        return found.phase, found.message


def conditions(world: World) -> Iterator[Finding]:
    """One metric after the other."""
    for one in all_metrics(world):
        metric = one.metric
        if one.provider in _NO_CONDITIONS or not one.provider:
            continue
        asked = _Conditions(
            _TAG.sub("1", metric.success_condition), _TAG.sub("1", metric.failure_condition)
        )
        if not asked.success and not asked.failure:
            message = f"{one.field}: no successCondition, so every answer is a success"
            yield SRN215.at(one.one.item, one.field, message)
            continue
        field = f"{one.field}.{'successCondition' if asked.success else 'failureCondition'}"
        if not asked.success:
            message = f"{field}: alone, it lets everything pass that is no failure"
            yield SRN214.at(one.one.item, field, message)
        if one.provider == "prometheus":
            yield from _of_prometheus(one, asked, field)
        else:
            yield from _of_json(one, asked, field)


def _of_prometheus(one: OneMetric, asked: _Conditions, field: str) -> Iterator[Finding]:
    is_scalar = one.query.lstrip().startswith("scalar(")
    ranged = mapping(one.metric.provider, "prometheus", "rangeQuery")
    type_ = "float" if is_scalar and not ranged else "floats"
    wrong = _always_error(asked, type_)
    if wrong:
        yield SRN211.at(one.one.item, field, f"{field}: {wrong}")
        return
    known = asks(asked.success) | asks(asked.failure)
    text = asked.success or asked.failure
    if type_ == "floats" and EMPTY not in known:
        phase, _ = asked.phase([], type_)
        message = f'{field}: "{text}" of an empty answer is {_words(phase)}'
        yield SRN212.at(one.one.item, field, message)
    if NAN not in known:
        nan = float("nan")
        phase, _ = asked.phase(nan if type_ == "float" else [nan], type_)
        if phase != "Error":
            message = f'{field}: "{text}" of NaN (no traffic) is {_words(phase)}'
            yield SRN213.at(one.one.item, field, message)


def _always_error(asked: _Conditions, type_: str) -> str:
    """What is wrong when no number can be judged; "" when some can."""
    said = ""
    for number in _SAMPLES:
        value = number if type_ == "float" else [number] * 8
        phase, message = asked.phase(value, type_)
        if phase != "Error":
            return ""
        said = said or message
    return said


def _of_json(one: OneMetric, asked: _Conditions, field: str) -> Iterator[Finding]:
    """The shape of the answer is not known: only what fails for every shape is reported."""
    said = ""
    for value in (0.5, "text", [0.5], {"result": 0.5}, True, [{"value": 1.0}]):
        phase, message = asked.phase(value, "json")
        if phase != "Error" or "cannot fetch" in message or "nil" in message:
            return
        said = said or message
    yield SRN211.at(one.one.item, field, f"{field}: {said}")


def _words(phase: str) -> str:
    return {
        "Error": "an error; a few in a row abort the rollout",
        "Failed": "failed, which aborts the rollout",
        "Successful": "a success with compat: argo",
        "Inconclusive": "inconclusive, which pauses the rollout",
    }[phase]
