"""Walks the tree of an expression over values."""

import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final

from agent.analysis.expression import nodes as n
from agent.analysis.expression.nodes import ExpressionError, Node
from agent.analysis.expression.values import (
    Budget,
    binary,
    is_number,
    type_name,
    wrapped,
)

Function = Callable[..., Any]
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
        environment: names of the expression: values and functions (called with evaluated arguments).
        builtins: by name, called with this interpreter and evaluated arguments; a predicate comes as a
            function of an item.
        methods: called with the value and the evaluated arguments.
    """

    def __init__(
        self,
        environment: Mapping[str, Any],
        builtins: Mapping[str, Function],
        methods: Callable[[Any, str, list[Any]], Any],
    ) -> None:
        self.budget = Budget()
        self._environment = environment
        self._builtins = builtins
        self._methods = methods

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
        if node.name not in self._environment:
            raise ExpressionError(f"unknown name {node.name}")
        return self._environment[node.name]

    def _pointer(self, node: n.Pointer, scope: Scope) -> Any:
        if node.name not in scope.pointers:
            raise ExpressionError(f"unknown pointer #{node.name}")
        return scope.pointers[node.name]

    def _unary(self, node: n.Unary, scope: Scope) -> Any:
        value = self._value(node.operand, scope)
        if node.operator == "!":
            if not isinstance(value, bool):
                raise ExpressionError(f"invalid operation: ! (mismatched type {type_name(value)})")
            return not value
        if not is_number(value) and not isinstance(value, timedelta):
            raise ExpressionError(
                f"invalid operation: {node.operator} (mismatched type {type_name(value)})"
            )
        if node.operator == "+":
            return value
        return wrapped(-value) if isinstance(value, int) else -value

    def _binary(self, node: n.Binary, scope: Scope) -> Any:
        left = self._value(node.left, scope)
        if node.operator == "??":
            return self._value(node.right, scope) if left is None else left
        if node.operator in ("&&", "||"):
            if self._bool(node.operator, left) == (node.operator == "||"):
                return left
            return self._bool(node.operator, self._value(node.right, scope))
        return binary(node.operator, left, self._value(node.right, scope), self.budget)

    def _bool(self, operator: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ExpressionError(
                f"invalid operation: {operator} (mismatched type {type_name(value)})"
            )
        return value

    def _member(self, node: n.Member, scope: Scope) -> Any:
        base = self._value(node.base, scope)
        if base is _NOTHING or (base is None and node.optional):
            return _NOTHING
        key = self._value(node.key, scope)
        if isinstance(base, list) and isinstance(node.key, n.Literal) and isinstance(key, float):
            raise ExpressionError(
                "array elements can only be selected using an integer (got float64)"
            )
        return self.budget.read(fetch(base, key))

    def _slice(self, node: n.Slice, scope: Scope) -> Any:
        base = self._value(node.base, scope)
        if base is _NOTHING:
            return base
        if not isinstance(base, str | list):
            raise ExpressionError(f"cannot slice {type_name(base)}")
        start = self._bound(node.start, 0, len(base), scope)
        stop = self._bound(node.stop, len(base), len(base), scope)
        return self.budget.sized(base[start:stop]) if start < stop else base[:0]

    def _bound(self, node: Node | None, default: int, length: int, scope: Scope) -> int:
        value = default if node is None else self._value(node, scope)
        if type(value) is not int:
            raise ExpressionError(f"non-integer slice index {type_name(value)}")
        return max(0, min(length, value + length if value < 0 else value))

    def _chain(self, node: n.Chain, scope: Scope) -> Any:
        value = self._value(node.inner, scope)
        return self.budget.read(None) if value is _NOTHING else value

    def _call(self, node: n.Call, scope: Scope) -> Any:
        if isinstance(node.callee, n.Member):
            base = self._value(node.callee.base, scope)
            if base is _NOTHING or (base is None and node.callee.optional):
                return _NOTHING
            name = self._value(node.callee.key, scope)
            found = [self._value(argument, scope) for argument in node.arguments]
            return self._methods(base, name, found)
        function = self._value(node.callee, scope)
        if not callable(function):
            raise ExpressionError(f"{type_name(function)} is not callable")
        arguments = [self._value(argument, scope) for argument in node.arguments]
        try:
            return function(*arguments)
        except TypeError as error:
            name = node.callee.name if isinstance(node.callee, n.Name) else "function"
            raise ExpressionError(f"wrong number of arguments to call {name}") from error

    def _builtin(self, node: n.Builtin, scope: Scope) -> Any:
        arguments = [
            self._function(argument, scope)
            if isinstance(argument, n.Predicate)
            else self._value(argument, scope)
            for argument in node.arguments
        ]
        self.budget.charge_reading(*arguments)
        try:
            return self.budget.sized(self._builtins[node.name](self, *arguments))
        except TypeError as error:
            raise ExpressionError(
                f"invalid arguments for {node.name}:"
                f" ({', '.join(type_name(argument) for argument in arguments)})"
            ) from error

    def _function(self, node: n.Predicate, scope: Scope) -> Function:
        def look(item: Any, index: int, accumulated: Any = None) -> Any:
            pointers = {"": item, "index": index, "acc": accumulated}
            return self._value(node.body, Scope(scope.variables, pointers))

        return look

    def _conditional(self, node: n.Conditional, scope: Scope) -> Any:
        yes = self._bool("?:", self._value(node.condition, scope))
        return self._value(node.then if yes else node.otherwise, scope)

    def _list(self, node: n.ListLiteral, scope: Scope) -> Any:
        return [self._value(item, scope) for item in node.items]

    def _map(self, node: n.MapLiteral, scope: Scope) -> Any:
        found = {}
        for key, value in node.pairs:
            name = self._value(key, scope)
            if not isinstance(name, str):
                raise ExpressionError(f"map key is {type_name(name)}, not string")
            found[name] = self._value(value, scope)
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


def fetch(base: Any, key: Any) -> Any:
    """`base[key]`; a missing key of a map is nil."""
    if isinstance(base, dict):
        if key is not None and not isinstance(key, str | bool | int | float):
            raise ExpressionError(f"cannot use {type_name(key)} to get an element from a map")
        return base.get(key)
    if isinstance(base, list | str) and is_number(key) and math.isfinite(key):
        index = int(key)
        place = index + len(base) if index < 0 else index
        if not 0 <= place < len(base):
            raise ExpressionError(f"index out of range: {index} (array length is {len(base)})")
        return base[place]
    raise ExpressionError(f"cannot fetch {key} from {type_name(base)}")
