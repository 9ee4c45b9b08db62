"""Random expressions: mostly well-typed ones by a grammar, and broken ones from known good ones.

A production is a text with holes: `<number>` is filled with an expression of that kind, `<bool:in>` with
one that stands in a predicate (so `#` means an item), `a|b|c` in braces of its own with one of these.
"""

import re
from collections.abc import Sequence
from random import Random
from typing import Any, Final

_FLOATS: Final[tuple[list[Any], ...]] = (
    [],
    [0.99],
    [1.0, 2.5, -3.0],
    ["NaN"],
    [0.5, "NaN", 2.0],
    [3, 2, 2, 1],
)
_PLAIN: Final[tuple[Any, ...]] = (None, True, 3, "Hello, World", "", [], {})
_NUMBERS: Final[tuple[Any, ...]] = (0.0, 0.5, 1.0, -2.5, 99.9, 1e21, "NaN", "+Inf", "-Inf")
RESULTS: Final[tuple[tuple[str, Any], ...]] = (
    *[("float", value) for value in _NUMBERS],
    *[("int", value) for value in (0, 1, -7, 42)],
    ("optional-float", None),
    *[("floats", value) for value in _FLOATS],
    ("ints", []),
    ("ints", [3, 1, 2]),
    ("strings", []),
    ("strings", ["a", "b b", "é"]),
    ("maps", [{"env": "prod", "rate": 0.5}, {"env": "dev", "rate": None}]),
    *[("json", value) for value in _PLAIN],
    ("json", [1, "a", None, [2, [3]], {"k": 1}]),
    ("json", {"ok": True, "rate": 0.99, "name": "checkout", "none": None, "n": {"p99": 120}}),
    ("json", {"data": {"codes": [200, 200, 500], "s": ["x", "y"]}, "list": [{"v": 1}, {"v": 2}]}),
)

