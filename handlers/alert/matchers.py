"""Alertmanager's matcher syntax: `severity="critical", team=~"pay.*"`. Pure.

Reference: Alertmanager's configuration documentation, "Matcher". Regular expressions are RE2 and
anchored at both ends, as there. An absent label counts as "".
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from agent.api.regex import BadPattern, compile_pattern
from agent.errors import Refused

Operator = Literal["=", "!=", "=~", "!~"]

_NAME: Final = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|!~|!=|=)\s*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*')
_BARE: Final = re.compile(r'([^\s,"{}]+)\s*')
_ESCAPE: Final = re.compile(r"\\(.)")
MAX_LENGTH: Final = 4_096


class Matcher(msgspec.Struct, frozen=True):
    """One condition on a label."""

    name: str
    operator: Operator
    value: str

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels satisfy the condition."""
        actual = labels.get(self.name, "")
        if self.operator == "=":
            return actual == self.value
        if self.operator == "!=":
            return actual != self.value
        found = compile_pattern(self.value).fullmatch(actual) is not None
        return found if self.operator == "=~" else not found


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers of a comma-separated list, optionally in braces. Raises Refused with the position."""
    if len(text) > MAX_LENGTH:
        raise Refused(f"matchers are longer than {MAX_LENGTH} characters")
    stripped = text.strip()
    if stripped.startswith("{") != stripped.endswith("}"):
        raise Refused(f"unbalanced braces in {text!r}")
    body = stripped[1:-1] if stripped.startswith("{") else stripped
    matchers: list[Matcher] = []
    position = 0
    while body[position:].strip():
        if matchers:
            if body[position] != ",":
                raise Refused(f"expected a comma at {body[position:]!r}")
            position += 1
            if not body[position:].strip():  # a trailing comma is allowed
                break
        matcher, position = _one(body, position)
        matchers.append(matcher)
    if not matchers:
        raise Refused('no matcher; write for example severity="critical"')
    return tuple(matchers)


def _one(body: str, position: int) -> tuple[Matcher, int]:
    head = _NAME.match(body, position)
    if head is None:
        raise Refused(f"expected label, operator (= != =~ !~) and value at {body[position:]!r}")
    quoted = _QUOTED.match(body, head.end())
    value = quoted or _BARE.match(body, head.end())
    if value is None:
        raise Refused(f"expected a value after {head.group(0).strip()!r}")
    text = _unescape(value.group(1)) if quoted else value.group(1)
    operator: Any = head.group(2)
    if operator in ("=~", "!~"):
        try:
            compile_pattern(text)
        except BadPattern as error:
            raise Refused(f"{text!r} is not a regular expression (RE2): {error}") from error
    return Matcher(head.group(1), operator, text), value.end()


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda m: "\n" if m.group(1) == "n" else m.group(1), text)
