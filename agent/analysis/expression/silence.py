"""What an expression itself asks about missing data: then its author has decided what silence means. PURE."""

from typing import Final

from agent.analysis.expression import nodes as n
from agent.analysis.expression.nodes import Node, walk
from agent.analysis.missing import EMPTY, INFINITE, NAN

_COMPARISONS: Final = ("==", "!=", "<", ">", "<=", ">=")
_ASKING: Final = {"isNaN": NAN, "isInf": INFINITE, "isNil": EMPTY, "default": EMPTY}


def asked(tree: Node) -> frozenset[str]:
    """EMPTY, NAN and INFINITE, as far as the expression asks for them."""
    return frozenset(found for node in walk(tree) if (found := _question(node)))


def _question(node: Node) -> str:
    match node:
        case n.Call(callee=n.Name(name)):
            return _ASKING.get(name, "")
        case n.Binary(operator="??"):
            return EMPTY
        case n.Binary(operator, left, right) if operator in _COMPARISONS:
            if _counts(left, right) or _counts(right, left):
                return EMPTY
            if operator in ("==", "!=") and (_is_nothing(left) or _is_nothing(right)):
                return EMPTY
            if operator in ("==", "!=") and left == right:
                # Only NaN differs from itself.
                return NAN
    return ""


def _is_nothing(node: Node) -> bool:
    return node in (n.Literal(None), n.Literal(""), n.ListLiteral(()))


def _counts(node: Node, other: Node) -> bool:
    """`len(result) == 0`: of a place in the result, not of what a filter left of it."""
    match node, other:
        case n.Builtin("len", (place,)), n.Literal(value):
            return isinstance(value, int) and _is_place(place)
    return False


def _is_place(node: Node) -> bool:
    match node:
        case n.Name() | n.Pointer():
            return True
        case n.Member(base, _) | n.Chain(n.Member(base, _)):
            return _is_place(base)
    return False