_LEAVES: Final[dict[str, tuple[str, ...]]] = {
    "bool": ("true", "false", "result == nil", "isNil(result)"),
    "number": ("0", "1", "2", "3", "-1", "0.5", "1e3", "7", "0x1F", "9223372036854775807"),
    "text": (
        *('""', '"a"', '"abc"', '"prod"', '"Hello"', '"1"', '"1.5"', '"a,b,c"', '"éü"', '"  x "'),
        *("'{\"a\":[1]}'", '"MjU="', "`raw`", '"2024-05-01"', '"\\u00e9\\n<&>"', "'it'"),
    ),
    "list": (
        *("[]", "[1, 2, 3]", "[0.5, 2]", '["a", "b"]', "[nil]", "1..4", "[[1], [2]]"),
        *("[true, false]", "[3, 1, 2, 1]", "[{v: 1}, {v: 2}]"),
    ),
    "map": ("{}", "{a: 1, b: 2}", '{"k": nil}', "{1: true}"),
    "moment": (
        'date("2024-05-01")',
        'date("2023-08-14 00:00:00", "2006-01-02 15:04:05", "Europe/Zurich")',
        'date("2024-02-29T12:30:45.5Z")',
        'date(timezone("Asia/Tokyo"), "2024-12-31 23:59:59")',
    ),
    "span": ('duration("1h30m")', 'duration("-1500ms")', 'duration("90s")'),
}
_FIELD: Final = "ok|rate|name|none|n|data|list|env|v|k|p99|codes"
_GROWN: Final[dict[str, tuple[str, ...]]] = {
    "bool": (
        *("<number> {<|>|<=|>=|==|!=} <number>", "<number> < <number> <= <number>"),
        "<text> {contains|startsWith|endsWith|==|!=|<|not contains} <text>",
        '<text> matches "{a.c|^H|[0-9]+|(?i)PROD|b$|(|\\\\d{2}|.}"',
        "<text> matches <text>",
        *("(<bool> {&&|or|and} <bool>)", "(<bool> || <bool>)", "{!|not }(<bool>)"),
        *("{all|any|none|one}(<list>, <bool:in>)", "<list> | {all|any|none}(<bool:in>)"),
        *("all(<list>, <bool:in>) {&&|and} all(<list>, <bool:in>)", "<place:bool>"),
        *("{isNaN|isInf}(float(<number>))", "{isNaN|isInf|isNil}(<number>)"),
        *("{hasPrefix|hasSuffix}(<text>, <text>)", "<any> {==|!=} nil", "<list> == <list>"),
        *("<moment> {<|==|>=|!=} <moment>", "<span> {<|==|>=} <span>", "<map> == <map>"),
        "{count(<list>, <bool:in>)|len(filter(<list>, <bool:in>))} {>|>=|<|<=|==} {0|1|2|3}",
        *("default(<number>, <number>) < 1", "<number> in [<number>, <number>]", "<number> in <list>"),
        *("<text> in [<text>, <text>]", "<text> not in <map>", "<number> in {0|1}..3"),
        *("<moment>.{After|Before|Equal}(<moment>)", "<bool> ? <bool> : <bool>"),
    ),
    "number": (
        *("<place:number>",) * 6,
        *("(<number> {+|-|*|/} <number>)", "<number> {+|-|*} <number>", "(<number> {**|^} <number>)"),
        *("({int|asInt|bitnot}(<number>) % {2|3|-7|len(<list>)})", "-(<number>)", "+<number>"),
        "{abs|ceil|floor|round|int|float|asInt|asFloat}(<number>)",
        '{int|float|asInt|asFloat}({"1"|"-2.5"|"NaN"|"1_0"|"0x1p3"|"9e999"|<text>})',
        "len({<list>|<text>|<map>})",
        *("{min|max|mean|median|sum}(<list>)", "{min|max|mean|median}(<number>, <number>, <list>)"),
        *("{count|findIndex}(<list>, <bool:in>)", "sum(<list>, <number:in>)", "sum(map(<list>, <number:in>))"),
        "reduce(<list>, {# + #acc|#acc + 1|#acc * #|max(#acc, #)|#index}{|, <number>})",
        "{bitand|bitor|bitxor|bitnand|bitshl|bitshr|bitushr}({int(<number>)|7|-1}, {1|3|70})",
        *("{indexOf|lastIndexOf}(<text>, <text>)", "(<bool> ? <number> : <number>)"),
        *("if <bool> { <number> } else { <number> }", "(<number> ?? <number>)"),
        *("<list>[{0|-1|1|9}]", "{first|last}(<list>)", "<list> | {len|sum|max|first}()"),
        *("filter(<list>, <bool:in>)[0]", "find(<list>, <bool:in>)", "map(filter(<list>, <bool:in>), <number:in>)[0]"),
        "<span>.{Seconds|Minutes|Hours|Milliseconds|Nanoseconds|Microseconds}()",
        "<moment>.{Year|Day|Unix|Hour|YearDay|UnixMilli|Minute|Nanosecond}()",
        *("get(<list>, <number>)", "get(<map>, <text>)", "<map>[<text>]", "int(<moment>.Month())"),
        *("(let {x|y|z} = <any>; <number>)", "(<any>; <number>)", "<text>[{0|1|-1}]"),
    ),
    "text": (
        *("<place:text>",) * 3,
        "(<text> + <text>)",
        "{upper|lower|trim|trimPrefix|trimSuffix|toBase64|fromBase64}(<text>)",
        *("{trim|trimPrefix|trimSuffix}(<text>, <text>)", "<text> | upper()"),
        "replace(<text>, <text>, <text>{|, 0|, 1|, -1})",
        *("repeat(<text>, {0|1|3|-1|len(<list>)})", "join(split(<text>, <text>), <text>)"),
        *("join(<list>, <text>)", "join(map(<list>, string(#)), <text>)", "join(<list>)"),
        *("string(<any>)", "type(<any>)", "toJSON(<any>)"),
        *("<text>[{0|1||-2}:{|2|-1|99}]", "(<bool> ? <text> : <text>)"),
        '<moment>.Format("{2006-01-02|15:04:05|Jan 2, 2006 at 3:04PM|Mon 02 January 06|Z07:00 MST}")',
        *("<moment>.{Weekday|Month}().String()", "<span>.String()"),
    ),
    "list": (
        *("<place:list>",) * 4,
        *("[]", "[<any>]", "[<any>, <any>]", "[<number>, <number>, <number>]", "[<text>, <text>]"),
        *("{0|1|-2}..{0|3|5}", "filter(<list>, <bool:in>)", "filter(filter(<list>, <bool:in>), <bool:in>)"),
        *("map(<list>, <any:in>)", "map(<list>, #index + 1)", "map(filter(<list>, <bool:in>), <any:in>)"),
        "sortBy(<list>, <number:in>{|, \"desc\"})",
        *("{sort|reverse|uniq|flatten}(<list>)", 'sort(<list>, "{asc|desc|up}")'),
        *("concat(<list>, <list>)", "take(<list>, {0|1|9|-1|len(<list>)})", "sort(keys(<map>))"),
        *("{values|toPairs|keys}({k: <any>})", "{split|splitAfter}(<text>, <text>{|, 0|, 1|, -1})"),
        *("<list>[{0|1||-2}:{|2|-1}]", "(<bool> ? <list> : <list>)", "<list> | filter(<bool:in>)"),
    ),
    "map": (
        *("<place:map>",) * 3,
        "{{" + _FIELD + "}: <any>, b: <any>}",
        *("{(<text>): <any>}", "groupBy(<list>, <any:in>)", "fromPairs([[<any>, <any>]])"),
        *("fromJSON({<text>|toJSON(<map>)})", "fromPairs(toPairs(<map>))", "find(<list>, <bool:in>)"),
    ),
    "moment": (
        *("(<moment> {+|-} <span>)", "(<span> + <moment>)", "<moment>.Add(<span>)", "<moment>.UTC()"),
        *("<moment>.Truncate(<span>)", '<moment>.In(timezone("{UTC|Asia/Tokyo|Nowhere}"))'),
        "<moment>.AddDate({0|1|2}, {1|-1|14}, {0|30})",
    ),
    "span": (
        *("(<span> {+|-} <span>)", "(<moment> - <moment>)", "<moment>.Sub(<moment>)", "(<span> * 3)"),
        *("<span>.{Abs()|Round(<span>)|Truncate(<span>)}", "(2 * <span>)"),
    ),
}  # fmt: skip
_ANY: Final = ("bool", "number", "number", "text", "list", "map", "moment", "span")
_HOLE: Final = re.compile(r"<(\w+)(?::(\w+))?>")
_CHOICE: Final = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_TOKENS: Final = re.compile(r"\s+|\w+|\"[^\"]*\"|'[^']*'|\?\.|\?\?|\*\*|\.\.|[<>=!]=|&&|\|\||.")
_SPARE: Final = (
    *("result", "#", "[0]", "(", ")", "{", "}", "[", "]", ".", "?.", "??", "..", ",", ":", "?", "|"),
    *("+", "-", "*", "/", "%", "**", "==", "!=", "<", ">=", "&&", "||", "or", "not", "!", "in", ";"),
    *("1", "0.5", "'a'", "nil", "true", "len", "all", "map", "let x = 1;", "if", "else", "matches"),
    *("#acc", "#index", ".rate", "0x1F", "1e3", "1_000", "-1", "$env", "::", "b'x'", "`r`"),
)  # fmt: skip
_KINDS: Final[dict[type, str]] = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "text",
    list: "list",
    dict: "map",
}


