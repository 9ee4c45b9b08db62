"""Names and types are checked before an expression runs, so that a wrong one never hides in a branch.

What is not known before (members of decoded JSON, most builtins) is left to the interpreter.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

from agent.analysis.expression import nodes as n
from agent.analysis.expression.nodes import ExpressionError, Node
from agent.api.regex import BadPattern, compile_pattern


class Type(NamedTuple):
    """A type as far as it is known; `element` is the kind of a list's items."""

    kind: str = "unknown"
    element: str = "unknown"


UNKNOWN: Final = Type()
BOOL: Final = Type("bool")
_NUMBERS: Final = ("int", "float64")
_TIMES: Final = ("time.Time", "time.Duration")
_ORDERED: Final = (*_NUMBERS, "string", *_TIMES)
_KINDS: Final = {bool: "bool", int: "int", float: "float64", str: "string", list: "array"}
_OPERANDS: Final = {
    **dict.fromkeys(("<", ">", "<=", ">=", "+"), _ORDERED),
    "-": (*_NUMBERS, *_TIMES),
    "*": (*_NUMBERS, "time.Duration"),
    "/": (*_NUMBERS, "time.Duration"),
    "**": _NUMBERS,
    "%": ("int",),
    "..": ("int",),
    **dict.fromkeys(("contains", "startsWith", "endsWith", "matches"), ("string",)),
    **dict.fromkeys(("&&", "||"), ("bool",)),
}
_GIVES_BOOL: Final = ("<", ">", "<=", ">=", "==", "!=", "in", "&&", "||", "matches", "contains")
_ANSWERS: Final = {
    **dict.fromkeys(("all", "any", "none", "one", "hasPrefix", "hasSuffix"), "bool"),
    **dict.fromkeys(("isNaN", "isInf", "isNil"), "bool"),
    **dict.fromkeys(("len", "count", "findIndex", "findLastIndex", "indexOf", "int"), "int"),
    **dict.fromkeys(("lastIndexOf", "asInt"), "int"),
    **dict.fromkeys(("float", "asFloat", "ceil", "floor", "round"), "float64"),
    **dict.fromkeys(("string", "upper", "lower", "trim", "join", "type", "toJSON"), "string"),
    **dict.fromkeys(("replace", "repeat", "toBase64", "fromBase64"), "string"),
    **dict.fromkeys(("date", "now"), "time.Time"),
    "duration": "time.Duration",
    "split": "array",
}
_HOLDS: Final = (
    *("all", "any", "none", "one", "filter", "count"),
    *("find", "findIndex", "findLast", "findLastIndex"),
)


def type_of(value: Any) -> Type:
    """The type of a literal or of a provider's result. Nil counts as unknown."""
    if isinstance(value, dict):
        return Type("map")
    return Type(_KINDS.get(type(value), "unknown"))


class Scope(NamedTuple):
    variables: Mapping[str, Type]
    item: Type = UNKNOWN


