"""What a measurement lacks, and what that comes to. PURE.

Nothing measured speaks for no revision. Argo's rules let silence pass (NaN compares false with everything,
`all` holds on an empty list, without a condition everything holds), so `safe` looks at the data as well.
"""

import math
from typing import Any, Final, Literal, NamedTuple, get_args

from agent.errors import Refused

Policy = Literal["error", "inconclusive", "ignore"]
"""What a measurement without data is: an error (tried again soon, a few in a row end the run), an
inconclusive answer (the rollout waits for a person), or nothing that counts (it is measured again)."""

EMPTY: Final = "empty"
NAN: Final = "NaN"
INFINITE: Final = "infinite"
UNASKED: Final = "unasked"

NO_DATA: Final = "metric result is nil or empty: no data returned from the metric provider"
NO_NUMBER: Final = "metric result is infinite: something was divided by nothing"
NOT_A_NUMBER: Final = "metric result is NaN: no data returned from the metric provider"

KIND: Final = "missingData"
"""In a measurement's metadata: what was missing."""
POLICY: Final = "missingDataPolicy"
"""In a measurement's metadata: `ignore` when the measurement does not count."""


class Missing(NamedTuple):
    """Something that a measurement lacks.

    Attributes:
        kind: no data, NaN, infinite, partial data, stale sample, query warning.
        text: for the user.
        needs: what a condition must ask for (EMPTY, NAN, INFINITE) to decide about it; UNASKED cannot be
            asked for.
        whole: nothing was measured at all, as against a hole in what was.
    """

    kind: str
    text: str
    needs: frozenset[str]
    whole: bool = False


def stale(text: str) -> Missing:
    """The samples are too old to speak for the present."""
    return Missing("stale sample", text, frozenset({UNASKED}), whole=True)


def partly(text: str) -> Missing:
    """Only a part was measured, and the provider knows."""
    return Missing("partial data", text, frozenset({UNASKED}))


def warned(text: str) -> Missing:
    """The provider itself doubts its answer."""
    return Missing("query warning", text, frozenset({UNASKED}))


def missing_in(value: Any) -> Missing | None:
    """What a result lacks by itself: nothing in it, no number, or holes among its items."""
    if value is None or value in ([], ""):
        return Missing("no data", NO_DATA, frozenset({EMPTY}), whole=True)
    items = value if isinstance(value, list) else [value]
    holes = [hole for item in items if (hole := _hole(item))]
    if not holes:
        return None
    needs = frozenset(holes)
    if len(holes) < len(items):
        text = f"{len(holes)} of {len(items)} values are no numbers: only a part was measured"
        return Missing("partial data", text, needs)
    if NAN in needs:
        return Missing("NaN", NOT_A_NUMBER, needs, whole=True)
    if INFINITE in needs:
        return Missing("infinite", NO_NUMBER, needs, whole=True)
    return Missing("no data", NO_DATA, needs, whole=True)


def missing_met(met: frozenset[str]) -> Missing | None:
    """What conditions met on their way: EMPTY, NAN."""
    if NAN in met:
        return Missing("NaN", "a comparison met NaN: it holds for no number", met)
    if EMPTY in met:
        text = "a part of the metric result that the condition reads is nil or empty"
        return Missing("no data", text, met)
    return None


def how_to_allow(missing: Missing) -> str:
    """The words for users who want silence to pass."""
    if UNASKED in missing.needs:
        return ""
    ways = {
        NAN: "isNaN(…)",
        INFINITE: "isInf(…)",
        EMPTY: "len(result) == 0 or a comparison with nil",
    }
    ask = ", ".join(way for need, way in ways.items() if need in missing.needs)
    return f" (no success without data; a condition that allows it asks for it: {ask})"


def policy_for(text: str, metric: str) -> Policy | None:
    """The policy that an annotation sets for a metric; None when it sets none.

    The text is a policy for all metrics, or `metric=policy` for one, or several of these with commas between:
    `inconclusive, latency=ignore`. Raises Refused for anything else.
    """
    found: dict[str, Policy] = {}
    for part in text.split(","):
        name, _, wanted = part.rpartition("=")
        known = next((policy for policy in get_args(Policy) if policy == wanted.strip()), None)
        if known is None:
            raise Refused(
                f"{part.strip()!r} is no policy for missing data: write one of"
                f" {', '.join(get_args(Policy))}, or metric=policy, with commas between"
            )
        found[name.strip()] = known
    return found.get(metric, found.get(""))


def _hole(value: Any) -> str:
    """Why a value says nothing; "" when it says something."""
    if value is None:
        return EMPTY
    if not isinstance(value, float) or math.isfinite(value):
        return ""
    return NAN if math.isnan(value) else INFINITE
