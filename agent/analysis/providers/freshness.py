"""Whether a query looks at live series: a second question to Prometheus, about the series behind a rate. PURE.

A range such as `x[2m]` hides two kinds of silence. When a target is gone, its series end at once, but for two
minutes a rate goes on giving the last ratio. And a series that begins within the range with a value of 500
has a rate of 0: what happened before its first sample is not seen. Both look like health.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from agent.analysis.missing import Missing, partly, stale

MAX_SELECTORS: Final = 8
_STRING: Final = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`"
_TOKEN: Final = re.compile(
    rf"\#[^\n]*|{_STRING}"
    rf"|(?P<selector>(?:[a-zA-Z_:][\w:]*\s*)?(?:\{{(?:{_STRING}|[^{{}}\"'`])*\}}|(?<=[\w:]\b)))"
    r"\s*\[\s*(?P<window>[0-9][0-9a-z]*)\s*\](?!\s*(?:offset\b|@))"
)
_RATE: Final = re.compile(r"\b(rate|irate|increase)\s*\(\s*$")
_LABEL: Final = "serinus_probe"


class Ranged(NamedTuple):
    """A range of a query: its selector, its window, and whether a rate is made of it."""

    selector: str
    window: str
    rated: bool


def ranges(query: str) -> tuple[Ranged, ...]:
    """The ranges of a query, as far as they end now (no `offset`, no `@`, no subquery)."""
    found = []
    for token in _TOKEN.finditer(query):
        selector = (token["selector"] or "").strip()
        if selector:
            rated = bool(_RATE.search(query[: token.start()]))
            found.append(Ranged(selector, token["window"], rated))
    return tuple(dict.fromkeys(found))[:MAX_SELECTORS]


def question(found: Sequence[Ranged]) -> str:
    """One query for what is to be known of all ranges: live or not, events seen, events before the first sample."""
    parts = []
    for index, (selector, window, rated) in enumerate(found):
        parts.append(_labelled(f"live {index}", f"group({selector})"))
        if rated:
            born = f"min_over_time({selector}[{window}]) unless {selector} offset {window}"
            parts.append(_labelled(f"unseen {index}", f"sum({born})"))
            parts.append(_labelled(f"seen {index}", f"sum(increase({selector}[{window}]))"))
    return " or ".join(parts)


def _labelled(name: str, expression: str) -> str:
    return f'label_replace({expression}, "{_LABEL}", "{name}", "", "")'


def doubt(found: Sequence[Ranged], result: Sequence[Mapping[str, Any]]) -> Missing | None:
    """What the answer to the question says against the data. Raises ValueError, KeyError for an odd answer."""
    known = {str(sample["metric"][_LABEL]): float(sample["value"][1]) for sample in result}
    if found and not any(name.startswith("live") for name in known):
        return stale(
            f"no series of {found[0].selector} is live any more: the query only sees what is left of them"
            f" in [{found[0].window}]"
        )
    for index, (selector, window, _) in enumerate(found):
        unseen, seen = (known.get(f"{name} {index}", 0.0) for name in ("unseen", "seen"))
        if unseen > seen:
            return partly(
                f"series of {selector} began within [{window}] with {unseen:g}, which no rate sees;"
                f" it sees {seen:g}"
            )
    return None