class Grammar:
    """Makes expressions; the same seed makes the same ones."""

    def __init__(self, random: Random, corpus: Sequence[str] = ()) -> None:
        self._random = random
        self._corpus = list(corpus)
        self._paths: dict[str, list[str]] = {}

    def expression(self, result: Any = None) -> str:
        """One expression for a result, now and then a broken one."""
        self._paths = paths(result)
        lot = self._random.random()
        if self._corpus and lot < 0.15:
            return self._mutated(self._random.choice(self._corpus))
        text = self._grown("any", self._random.randint(1, 4), inside=False)
        return self._mutated(text) if lot > 0.92 else text

    def _grown(self, kind: str, depth: int, *, inside: bool) -> str:
        if kind == "any" or self._random.random() < 0.01:
            kind = self._random.choice(_ANY)
        if inside and self._random.random() < 0.3:
            return "#"
        if depth <= 0:
            if self._random.random() < 0.3:
                return self._place(kind, depth, inside=inside)
            return self._random.choice(_LEAVES[kind])
        template = self._random.choice(_GROWN[kind])
        while _CHOICE.search(template):
            template = _CHOICE.sub(
                lambda found: self._random.choice(found.group(1).split("|")), template, count=1
            )

        def filled(hole: re.Match[str]) -> str:
            wanted, how = hole.groups()
            if wanted == "place":
                return self._place(how, depth - 1, inside=inside)
            return self._grown(wanted, depth - 1, inside=inside or how == "in")

        return _HOLE.sub(filled, template)

    def _place(self, kind: str, depth: int, *, inside: bool) -> str:
        """A place of the result that holds such a value; now and then any, also one that is not there."""
        known = self._paths.get(kind, [])
        if known and self._random.random() < 0.95:
            return self._random.choice(known)
        if self._random.random() < 0.8:
            return self._random.choice(_LEAVES.get(kind, ("nil",)))
        base = self._random.choice(("#", "#index", "x")) if inside else "result"
        for _ in range(self._random.randint(0, 2)):
            field = self._random.choice(_FIELD.split("|"))
            steps = (f".{field}", f"?.{field}", f'?.["{field}"]', "[0]", "[-1]", "[1:]")
            base += self._random.choice(steps)
        return f"({base} ?? {self._grown(kind, depth, inside=inside)})" if kind in _GROWN else base

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


def paths(result: Any) -> dict[str, list[str]]:
    """Places of a result by the kind of what is there."""
    found: dict[str, list[str]] = {}
    _walk("result", result, found)
    return found


def _walk(place: str, value: Any, found: dict[str, list[str]]) -> None:
    kind = "number" if value in ("NaN", "+Inf", "-Inf") else _KINDS.get(type(value), "")
    found.setdefault(kind, []).append(place)
    if isinstance(value, list):
        for index, item in enumerate(value):
            _walk(f"{place}[{index}]", item, found)
    if isinstance(value, dict):
        for key, item in value.items():
            _walk(f"{place}.{key}", item, found)
