"""Phase of one measurement: Argo's rules for its conditions, and what `safe` makes of missing data. PURE."""

from datetime import datetime
from typing import Any, NamedTuple

from agent.analysis.expression import Evaluated, ExpressionError, asks, evaluate_condition
from agent.analysis.missing import (
    NO_DATA,
    Missing,
    Policy,
    how_to_allow,
    missing_in,
    missing_met,
)
from agent.analysis.verdict import Compat


class Judged(NamedTuple):
    """The phase of a measurement.

    Attributes:
        missing: what the data lacked, unless a condition asks for just that; None in `argo`.
        counts: False when the policy is to leave the measurement out of all counters.
    """

    phase: str
    message: str = ""
    missing: Missing | None = None
    counts: bool = True


def judge(
    value: Any,
    *,
    success: str,
    failure: str,
    result_type: str,
    compat: Compat,
    policy: Policy = "error",
    noted: Missing | None = None,
    now: datetime | None = None,
) -> Judged:
    """Phase and message of a measurement with this result.

    In `safe`, missing data is never success unless a condition asks for it (`len(result) == 0`, `isNaN`,
    `isNil`, `default`, `??`, a comparison with nil). By the policy `error` that is all: what Argo calls
    failed or inconclusive stays so. The other policies are the user's will, so they also take a condition
    that does not hold on no data at all; a failureCondition that holds is a failure in any case.

    Args:
        value: JSON-like: None, bool, int, float, str, list or dict.
        success, failure: the conditions, "" when not given.
        result_type: what the provider hands over: json, float, int, floats, ints, strings, maps,
            optional-float. Numbers are floats unless it is one of ints.
        noted: what the provider itself knows to be missing.
        now: what `now()` gives; without it the function is refused.
    """
    held: dict[str, Evaluated] = {}
    argo = Judged("")
    for label, text in (("successCondition", success), ("failureCondition", failure)):
        if text:
            try:
                held[label] = evaluate_condition(text, value, result_type, now)
            except ExpressionError as error:
                cause = NO_DATA if value is None or value == [] else str(error)
                argo = Judged("Error", f'could not evaluate {label} "{text}": {cause}')
                break
    if not argo.phase:
        argo = Judged(_outcome(held.get("successCondition"), held.get("failureCondition")))
    if compat == "argo":
        return argo
    missing = _missing(value, held, asks(success) | asks(failure), noted)
    if missing is None:
        return argo
    failed = held.get("failureCondition")
    asking = f'successCondition "{success}"' if success else f'failureCondition "{failure}"'
    return _by_policy(
        argo,
        missing,
        policy,
        proven=bool(failed and failed.holds),
        asking=asking if success or failure else "a metric without conditions",
    )


def _outcome(success: Evaluated | None, failure: Evaluated | None) -> str:
    if failure and failure.holds:
        return "Failed"
    if success is None or success.holds:
        return "Successful"
    return "Failed" if failure is None else "Inconclusive"


def _missing(
    value: Any, held: dict[str, Evaluated], asked: frozenset[str], noted: Missing | None
) -> Missing | None:
    """The gravest that is missing and that no condition asks for."""
    met = frozenset().union(*(evaluated.met for evaluated in held.values()))
    found = (noted, missing_in(value), missing_met(met - asked))
    open_ = [missing for missing in found if missing and missing.needs - asked]
    return next((missing for missing in open_ if missing.whole), open_[0] if open_ else None)


def _by_policy(
    argo: Judged, missing: Missing, policy: Policy, *, proven: bool, asking: str
) -> Judged:
    chosen = policy != "error" and missing.whole and not proven
    if argo.phase != "Successful" and not chosen:
        return argo._replace(missing=missing)
    text = f"{missing.text}{how_to_allow(missing)}"
    if policy == "error":
        return Judged("Error", f"could not evaluate {asking}: {text}", missing)
    return Judged(
        "Inconclusive", f"{text}; by policy: {policy}", missing, counts=policy != "ignore"
    )
