"""As much of PromQL as the checks look at: selectors, ratios, and what is beside an `or`. PURE.

No parser: what is not understood is not complained about.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_STRING: Final = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`"
_SKIPPED: Final = re.compile(rf"\#[^\n]*|{_STRING}")
_SELECTOR: Final = re.compile(
    rf"(?P<name>[a-zA-Z_:][\w:]*)?\s*\{{(?P<inner>(?:{_STRING}|[^{{}}\"'`])*)\}}"
)
_MATCHER: Final = re.compile(rf"([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*({_STRING})")


class Matcher(NamedTuple):
    """`label=~"value"`; the value without its quotes."""

    label: str
    operator: str
    value: str


class Selector(NamedTuple):
    """`name{matchers}`; `text` as it is written."""

    name: str
    matchers: tuple[Matcher, ...]
    text: str

    def has(self, *labels: str) -> bool:
        """Whether one of these labels is asked for."""
        return any(matcher.label in labels for matcher in self.matchers)


class Ratio(NamedTuple):
    """A division: the texts on both sides."""

    above: str
    below: str


def selectors(query: str) -> tuple[Selector, ...]:
    """The selectors with braces, in order."""
    found = []
    for match in _SELECTOR.finditer(query):
        matchers = tuple(
            Matcher(label, operator, value[1:-1])
            for label, operator, value in _MATCHER.findall(match["inner"])
        )
        name = match["name"] or next(
            (item.value for item in matchers if item.label == "__name__"), ""
        )
        found.append(Selector(name, matchers, match[0]))
    return tuple(found)


def ratios(query: str) -> Iterator[Ratio]:
    """Each division with its operands, as far out as brackets and weaker operators let them reach."""
    plain = _blanked(query)
    for at, char in enumerate(plain):
        if char == "/":
            start, end = _reach(plain, at, -1), _reach(plain, at, 1)
            yield Ratio(query[start:at], query[at + 1 : end])


def has_default(text: str) -> bool:
    """Whether an empty vector becomes something: `or vector(0)`, `or on() …`, `absent(…)`."""
    return bool(re.search(r"\bor\b|\babsent(_over_time)?\s*\(", _blanked(text)))


def _blanked(query: str) -> str:
    """The query with strings, comments, and the matchers of selectors blanked out, at the same length."""
    blanked = _SKIPPED.sub(lambda match: " " * len(match[0]), query)
    return re.sub(r"\{[^{}]*\}", lambda match: " " * len(match[0]), blanked)


def _reach(plain: str, at: int, step: int) -> int:
    """Where the operand beside an operator ends, going left (-1) or right (1)."""
    opening, closing = ("([", ")]") if step > 0 else (")]", "([")
    depth, place = 0, at + step
    while 0 <= place < len(plain):
        char = plain[place]
        if char in opening:
            depth += 1
        elif char in closing:
            if not depth:
                break
            depth -= 1
        elif not depth and char in "+-/<>=!,":
            break
        place += step
    return place + 1 if step < 0 else place
