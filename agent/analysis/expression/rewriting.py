"""Trees are rewritten before they run, where that decides what an expression means.

expr-lang folds constants and fuses builtins, and that shows: what is folded away never fails, and a search
that stops early does not meet the item that would have failed. So the same is done here, in its order.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from agent.analysis.expression import nodes as n
from agent.analysis.expression.arithmetic import divided, power
from agent.analysis.expression.kinds import wrapped
from agent.analysis.expression.nodes import ExpressionError, Node, rebuilt, walk

_COMBINED: Final = {("all", "&&"): "&&", ("any", "||"): "||", ("none", "&&"): "||"}
_SCALARS: Final = (int, float, str, bool)


def rewritten(tree: Node) -> Node:
    """The tree as it runs. Raises ExpressionError for a remainder by the constant 0."""
    tree = rebuilt(tree, _in_texts)
    while (folded := rebuilt(tree, _folded)) is not tree:
        tree = folded
    for rule in (_in_range, *_RULES):
        tree = rebuilt(tree, rule)
    return tree


def _in_texts(node: Node) -> Node:
    """`x in ["a", "b"]` asks a map of texts, which nothing but a text (or nil) may be looked up in."""
    match node:
        case n.Binary("in", left, n.ListLiteral(items)) if items and all(
            isinstance(item, n.Literal) and isinstance(item.value, str) for item in items
        ):
            return n.Binary("in", left, n.Literal(dict.fromkeys(_values(items))))
    return node


def _in_range(node: Node) -> Node:
    """Whether a whole number lies in a constant range needs no list."""
    match node:
        case n.Binary("in", left, n.Binary("..", n.Literal(int(start)), n.Literal(int(stop)))):
            if node.of == "int":
                above = n.Binary(">=", left, n.Literal(start))
                return n.Binary("&&", above, n.Binary("<=", left, n.Literal(stop)))
    return node


def _values(items: Sequence[Node]) -> list[Any]:
    return [item.value for item in items if isinstance(item, n.Literal)]


def _folded(node: Node) -> Node:
    match node:
        case n.Unary(operator, n.Literal(value)):
            return _folded_unary(node, operator, value)
        case n.Binary("&&" | "||" as operator, left, right):
            return _folded_logic(node, operator == "||", left, right)
        case n.Binary(operator, n.Literal(left), n.Literal(right)):
            return _folded_binary(node, operator, left, right)
        case n.ListLiteral(items) if items and all(
            isinstance(item, n.Literal) and type(item.value) in _SCALARS for item in items
        ):
            return n.Literal(_values(items))
        case n.Builtin("filter", (n.Builtin("filter", (items, inner)), outer)):
            return n.Builtin("filter", (items, _joined("&&", inner, outer)))
    return node


def _folded_unary(node: Node, operator: str, value: Any) -> Node:
    if operator == "!":
        return n.Literal(not value) if isinstance(value, bool) else node
    if type(value) not in (int, float):
        return node
    if operator == "+":
        return n.Literal(value)
    return n.Literal(wrapped(-value) if isinstance(value, int) else -value)


def _folded_logic(node: Node, decisive: bool, left: Node, right: Node) -> Node:
    """A constant that decides, on either side, is the whole; one that does not is left out."""
    sides = [side.value if isinstance(side, n.Literal) else None for side in (left, right)]
    if sides[0] is (not decisive):
        return right
    if sides[1] is (not decisive):
        return left
    return n.Literal(decisive) if decisive in [s for s in sides if s is not None] else node


def _folded_binary(node: Node, operator: str, left: Any, right: Any) -> Node:
    kinds = {type(left), type(right)}
    if operator == "==":
        return n.Literal(left == right) if kinds in ({int}, {str}, {bool}) else node
    if kinds == {str} and operator == "+":
        return n.Literal(left + right)
    if not kinds <= {int, float}:
        return node
    if operator == "%" and kinds == {int}:
        if right == 0:
            raise ExpressionError("integer divide by zero")
        rest = abs(left) % abs(right)
        return n.Literal(-rest if left < 0 else rest)
    if operator in ("/", "**"):
        compute = divided if operator == "/" else power
        return n.Literal(compute(float(left), float(right)))
    if operator not in ("+", "-", "*"):
        return node
    if kinds != {int}:
        left, right = float(left), float(right)
    value = left + right if operator == "+" else left - right if operator == "-" else left * right
    return n.Literal(wrapped(value) if kinds == {int} else value)


def _joined(operator: str, left: Node, right: Node) -> Node:
    """The predicate that combines two."""
    if isinstance(left, n.Predicate) and isinstance(right, n.Predicate):
        return n.Predicate(n.Binary(operator, left.body, right.body))
    raise ExpressionError("a predicate is missing")


def _map_of_filter(node: Node) -> Node:
    match node:
        case n.Builtin("map", (n.Builtin("filter", found, mapped=None), n.Predicate(body))) if (
            n.Pointer("index") not in list(walk(body))
        ):
            return n.Builtin("filter", found, mapped=body)
    return node


def _length_of_filter(node: Node) -> Node:
    match node:
        case n.Builtin("len", (n.Builtin("filter", found),)):
            return n.Builtin("count", found)
    return node


def _end_of_filter(index: int, shortcut: str, search: str) -> Callable[[Node], Node]:
    """`filter(…)[0]` and `first(filter(…))` search; so for the last one."""

    def rule(node: Node) -> Node:
        match node:
            case n.Member(n.Builtin("filter", found, mapped), n.Literal(key), False):
                if type(key) is int and key == index:
                    return n.Builtin(search, found, mapped, throws=True)
            case n.Builtin(name, (n.Builtin("filter", found, mapped),)) if name == shortcut:
                return n.Builtin(search, found, mapped)
        return node

    return rule


def _combined(node: Node) -> Node:
    """`all(x, p) && all(x, q)` goes over x once."""
    match node:
        case n.Binary(operator, n.Builtin(name, (items, one)), n.Builtin(other, (again, two))):
            joint = _COMBINED.get((name, operator))
            if joint and name == other and items == again:
                joined = _joined(joint, one, two)
                if isinstance(joined, n.Predicate):
                    joined = n.Predicate(_combined(joined.body))
                return n.Builtin(name, (items, joined))
    return node


def _sum_of_list(node: Node) -> Node:
    match node:
        case n.Builtin("sum", (n.ListLiteral(items),)) if len(items) >= 2:
            total = items[-1]
            for item in reversed(items[:-1]):
                total = n.Binary("+", item, total)
            return total
    return node


def _sum_of_map(node: Node) -> Node:
    match node:
        case n.Builtin("sum", (n.Builtin("map", found),)):
            return n.Builtin("sum", found)
    return node


def _early_count(node: Node) -> Node:
    """Counting stops when the comparison with a constant is decided."""
    match node:
        case n.Binary(operator, n.Builtin("count", (items, predicate)), n.Literal(limit)) if (
            type(limit) is int
        ):
            if (operator, limit) in ((">", 0), (">=", 1)):
                return n.Builtin("any", (items, predicate))
            enough = {">": limit + 1, ">=": limit, "<": limit, "<=": limit + 1}.get(operator, 0)
            if limit >= 0 and enough > 1:
                return replace(node, left=n.Builtin("count", (items, predicate), enough=enough))
    return node


_RULES: Final = (
    _map_of_filter,
    _length_of_filter,
    _end_of_filter(-1, "last", "findLast"),
    _end_of_filter(0, "first", "find"),
    _combined,
    _sum_of_list,
    _sum_of_map,
    _early_count,
)
