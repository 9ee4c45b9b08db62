"""The tree of an expression. Immutable, so a parsed expression is shared by all its evaluations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any


class ExpressionError(Exception):
    """An expression that cannot be parsed, or that fails on this value; the text is for the user."""


def quoted(text: str) -> str:
    """The text in double quotes, as Go writes it in errors."""
    parts = []
    for char in text:
        if char in '"\\':
            parts.append(f"\\{char}")
        elif char.isprintable() and not "\udc80" <= char <= "\udcff":
            parts.append(char)
        else:
            known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
            parts.append(
                known.get(char)
                or "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
            )
    return f'"{"".join(parts)}"'


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
    """`written` is the operator as the user wrote it."""

    operator: str
    operand: "Node"
    written: str = ""


@dataclass(frozen=True, slots=True)
class Binary:
    """`written` is the operator as the user wrote it; `of` the type of both sides, where it is known."""

    operator: str
    left: "Node"
    right: "Node"
    written: str = ""
    of: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """`base.key` or `base[key]`; `optional` (`?.`) gives nil for the whole chain when the base is nil."""

    base: "Node"
    key: "Node"
    optional: bool = False
    called: bool = False


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
    return marked(node, lambda new, _old: rule(new))


def marked(node: Node, rule: Callable[[Node, Node], Node]) -> Node:
    """As `rebuilt`; the rule also gets the node as it was, to know it by."""
    changed = {}
    for field in fields(node):
        part = getattr(node, field.name)
        new = _marked_part(part, rule)
        if new is not part:
            changed[field.name] = new
    return rule(replace(node, **changed) if changed else node, node)


def _marked_part(part: Any, rule: Callable[[Node, Node], Node]) -> Any:
    if isinstance(part, Node):
        return marked(part, rule)
    if isinstance(part, tuple):
        new = tuple(_marked_part(item, rule) for item in part)
        return new if any(a is not b for a, b in zip(new, part, strict=True)) else part
    return part