class Checker:
    """Types of the names of the environment, and the names of builtins that no variable may take."""

    def __init__(self, environment: Mapping[str, Type], builtins: frozenset[str]) -> None:
        self._environment = {**environment, "$env": Type("map")}
        self._builtins = builtins

    def check(self, node: Node) -> Type:
        """The type of the whole expression. Raises ExpressionError for what can never work."""
        return self._type(node, Scope(self._environment))

    def _type(self, node: Node, scope: Scope) -> Type:
        found: Type = self._RULES[type(node)](self, node, scope)
        return found

    def _literal(self, node: n.Literal, scope: Scope) -> Type:
        del scope
        return type_of(node.value)

    def _name(self, node: n.Name, scope: Scope) -> Type:
        if node.name not in scope.variables:
            raise ExpressionError(f"unknown name {node.name}")
        return scope.variables[node.name]

    def _pointer(self, node: n.Pointer, scope: Scope) -> Type:
        if node.name == "index":
            return Type("int")
        return UNKNOWN if node.name else scope.item

    def _unary(self, node: n.Unary, scope: Scope) -> Type:
        operand = self._type(node.operand, scope)
        allowed = ("bool",) if node.operator == "!" else (*_NUMBERS, "time.Duration")
        if operand.kind not in ("unknown", *allowed):
            raise ExpressionError(
                f"invalid operation: {node.operator} (mismatched type {operand.kind})"
            )
        return BOOL if node.operator == "!" else operand

    def _binary(self, node: n.Binary, scope: Scope) -> Type:
        left, right = self._type(node.left, scope), self._type(node.right, scope)
        operator = node.operator
        if operator == "??":
            return left if left == right else UNKNOWN
        if not _fits(operator, left, right):
            raise ExpressionError(
                f"invalid operation: {operator} (mismatched types {left.kind} and {right.kind})"
            )
        if operator == "matches" and isinstance(node.right, n.Literal):
            check_pattern(node.right.value)
        if operator in _GIVES_BOOL or operator.endswith("With"):
            return BOOL
        if operator == "..":
            return Type("array", "int")
        return _arithmetic(operator, left, right)

    def _member(self, node: n.Member, scope: Scope) -> Type:
        base, key = self._type(node.base, scope), self._type(node.key, scope)
        if base.kind == "array":
            if key.kind not in ("int", "unknown"):
                raise ExpressionError(
                    f"array elements can only be selected using an integer (got {key.kind})"
                )
            return Type(base.element)
        if base.kind not in ("unknown", "map", "string") or (
            base.kind == "string" and key.kind not in ("int", "unknown")
        ):
            raise ExpressionError(f"type {base.kind} has no such field or index")
        return UNKNOWN

    def _slice(self, node: n.Slice, scope: Scope) -> Type:
        base = self._type(node.base, scope)
        if base.kind not in ("unknown", "array", "string"):
            raise ExpressionError(f"cannot slice {base.kind}")
        for bound in (node.start, node.stop):
            kind = "int" if bound is None else self._type(bound, scope).kind
            if kind not in ("int", "unknown"):
                raise ExpressionError(f"non-integer slice index {kind}")
        return base

    def _chain(self, node: n.Chain, scope: Scope) -> Type:
        self._type(node.inner, scope)
        return UNKNOWN

    def _call(self, node: n.Call, scope: Scope) -> Type:
        for argument in node.arguments:
            self._type(argument, scope)
        if isinstance(node.callee, n.Member):
            self._method_base(node.callee, scope)
            return UNKNOWN
        callee = self._type(node.callee, scope)
        if callee.kind not in ("unknown", "func"):
            raise ExpressionError(f"{callee.kind} is not callable")
        name = node.callee.name if isinstance(node.callee, n.Name) else ""
        return Type(_ANSWERS.get(name, "unknown"))

    def _method_base(self, node: n.Member, scope: Scope) -> None:
        base = self._type(node.base, scope)
        if base.kind not in ("unknown", "map", *_TIMES):
            raise ExpressionError(f"type {base.kind} has no methods")

    def _builtin(self, node: n.Builtin, scope: Scope) -> Type:
        first, answers = UNKNOWN, []
        for index, argument in enumerate(node.arguments):
            if isinstance(argument, n.Predicate):
                if first.kind not in ("unknown", "array"):
                    raise ExpressionError(
                        f"builtin {node.name} takes only array (got {first.kind})"
                    )
                answer = self._type(argument.body, Scope(scope.variables, Type(first.element)))
                if node.name in _HOLDS and answer.kind not in ("unknown", "bool"):
                    raise ExpressionError(f"predicate should return boolean (got {answer.kind})")
                answers.append(answer)
            else:
                found = self._type(argument, scope)
                first = first if index else found
        if node.name == "map" and answers:
            return Type("array", answers[0].kind)
        if node.name in ("filter", "sort", "sortBy", "take", "reverse"):
            return first
        return Type(_ANSWERS.get(node.name, "unknown"))

    def _conditional(self, node: n.Conditional, scope: Scope) -> Type:
        if self._type(node.condition, scope).kind not in ("unknown", "bool"):
            raise ExpressionError("non-bool expression used as condition")
        then, otherwise = self._type(node.then, scope), self._type(node.otherwise, scope)
        return then if then == otherwise else UNKNOWN

    def _list(self, node: n.ListLiteral, scope: Scope) -> Type:
        kinds = [self._type(item, scope).kind for item in node.items]
        return Type(
            "array", kinds[0] if kinds and kinds.count(kinds[0]) == len(kinds) else "unknown"
        )

    def _map(self, node: n.MapLiteral, scope: Scope) -> Type:
        for pair in node.pairs:
            for part in pair:
                self._type(part, scope)
        return Type("map")

    def _let(self, node: n.Let, scope: Scope) -> Type:
        value = self._type(node.value, scope)
        if node.name in scope.variables:
            raise ExpressionError(f"cannot redeclare variable {node.name}")
        if node.name in self._builtins:
            raise ExpressionError(f"cannot redeclare builtin {node.name}")
        return self._type(node.body, Scope({**scope.variables, node.name: value}, scope.item))

    def _sequence(self, node: n.Sequence, scope: Scope) -> Type:
        return [self._type(item, scope) for item in node.items][-1]

    _RULES: ClassVar[Mapping[type, Callable[..., Type]]] = {
        n.Literal: _literal,
        n.Name: _name,
        n.Pointer: _pointer,
        n.Unary: _unary,
        n.Binary: _binary,
        n.Member: _member,
        n.Slice: _slice,
        n.Chain: _chain,
        n.Call: _call,
        n.Builtin: _builtin,
        n.Conditional: _conditional,
        n.ListLiteral: _list,
        n.MapLiteral: _map,
        n.Let: _let,
        n.Sequence: _sequence,
    }


def _fits(operator: str, left: Type, right: Type) -> bool:
    """Whether the operator may work on these types."""
    kinds = (left.kind, right.kind)
    known = [kind for kind in kinds if kind != "unknown"]
    if operator in ("==", "!="):
        return len(known) < 2 or _alike(*kinds)
    if operator == "in":
        if right.kind == "array":
            return "unknown" in (left.kind, right.element) or _alike(left.kind, right.element)
        return right.kind in ("unknown", "map") and (
            right.kind == "unknown" or left.kind in ("unknown", "string")
        )
    if any(kind not in _OPERANDS[operator] for kind in known):
        return False
    return len(known) < 2 or _alike(*kinds) or any(kind in _TIMES for kind in kinds)


def _alike(left: str, right: str) -> bool:
    return left == right or (left in _NUMBERS and right in _NUMBERS)


def _arithmetic(operator: str, left: Type, right: Type) -> Type:
    kinds = (left.kind, right.kind)
    if operator in ("/", "**") and all(kind in _NUMBERS for kind in kinds):
        return Type("float64")
    if operator == "%" or kinds == ("int", "int"):
        return Type("int")
    if all(kind in _NUMBERS for kind in kinds):
        return Type("float64")
    return Type("string") if kinds == ("string", "string") else UNKNOWN


def check_pattern(pattern: Any) -> None:
    """Raises ExpressionError for a literal that is no pattern of RE2."""
    if not isinstance(pattern, str):
        raise ExpressionError("the pattern of matches must be a string")
    try:
        compile_pattern(pattern)
    except BadPattern as error:
        raise ExpressionError(f"error parsing regexp: {error}") from error
