"""Names and types are checked before an expression runs, so that a wrong one never hides in a branch.

What is not known before (members of decoded JSON, say) is left to the interpreter.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, NamedTuple

from agent.analysis.expression import nodes as n
from agent.analysis.expression.kinds import ANY
from agent.analysis.expression.natures import (
    BOOL,
    FLOAT,
    INT,
    LIST,
    MAP,
    STRING,
    UNKNOWN,
    Nature,
    list_of,
    nature_of,
)
from agent.analysis.expression.nodes import ExpressionError, Node, marked
from agent.analysis.expression.operands import contained, either, operation
from agent.analysis.expression.signatures import Signature, builtin, fit, method
from agent.api.regex import BadPattern, compile_pattern

_HOLDS: Final = ("all", "any", "none", "one", "filter", "count", "find", "findLast")
_INDEXES: Final = ("findIndex", "findLastIndex")
_POINTERS: Final[Mapping[str, Mapping[str, Nature]]] = {
    "map": {"index": INT},
    "reduce": {"index": INT, "acc": UNKNOWN},
}
_NO_ANSWER: Final = "predicate should has one input and one output param"
GROUPS: Final = Nature("map[interface {}][]interface {}")


class Scope(NamedTuple):
    """Variables, and the list and pointers of the innermost predicate (None outside of all)."""

    variables: Mapping[str, Nature]
    items: Nature | None = None
    pointers: Mapping[str, Nature] = {}


class Checker:
    """Natures of the names of the environment, signatures of its functions, and the names of builtins."""

    def __init__(
        self,
        environment: Mapping[str, Nature],
        functions: Mapping[str, Signature],
        builtins: frozenset[str],
    ) -> None:
        self._environment = {**environment, **dict.fromkeys(functions, Nature("func"))}
        self._functions = functions
        self._builtins = builtins
        self._known_sides: dict[int, str] = {}

    def checked(self, tree: Node) -> Node:
        """The tree, with `of` set where it matters. Raises ExpressionError for what can never work."""
        self._nature(tree, Scope({}))

        def mark(new: Node, old: Node) -> Node:
            known = self._known_sides.get(id(old))
            if known and isinstance(new, n.Binary):
                return replace(new, of=known)
            if known and isinstance(new, n.Call):
                return replace(new, arguments=tuple(_as_float(found) for found in new.arguments))
            return new

        return marked(tree, mark)

    def _nature(self, node: Node, scope: Scope) -> Nature:
        found: Nature = self._RULES[type(node)](self, node, scope)
        return found

    def _literal(self, node: n.Literal, scope: Scope) -> Nature:
        del scope
        return nature_of(node.value)

    def _name(self, node: n.Name, scope: Scope) -> Nature:
        if node.name in scope.variables:
            return scope.variables[node.name]
        if node.name == "$env":
            return UNKNOWN
        return self._known(node.name, builtins=True)

    def _known(self, name: str, *, builtins: bool) -> Nature:
        if name in self._environment:
            return self._environment[name]
        if builtins and name in self._builtins:
            return Nature("func")
        raise ExpressionError(f"unknown name {name}")

    def _pointer(self, node: n.Pointer, scope: Scope) -> Nature:
        if scope.items is None:
            raise ExpressionError("cannot use pointer accessor outside predicate")
        if not node.name:
            return UNKNOWN if scope.items.unknown else scope.items.items()
        if node.name not in scope.pointers:
            raise ExpressionError(f"unknown pointer #{node.name}")
        return scope.pointers[node.name]

    def _unary(self, node: n.Unary, scope: Scope) -> Nature:
        operand = self._nature(node.operand, scope)
        if node.operator == "!":
            if operand.unknown or operand == BOOL:
                return BOOL
        elif operand.unknown or operand.number:
            return UNKNOWN if operand.unknown else operand
        raise ExpressionError(
            f"invalid operation: {node.written or node.operator} (mismatched type {operand})"
        )

    def _binary(self, node: n.Binary, scope: Scope) -> Nature:
        left, right = self._nature(node.left, scope), self._nature(node.right, scope)
        if node.operator == "??":
            return either(left, right)
        if left == right or (node.operator == "in" and left == INT):
            self._known_sides[id(node)] = left.go
        if node.operator == "in":
            found = contained(left, right)
        elif node.operator in ("==", "!="):
            found = BOOL if left.comparable(right) else None
        else:
            if node.operator == "matches" and isinstance(node.right, n.Literal):
                check_pattern(node.right.value)
            found = operation(node.operator, left, right)
        if found is None:
            raise ExpressionError(
                f"invalid operation: {node.written or node.operator}"
                f" (mismatched types {left} and {right})"
            )
        return found

    def _member(self, node: n.Member, scope: Scope) -> Nature:
        field = node.key.value if isinstance(node.key, n.Literal) else None
        if node.base == n.Name("$env"):
            if not isinstance(field, str) or (node.optional and field not in self._environment):
                return UNKNOWN
            return self._known(field, builtins=False)
        base, key = self._nature(node.base, scope), self._nature(node.key, scope)
        if base.unknown:
            return UNKNOWN
        if isinstance(field, str) and base.nil:
            raise ExpressionError(f"type nil has no field {field}")
        if isinstance(field, str) and method(field, base):
            return Nature("func")
        if base.map:
            if not key.unknown and not key.assignable(base.keys()):
                raise ExpressionError(f"cannot use {key} to get an element from {base}")
            return base.items()
        if base.array:
            if not key.integer and not key.unknown:
                raise ExpressionError(
                    f"array elements can only be selected using an integer (got {key})"
                )
            return base.items()
        if isinstance(field, str):
            what = "method" if node.called else "field"
            raise ExpressionError(f"type {base} has no {what} {field}")
        raise ExpressionError(f"type {base}[{key}] is undefined")

    def _slice(self, node: n.Slice, scope: Scope) -> Nature:
        base = self._nature(node.base, scope)
        if base.unknown:
            return UNKNOWN
        if not base.array and base != STRING:
            raise ExpressionError(f"cannot slice {base}")
        for bound in (node.start, node.stop):
            found = INT if bound is None else self._nature(bound, scope)
            if not found.integer and not found.unknown:
                raise ExpressionError(f"non-integer slice index {found}")
        return base

    def _chain(self, node: n.Chain, scope: Scope) -> Nature:
        return self._nature(node.inner, scope)

    def _call(self, node: n.Call, scope: Scope) -> Nature:
        if node.callee == n.Name("$env"):
            raise ExpressionError("map[string]interface {} is not callable")
        callee = self._nature(node.callee, scope)
        if callee.unknown:
            return UNKNOWN
        name, signature = self._called(node.callee, scope)
        if callee.nil:
            raise ExpressionError(f"{name} is nil; cannot call nil as function")
        if not callee.function:
            raise ExpressionError(f"{callee} is not callable")
        if signature is None:
            return UNKNOWN
        given = [self._nature(found, scope) for found in node.arguments]
        if FLOAT in signature.parameters and all(nature.integer for nature in given):
            self._known_sides[id(node)] = FLOAT.go
        return fit(name, signature, given)

    def _called(self, callee: Node, scope: Scope) -> tuple[str, Signature | None]:
        """The name of what is called, and its signature if it is known."""
        match callee:
            case n.Name(name):
                return name, self._functions.get(name)
            case n.Member(n.Name("$env"), n.Literal(str(name))):
                return name, self._functions.get(name)
            case n.Member(base, n.Literal(str(name))):
                return name, method(name, self._nature(base, scope))
        return "function", None

    def _builtin(self, node: n.Builtin, scope: Scope) -> Nature:
        if not any(isinstance(argument, n.Predicate) for argument in node.arguments):
            if node.name in ("count", "sum"):
                return self._over(node, scope, None)
            if node.name == "get":
                return self._get(node, scope)
            return builtin(node.name, [self._nature(found, scope) for found in node.arguments])
        return self._over(node, scope, node.arguments[1])

    def _over(self, node: n.Builtin, scope: Scope, predicate: Node | None) -> Nature:
        """The nature of a builtin that goes over a list."""
        items = self._nature(node.arguments[0], scope)
        if not items.array and not items.unknown:
            raise ExpressionError(f"builtin {node.name} takes only array (got {items})")
        if predicate is None:
            if node.name == "count":
                return INT
            return UNKNOWN if items.unknown else items.items()
        inner = Scope(scope.variables, items, _POINTERS.get(node.name, {}))
        answer = self._nature(predicate, inner)
        order = self._nature(node.arguments[2], scope) if len(node.arguments) > 2 else STRING
        if node.name == "sortBy" and order != STRING and not order.unknown:
            raise ExpressionError(f"sortBy order argument must be a string (got {order})")
        if answer.nil:
            words = _NO_ANSWER.replace("one", "two", 1) if node.name == "reduce" else _NO_ANSWER
            raise ExpressionError(words)
        if node.name in (*_HOLDS, *_INDEXES) and answer != BOOL and not answer.unknown:
            raise ExpressionError(f"predicate should return boolean (got {answer})")
        return _of_predicate(node.name, items, answer)

    def _get(self, node: n.Builtin, scope: Scope) -> Nature:
        if len(node.arguments) != 2:
            raise ExpressionError(
                f"invalid number of arguments (expected 2, got {len(node.arguments)})"
            )
        base, key = (self._nature(argument, scope) for argument in node.arguments)
        if base.unknown:
            return UNKNOWN
        if base.array:
            if not key.integer and not key.unknown:
                raise ExpressionError(f"non-integer slice index {key}")
            return base.items()
        if base.map:
            if not key.unknown and not key.assignable(base.keys()):
                raise ExpressionError(f"cannot use {key} to get an element from {base}")
            return base.items()
        raise ExpressionError(f"type {base} does not support indexing")

    def _predicate(self, node: n.Predicate, scope: Scope) -> Nature:
        return self._nature(node.body, scope)

    def _conditional(self, node: n.Conditional, scope: Scope) -> Nature:
        condition = self._nature(node.condition, scope)
        if condition != BOOL and not condition.unknown:
            raise ExpressionError(f"non-bool expression (type {condition}) used as condition")
        then, otherwise = self._nature(node.then, scope), self._nature(node.otherwise, scope)
        if then.nil or otherwise.nil:
            return otherwise if then.nil else then
        if not then.assignable(otherwise):
            return UNKNOWN
        if then.array and otherwise.array:
            one, other = then.items(), otherwise.items()
            if not one.assignable(other) or not other.assignable(one):
                return LIST
        return then

    def _list(self, node: n.ListLiteral, scope: Scope) -> Nature:
        found = [self._nature(item, scope) for item in node.items]
        if len({nature.kind for nature in found}) > 1:
            return LIST
        return list_of(found[-1] if found else UNKNOWN)

    def _map(self, node: n.MapLiteral, scope: Scope) -> Nature:
        for pair in node.pairs:
            for part in pair:
                self._nature(part, scope)
        return MAP

    def _let(self, node: n.Let, scope: Scope) -> Nature:
        for known, words in (
            (self._environment, ""),
            (self._builtins, "builtin "),
            (scope.variables, "variable "),
        ):
            if node.name in known:
                raise ExpressionError(f"cannot redeclare {words}{node.name}")
        value = self._nature(node.value, scope)
        return self._nature(
            node.body, scope._replace(variables={**scope.variables, node.name: value})
        )

    def _sequence(self, node: n.Sequence, scope: Scope) -> Nature:
        return [self._nature(item, scope) for item in node.items][-1]

    _RULES: ClassVar[Mapping[type, Callable[..., Any]]] = {
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
        n.Predicate: _predicate,
        n.Conditional: _conditional,
        n.ListLiteral: _list,
        n.MapLiteral: _map,
        n.Let: _let,
        n.Sequence: _sequence,
    }


def _as_float(node: Node) -> Node:
    """Whole numbers that are written where a float is wanted are floats: `isNaN(1)`."""
    match node:
        case n.Literal(value) if type(value) is int:
            return n.Literal(float(value))
        case n.Unary(_, operand):
            return replace(node, operand=_as_float(operand))
        case n.Binary("+" | "-" | "*", left, right):
            return replace(node, left=_as_float(left), right=_as_float(right))
    return node


def _of_predicate(name: str, items: Nature, answer: Nature) -> Nature:
    if name in ("find", "findLast"):
        return UNKNOWN if items.unknown else items.items()
    if name == "filter":
        return LIST if items.unknown else list_of(items.items())
    if name == "map":
        return list_of(answer)
    if name == "sum":
        return Nature(ANY) if answer.unknown else Nature(answer.go)
    if name == "sortBy":
        return items
    if name == "reduce":
        return answer
    if name == "groupBy":
        return GROUPS
    return INT if name in ("count", *_INDEXES) else BOOL


def check_pattern(pattern: Any) -> None:
    """Raises ExpressionError for a literal text that is no pattern of RE2."""
    if isinstance(pattern, str):
        try:
            compile_pattern(pattern)
        except BadPattern as error:
            raise ExpressionError(f"error parsing regexp: {error}") from error
