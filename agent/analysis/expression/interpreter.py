"""Walks the tree of an expression over values."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from agent.analysis.expression import nodes as n
from agent.analysis.expression.arithmetic import converted, negated, to_int
from agent.analysis.expression.formats import shown
from agent.analysis.expression.kinds import (
    Function,
    Slice,
    Table,
    Uint8,
    as_bytes,
    as_text,
    go_type,
    is_nil,
)
from agent.analysis.expression.nodes import ExpressionError, Node
from agent.analysis.expression.values import Budget, binary, string_key

Builtin = Callable[..., Any]
_NOTHING: Final = object()
"""Inside a chain with `?.`: a base was nil."""


class Scope:
    """What names mean at one place: variables, and what the innermost predicate looks at."""

    __slots__ = ("pointers", "variables")

    def __init__(self, variables: Mapping[str, Any], pointers: Mapping[str, Any]) -> None:
        self.variables = variables
        self.pointers = pointers


class Interpreter:
    """Evaluates one expression once.

    Args:
        environment: names of the expression: values and functions.
        builtins: by name, called with this interpreter and evaluated arguments; a predicate comes as a
            function of an item.
        method: the method of a value by name, or None.
    """

    def __init__(
        self,
        environment: Mapping[str, Any],
        builtins: Mapping[str, Builtin],
        method: Callable[[Any, str], Function | None],
    ) -> None:
        self.budget = Budget()
        self._environment = environment
        self._builtins = builtins
        self._method = method

    def evaluate(self, node: Node) -> Any:
        return self._value(node, Scope({}, {}))

    def _value(self, node: Node, scope: Scope) -> Any:
        self.budget.charge()
        return self._RULES[type(node)](self, node, scope)

    def _literal(self, node: n.Literal, scope: Scope) -> Any:
        del scope
        return node.value

    def _name(self, node: n.Name, scope: Scope) -> Any:
        if node.name in scope.variables:
            return scope.variables[node.name]
        if node.name == "$env":
            return dict(self._environment)
        return self._environment.get(node.name)

    def _pointer(self, node: n.Pointer, scope: Scope) -> Any:
        if node.name not in scope.pointers:
            raise ExpressionError("reflect: slice index out of range")
        return scope.pointers[node.name]

    def _unary(self, node: n.Unary, scope: Scope) -> Any:
        value = self._value(node.operand, scope)
        if node.operator == "!":
            return not self._bool(value)
        return negated(value) if node.operator == "-" else value

    def _binary(self, node: n.Binary, scope: Scope) -> Any:
        left = self._value(node.left, scope)
        if node.operator == "??":
            return self._value(node.right, scope) if is_nil(left) else left
        if node.operator in ("&&", "||"):
            decided = self._bool(left) == (node.operator == "||")
            return left if decided else self._value(node.right, scope)
        right = self._value(node.right, scope)
        if node.operator in ("==", "!=") and node.of in ("int", "string"):
            # Both are known to be of this type, so nothing else is expected any more.
            for side in (left, right):
                if go_type(side) != node.of:
                    raise converted(side, node.of)
        return binary(node.operator, left, right, self.budget)

    def _bool(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise converted(value, "bool")
        return value

    def _member(self, node: n.Member, scope: Scope) -> Any:
        base = self._value(node.base, scope)
        if base is _NOTHING or (node.optional and is_nil(base)):
            return _NOTHING
        key = self._value(node.key, scope)
        if isinstance(key, str) and (found := self._method(base, key)) is not None:
            return found
        return self.budget.read(fetch(base, key))

    def _slice(self, node: n.Slice, scope: Scope) -> Any:
        base = self._value(node.base, scope)
        data = as_bytes(base) if isinstance(base, str) else base
        if node.stop is None and not isinstance(data, bytes | list | dict | Table):
            raise ExpressionError(f"invalid argument for len (type {go_type(base)})")
        last = len(data) if node.stop is None else self._value(node.stop, scope)
        first = 0 if node.start is None else self._value(node.start, scope)
        if not isinstance(data, bytes | list):
            raise ExpressionError(f"cannot slice {shown(first, self.budget)}")
        start, stop = to_int(first), to_int(last)
        stop = min(max(stop + len(data) if stop < 0 else stop, 0), len(data))
        start = min(max(start + len(data) if start < 0 else start, 0), stop)
        part = self.budget.sized(data[start:stop])
        if isinstance(base, Slice):
            return Slice(base.element, part)
        return as_text(part) if isinstance(base, str) else part

    def _chain(self, node: n.Chain, scope: Scope) -> Any:
        value = self._value(node.inner, scope)
        return self.budget.read(None) if value is _NOTHING or is_nil(value) else value

    def _call(self, node: n.Call, scope: Scope) -> Any:
        function = self._value(node.callee, scope)
        if function is _NOTHING:
            return function
        arguments = [self._value(argument, scope) for argument in node.arguments]
        if function is None:
            raise ExpressionError("invalid operation: cannot call nil")
        if not isinstance(function, Function):
            raise ExpressionError(
                f"invalid operation: cannot call non-function of type {go_type(function)}"
            )
        if len(arguments) != function.parameters:
            raise ExpressionError(
                f"invalid number of arguments: expected {function.parameters}, got {len(arguments)}"
            )
        return function.call(self, *arguments)

    def _builtin(self, node: n.Builtin, scope: Scope) -> Any:
        arguments: list[Any] = []
        for index, argument in enumerate(node.arguments):
            if isinstance(argument, n.Predicate):
                arguments.append(self._function(argument.body, scope))
                continue
            # What comes after a predicate looks at the first item already.
            inside = index == 2 and isinstance(node.arguments[1], n.Predicate)
            looking = Scope(scope.variables, _first_item(arguments[0])) if inside else scope
            arguments.append(self._value(argument, looking))
        self.budget.charge_reading(*arguments)
        more: dict[str, Any] = {}
        if node.mapped is not None:
            more["mapped"] = self._function(node.mapped, scope)
        if node.throws:
            more["throws"] = True
        if node.enough is not None:
            more["enough"] = node.enough
        return self.budget.sized(self._builtins[node.name](self, *arguments, **more))

    def _function(self, body: Node, scope: Scope) -> Builtin:
        def look(item: Any, index: int, accumulated: Any = None) -> Any:
            pointers = {"": item, "index": index, "acc": accumulated}
            return self._value(body, Scope(scope.variables, pointers))

        return look

    def _conditional(self, node: n.Conditional, scope: Scope) -> Any:
        yes = self._bool(self._value(node.condition, scope))
        return self._value(node.then if yes else node.otherwise, scope)

    def _list(self, node: n.ListLiteral, scope: Scope) -> Any:
        found = [self._value(item, scope) for item in node.items]
        self.budget.made(len(found))
        return found

    def _map(self, node: n.MapLiteral, scope: Scope) -> Any:
        # The keys are looked at last, and the first of two equal ones wins.
        pairs = [(self._value(key, scope), self._value(item, scope)) for key, item in node.pairs]
        self.budget.made(len(pairs))
        found = {}
        for key, value in reversed(pairs):
            if not isinstance(key, str):
                raise converted(key, "string")
            found[key] = value
        return found

    def _let(self, node: n.Let, scope: Scope) -> Any:
        variables = {**scope.variables, node.name: self._value(node.value, scope)}
        return self._value(node.body, Scope(variables, scope.pointers))

    def _sequence(self, node: n.Sequence, scope: Scope) -> Any:
        return [self._value(item, scope) for item in node.items][-1]

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
        n.Conditional: _conditional,
        n.ListLiteral: _list,
        n.MapLiteral: _map,
        n.Let: _let,
        n.Sequence: _sequence,
    }


def _first_item(items: Any) -> Mapping[str, Any]:
    known = {"index": 0, "acc": None}
    if isinstance(items, str | bytes | list) and items:
        return {**known, "": fetch(items, 0)}
    return known


def fetch(base: Any, key: Any) -> Any:
    """`base[key]`; a missing key of a map is nil. Texts are indexed by bytes."""
    if isinstance(base, dict):
        return base.get("" if key is None else string_key(key))
    if isinstance(base, Table):
        return base.get(key)
    if isinstance(base, list | str | bytes):
        items = as_bytes(base) if isinstance(base, str) else base
        index = to_int(key)
        place = index + len(items) if index < 0 else index
        if not 0 <= place < len(items):
            raise ExpressionError(f"index out of range: {place} (array length is {len(items)})")
        return Uint8(items[place]) if isinstance(items, bytes) else items[place]
    raise ExpressionError(f"cannot fetch {key} from {go_type(base)}")
