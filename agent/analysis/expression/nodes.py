"""The tree of an expression. Immutable, so a parsed expression is shared by all its evaluations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any


class ExpressionError(Exception):
    """An expression that cannot be parsed, or that fails on this value; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """`#` ("" ), `#index`, `#acc`: what a predicate looks at."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary:
    operator: str
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Member:
    """`base.key` or `base[key]`; `optional` (`?.`) gives nil for the whole chain when the base is nil."""

    base: "Node"
    key: "Node"
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    base: "Node"
    start: "Node | None"
    stop: "Node | None"


@dataclass(frozen=True, slots=True)
class Chain:
    """Bounds of a chain with `?.`: nil anywhere inside it makes the chain nil."""

    inner: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the environment, or a method when the callee is a member."""

    callee: "Node"
    arguments: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Builtin:
    """A builtin. The rest is set by rewriting.

    Attributes:
        mapped: of `filter` and `find`: what becomes of a hit.
        throws: of `find`: no hit is an error.
        enough: of `count`: hits after which counting may stop.
    """

    name: str
    arguments: "tuple[Node, ...]"
    mapped: "Node | None" = None
    throws: bool = False
    enough: int | None = None


@dataclass(frozen=True, slots=True)
class Predicate:
    body: "Node"


@dataclass(frozen=True, slots=True)
class Conditional:
    condition: "Node"
    then: "Node"
    otherwise: "Node"


@dataclass(frozen=True, slots=True)
class ListLiteral:
    items: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class MapLiteral:
    pairs: "tuple[tuple[Node, Node], ...]"


@dataclass(frozen=True, slots=True)
class Let:
    name: str
    value: "Node"
    body: "Node"


@dataclass(frozen=True, slots=True)
class Sequence:
    """`a; b`: all are evaluated, the last one counts."""

    items: "tuple[Node, ...]"


Node = (
    Literal
    | Name
    | Pointer
    | Unary
    | Binary
    | Member
    | Slice
    | Chain
    | Call
    | Builtin
    | Predicate
    | Conditional
    | ListLiteral
    | MapLiteral
    | Let
    | Sequence
)


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    for field in fields(node):
        yield from _below(getattr(node, field.name))


def _below(part: Any) -> Iterator[Node]:
    if isinstance(part, Node):
        yield from walk(part)
    elif isinstance(part, tuple):
        for item in part:
            yield from _below(item)


def rebuilt(node: Node, rule: Callable[[Node], Node]) -> Node:
    """The tree with every node replaced by what the rule makes of it, from the leaves up."""
    changed = {}
    for field in fields(node):
        part = getattr(node, field.name)
        new = _rebuilt_part(part, rule)
        if new is not part:
            changed[field.name] = new
    return rule(replace(node, **changed) if changed else node)


def _rebuilt_part(part: Any, rule: Callable[[Node], Node]) -> Any:
    if isinstance(part, Node):
        return rebuilt(part, rule)
    if isinstance(part, tuple):
        new = tuple(_rebuilt_part(item, rule) for item in part)
        return new if any(a is not b for a, b in zip(new, part, strict=True)) else part
    return part
