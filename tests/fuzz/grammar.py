"""Random expressions: mostly well-typed ones by a grammar, and broken ones from known good ones."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

RESULTS: Final[tuple[tuple[str, Any], ...]] = (
    *(("float", value) for value in (0.0, 0.5, 1.0, -2.5, 99.9, 1e21, "NaN", "+Inf", "-Inf")),
    *(("int", value) for value in (0, 1, -7, 42)),
    ("optional-float", None),
    *(("floats", value) for value in ([], [0.99], [1.0, 2.5, -3.0], ["NaN"], [0.5, "NaN", 2.0])),
    *(("ints", value) for value in ([], [3, 1, 2])),
    *(("strings", value) for value in ([], ["a", "b b", "é"])),
    ("maps", [{"env": "prod", "rate": 0.5}, {"env": "dev", "rate": None}]),
    *(("json", value) for value in (None, True, 3, "Hello, World", "", [], {})),
    ("json", [1, "a", None, [2, [3]], {"k": 1}]),
    ("json", {"ok": True, "rate": 0.99, "name": "checkout", "none": None, "n": {"p99": 120}}),
    ("json", {"data": {"codes": [200, 200, 500], "s": ["x", "y"]}, "list": [{"v": 1}, {"v": 2}]}),
)
_TEXTS: Final = ("", "a", "abc", "prod", "Hello", "1", "1.5", "a,b,c", "éü", "  x ", "{\\\"a\\\":[1]}")
_PATTERNS: Final = ("a.c", "^H", "[0-9]+", "(?i)PROD", "b$", "(", "\\\\d{2}")
_KINDS: Final[dict[type, str]] = {
    **{bool: "bool", int: "number", float: "number"},
    **{str: "text", list: "list", dict: "map"},
}
_FIELDS: Final = ("ok", "rate", "name", "none", "n", "data", "list", "env", "v", "k", "p99", "codes")
_TOKENS: Final = re.compile(r"\s+|\w+|\"[^\"]*\"|'[^']*'|\?\.|\?\?|\*\*|\.\.|[<>=!]=|&&|\|\||.")
_SPARE: Final = (
    *("result", "#", "[0]", "(", ")", "{", "}", "[", "]", ".", "?.", "??", "..", ",", ":", "?", "|"),
    *("+", "-", "*", "/", "%", "**", "==", "!=", "<", ">=", "&&", "||", "or", "not", "!", "in", ";"),
    *("1", "0.5", "'a'", "nil", "true", "len", "all", "map", "let x = 1;", "if", "else", "matches"),
    *("#acc", "#index", ".rate", "0x1F", "1e3", "1_000", "-1", "$env", "::", "b'x'", "`r`"),
)


class Grammar:
    """Makes expressions; the same seed makes the same ones."""

    def __init__(self, random: Random, corpus: Sequence[str] = ()) -> None:
        self._random = random
        self._corpus = list(corpus)
        self._variables: list[str] = []
        self._inside = 0
        self._paths: dict[str, list[str]] = {}

    def expression(self, result: Any = None) -> str:
        """One expression for a result, now and then a broken one."""
        self._variables, self._inside = [], 0
        self._paths = paths(result)
        kind = self._random.random()
        if self._corpus and kind < 0.25:
            return self._mutated(self._random.choice(self._corpus))
        text = self._any(self._random.randint(1, 4))
        return self._mutated(text) if kind > 0.9 else text

    def _mutated(self, text: str) -> str:
        tokens = _TOKENS.findall(text)
        for _ in range(self._random.randint(1, 3)):
            place = self._random.randint(0, len(tokens))
            match self._random.randint(0, 3):
                case 0 if place < len(tokens):
                    tokens.pop(place)
                case 1:
                    tokens.insert(place, f" {self._random.choice(_SPARE)} ")
                case 2 if place < len(tokens):
                    tokens[place] = self._random.choice(_SPARE)
                case _ if tokens:
                    tokens.insert(place, self._random.choice(tokens))
        return "".join(tokens)

    def _pick(self, *makers: Callable[[int], str], depth: int) -> str:
        if self._random.random() < 0.015:
            return self._any(depth - 1)
        return self._random.choice(makers)(depth - 1)

    def _any(self, depth: int) -> str:
        kinds = (self._bool, self._number, self._text, self._list, self._map, self._data, self._time)
        return self._random.choice(kinds)(depth)

    def _fitting(self, kind: str) -> Callable[[int], str]:
        """A place of the result that holds such a value, or any place."""

        def read(depth: int) -> str:
            known = self._paths.get(kind, [])
            if self._inside and self._random.random() < 0.5:
                return "#"
            if known and self._random.random() < 0.9:
                return self._random.choice(known)
            return self._data(depth)

        return read

    def _same(self, depth: int) -> str:
        """A comparison of two values of one kind."""
        kinds = (self._bool, self._number, self._text, self._list, self._time)
        make = self._random.choice(kinds)
        return f"({make(depth)} {self._random.choice(('==', '!='))} {make(depth)})"

    def _within(self, depth: int) -> str:
        make = self._random.choice((self._number, self._text))
        items = ", ".join(make(max(0, depth - 1)) for _ in range(self._random.randint(1, 3)))
        return f"({make(depth)} {self._random.choice(('in', 'not in'))} [{items}])"

    def _data(self, depth: int) -> str:
        """Something that reads the result."""
        choice = self._random.choice
        base = "result"
        if self._variables and self._random.random() < 0.3:
            base = choice(self._variables)
        if self._inside and self._random.random() < 0.6:
            base = choice(("#", "#", "#", "#index", "#acc"))
        for _ in range(self._random.randint(0, 3)):
            step = self._random.randint(0, 6)
            if step == 0:
                base += f"[{choice(('0', '-1', '1', '7', '1.0'))}]"
            elif step == 1:
                base += f"[{self._number(max(0, depth - 1))}]"
            elif step == 2:
                base += f"[{choice(('0', '', '-2'))}:{choice(('', '1', '-1', '9'))}]"
            elif step == 3:
                base += f'?.["{choice(_FIELDS)}"]'
            else:
                base += choice((".", ".", "?.")) + choice(_FIELDS)
        if self._random.random() < 0.2:
            base = f"({base} ?? {self._any(max(0, depth - 1))})"
        return base

    def _bool(self, depth: int) -> str:
        choice = self._random.choice
        if depth <= 0:
            return choice(("true", "false", "result == nil", "isNil(result)"))
        return self._pick(
            lambda d: f"{self._number(d)} {choice(('<', '>', '<=', '>=', '==', '!='))} {self._number(d)}",
            lambda d: f"{self._number(d)} < {self._number(d)} <= {self._number(d)}",
            lambda d: f"{self._text(d)} {choice(('contains', 'startsWith', 'endsWith', '==', '<', 'not contains'))} {self._text(d)}",
            lambda d: f'{self._text(d)} matches "{choice(_PATTERNS)}"',
            self._same,
            self._within,
            self._fitting("bool"),
            lambda d: f"{self._any(d)} {choice(('==', '!='))} nil",
            lambda d: f"{self._text(d)} in {self._map(d)}",
            lambda d: f"({self._bool(d)} {choice(('&&', '||', 'and', 'or'))} {self._bool(d)})",
            lambda d: f"{choice(('!', 'not '))}({self._bool(d)})",
            lambda d: self._predicated(choice(("all", "any", "none", "one")), self._bool, d),
            lambda d: f"{choice(('isNaN', 'isInf', 'isNil'))}({self._number(d)})",
            lambda d: f"{choice(('hasPrefix', 'hasSuffix'))}({self._text(d)}, {self._text(d)})",
            lambda d: f"{self._time(d)} {choice(('<', '==', '>='))} {self._time(d)}",
            lambda d: f"{self._predicated('count', self._bool, d)} {choice(('>', '>=', '<', '<=', '=='))} {choice('0123')}",
            lambda d: f"default({self._any(d)}, {self._number(d)}) {choice(('<', '>'))} 1",
            depth=depth,
        )

    def _number(self, depth: int) -> str:
        choice = self._random.choice
        if depth <= 0:
            literals = ("0", "1", "2", "3", "-1", "0.5", "1e3", "7", "100", "0x1F", "9223372036854775807")
            return self._fitting("number")(0) if self._random.random() < 0.4 else choice(literals)
        return self._pick(
            self._fitting("number"),
            self._fitting("number"),
            lambda d: f"({self._number(d)} {choice(('+', '-', '*', '/', '**'))} {self._number(d)})",
            lambda d: f"({choice(('int', 'asInt', 'bitnot'))}({self._number(d)}) % {choice(('2', '3', '-7', 'len(result)'))})",
            lambda d: f"{self._number(d)} {choice(('+', '-', '*'))} {self._number(d)}",
            lambda d: f"-({self._number(d)})",
            lambda d: f"{choice(('abs', 'ceil', 'floor', 'round', 'int', 'float', 'asInt', 'asFloat'))}({self._number(d)})",
            lambda d: f"{choice(('int', 'float', 'asInt', 'asFloat'))}({self._text(d)})",
            lambda d: f"len({choice((self._list, self._text, self._map))(d)})",
            lambda d: f"{choice(('min', 'max', 'mean', 'median', 'sum'))}({self._list(d)})",
            lambda d: f"{choice(('min', 'max', 'mean', 'median'))}({self._number(d)}, {self._number(d)})",
            lambda d: self._predicated(choice(("count", "findIndex", "findLastIndex")), self._bool, d),
            lambda d: self._predicated("sum", self._number, d),
            self._reduced,
            lambda d: f"{choice(('bitand', 'bitor', 'bitxor', 'bitnand', 'bitshl', 'bitshr', 'bitushr'))}({self._number(d)}, {self._number(d)})",
            lambda d: f"bitnot({self._number(d)})",
            lambda d: f"{choice(('indexOf', 'lastIndexOf'))}({self._text(d)}, {self._text(d)})",
            lambda d: f"({self._bool(d)} ? {self._number(d)} : {self._number(d)})",
            lambda d: f"if {self._bool(d)} {{ {self._number(d)} }} else {{ {self._number(d)} }}",
            lambda d: f"{self._list(d)}[{choice(('0', '-1', '1'))}]",
            lambda d: f"{choice(('first', 'last'))}({self._list(d)})",
            lambda d: f"{self._list(d)} | {choice(('len', 'sum', 'max', 'first'))}()",
            lambda d: f"duration({choice((chr(34) + '90s' + chr(34), chr(34) + '1h30m' + chr(34)))}).{choice(('Seconds', 'Minutes', 'Hours', 'Milliseconds', 'Nanoseconds'))}()",
            lambda d: f"{self._time(d)}.{choice(('Year', 'Day', 'Unix', 'Hour', 'YearDay', 'UnixMilli'))}()",
            lambda d: f'get({choice((self._list, self._map))(d)}, {choice((self._number, self._text))(d)})',
            self._let,
            depth=depth,
        )

    def _text(self, depth: int) -> str:
        choice = self._random.choice
        if depth <= 0:
            return f'"{choice(_TEXTS)}"'
        return self._pick(
            self._fitting("text"),
            lambda d: f"({self._text(d)} + {self._text(d)})",
            lambda d: f"{choice(('upper', 'lower', 'trim', 'trimPrefix', 'trimSuffix', 'toBase64', 'fromBase64'))}({self._text(d)})",
            lambda d: f"{choice(('trim', 'trimPrefix', 'trimSuffix'))}({self._text(d)}, {self._text(d)})",
            lambda d: f"replace({self._text(d)}, {self._text(d)}, {self._text(d)})",
            lambda d: f"replace({self._text(d)}, {self._text(d)}, {self._text(d)}, {choice(('0', '1', '-1', '2'))})",
            lambda d: f"repeat({self._text(d)}, {choice(('0', '1', '3', '-1', 'len(result)'))})",
            lambda d: f"join({choice(('split(' + self._text(d) + ', ' + self._text(d) + ')', self._list(d)))}, {self._text(d)})",
            lambda d: f"string({self._any(d)})",
            lambda d: f"type({self._any(d)})",
            lambda d: f"toJSON({self._any(d)})",
            lambda d: f"{self._text(d)}[{choice(('0', '1', '', '-2'))}:{choice(('', '2', '-1', '99'))}]",
            lambda d: f"({self._bool(d)} ? {self._text(d)} : {self._text(d)})",
            lambda d: f'{self._time(d)}.Format("{choice(("2006-01-02", "15:04:05", "Jan 2, 2006 at 3:04PM", "Mon 02 January 06"))}")',
            lambda d: f"{self._time(d)}.{choice(('Weekday', 'Month'))}().String()",
            depth=depth,
        )

    def _list(self, depth: int) -> str:
        choice = self._random.choice
        if depth <= 0:
            return choice(("[]", "[1, 2, 3]", "[0.5, 2]", '["a", "b"]', "[nil]", "1..4", "[[1], [2]]", "[true, false]"))
        return self._pick(
            self._fitting("list"),
            self._fitting("list"),
            lambda d: f"[{', '.join(self._any(d) for _ in range(self._random.randint(0, 3)))}]",
            lambda d: f"[{', '.join(self._number(d) for _ in range(self._random.randint(1, 3)))}]",
            lambda d: f"{choice(('0', '1', '-2'))}..{choice(('0', '3', '5'))}",
            lambda d: self._predicated("filter", self._bool, d),
            lambda d: self._predicated("map", self._any, d),
            lambda d: self._predicated(choice(("find", "findLast")), self._bool, d),
            lambda d: self._predicated("sortBy", self._number, d),
            lambda d: f"{choice(('sort', 'reverse', 'uniq', 'flatten'))}({self._list(d)})",
            lambda d: f'sort({self._list(d)}, "{choice(("asc", "desc", "up"))}")',
            lambda d: f"concat({self._list(d)}, {self._list(d)})",
            lambda d: f"take({self._list(d)}, {choice(('0', '1', '9', '-1', 'len(result)'))})",
            lambda d: f"sort(keys({self._map(d)}))",
            lambda d: f"{choice(('values', 'toPairs', 'keys'))}({{k: {self._any(d)}}})",
            lambda d: f"{choice(('split', 'splitAfter'))}({self._text(d)}, {self._text(d)})",
            lambda d: f"split({self._text(d)}, {self._text(d)}, {choice(('0', '1', '2', '-1'))})",
            lambda d: f"{self._list(d)}[{choice(('0', '1', '', '-2'))}:{choice(('', '2', '-1'))}]",
            lambda d: f"({self._bool(d)} ? {self._list(d)} : {self._list(d)})",
            depth=depth,
        )

    def _map(self, depth: int) -> str:
        choice = self._random.choice
        if depth <= 0:
            return choice(("{}", "{a: 1, b: 2}", '{"k": nil}', "{1: true}"))
        return self._pick(
            self._fitting("map"),
            lambda d: f"{{{choice(_FIELDS)}: {self._any(d)}, b: {self._any(d)}}}",
            lambda d: f"{{({self._text(d)}): {self._any(d)}}}",
            lambda d: self._predicated("groupBy", self._any, d),
            lambda d: f"fromPairs([[{self._any(d)}, {self._any(d)}]])",
            lambda d: f"fromJSON({self._text(d)})",
            lambda d: f"fromPairs(toPairs({self._map(d)}))",
            depth=depth,
        )

    def _time(self, depth: int) -> str:
        choice = self._random.choice
        if depth <= 0:
            return choice(
                (
                    'date("2024-05-01")',
                    'date("2023-08-14 00:00:00", "2006-01-02 15:04:05", "Europe/Zurich")',
                    'date("2024-02-29T12:30:45.5Z")',
                    'duration("1h30m")',
                    'duration("-1500ms")',
                )
            )
        return self._pick(
            lambda d: f"({self._time(d)} {choice(('+', '-'))} {self._time(d)})",
            lambda d: f"({self._time(d)} * {self._number(d)})",
            lambda d: f"{self._time(d)}.{choice(('Add', 'Sub', 'Truncate'))}({self._time(d)})",
            lambda d: f"{self._time(d)}.UTC()",
            lambda d: f'{self._time(d)}.In(timezone("{choice(("UTC", "Asia/Tokyo", "Nowhere"))}"))',
            lambda d: f"{self._time(d)}.AddDate({choice('012')}, {choice(('1', '-1', '14'))}, {choice(('0', '30'))})",
            depth=depth,
        )

    def _predicated(self, name: str, body: Callable[[int], str], depth: int) -> str:
        items = self._list(depth)
        self._inside += 1
        inner = body(depth)
        self._inside -= 1
        if self._random.random() < 0.2:
            inner = f"{{ {inner} }}"
        if self._random.random() < 0.15:
            return f"{items} | {name}({inner})"
        order = ', "desc"' if name == "sortBy" and self._random.random() < 0.4 else ""
        return f"{name}({items}, {inner}{order})"

    def _reduced(self, depth: int) -> str:
        items = self._list(depth)
        start = f", {self._number(depth)}" if self._random.random() < 0.6 else ""
        step = self._random.choice(("# + #acc", "#acc + 1", "#acc * #", "max(#acc, #)", "#index"))
        return f"reduce({items}, {step}{start})"

    def _let(self, depth: int) -> str:
        name = self._random.choice(("x", "y", "z"))
        value = self._any(depth)
        self._variables.append(name)
        body = self._any(depth)
        self._variables.pop()
        return f"(let {name} = {value}; {body})"


def paths(result: Any) -> dict[str, list[str]]:
    """Places of a result by the kind of what is there."""
    found: dict[str, list[str]] = {}
    _walk("result", result, found)
    return found


def _walk(place: str, value: Any, found: dict[str, list[str]]) -> None:
    kind = _KINDS.get(type(value), "")
    if value in ("NaN", "+Inf", "-Inf"):
        kind = "number"
    found.setdefault(kind, []).append(place)
    if isinstance(value, list):
        for index, item in enumerate(value):
            _walk(f"{place}[{index}]", item, found)
    if isinstance(value, dict):
        for key, item in value.items():
            _walk(f"{place}.{key}", item, found)
