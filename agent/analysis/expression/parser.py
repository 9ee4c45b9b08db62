"""Tokens into a tree, with the precedences of expr-lang 1.17."""

from typing import Final

from agent.analysis.expression.cursor import Cursor
from agent.analysis.expression.lexer import Token, tokens
from agent.analysis.expression.nodes import (
    Binary,
    Builtin,
    Call,
    Chain,
    Conditional,
    ExpressionError,
    Let,
    ListLiteral,
    Literal,
    MapLiteral,
    Member,
    Name,
    Node,
    Pointer,
    Predicate,
    Sequence,
    Slice,
    Unary,
)
from agent.analysis.expression.operators import (
    BINARY,
    CONSTANTS,
    NEGATABLE,
    ORDERING,
    PREDICATES,
    RIGHT,
    SAME,
    UNARY,
)

MAX_CHARACTERS: Final = 10_000
MAX_DEPTH: Final = 60
"""Nesting; each level costs several frames of ours here and in the interpreter."""


def parse(text: str, functions: frozenset[str]) -> Node:
    """The tree of an expression. `functions`: names that are called as builtins.

    Raises ExpressionError for anything that is not a whole expression, or a too large one.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"expression is longer than {MAX_CHARACTERS} characters")
    return _Parser(tokens(text), functions).whole()


class _Parser(Cursor):
    def __init__(self, found: list[Token], functions: frozenset[str]) -> None:
        super().__init__(found)
        self._functions = functions
        self._depth = 0
        self._predicates = 0

    def whole(self) -> Node:
        node = self._sequence()
        if self.now.kind != "end":
            raise self.unexpected()
        return node

    def _sequence(self) -> Node:
        items = [self._expression(0)]
        while self.take(";"):
            if self.now.kind == "end":
                break
            items.append(self._expression(0))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _expression(self, precedence: int) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"expression is nested deeper than {MAX_DEPTH}")
        if precedence == 0 and self.at("let"):
            node = self._let()
        elif precedence == 0 and self.at("if"):
            node = self._if()
        else:
            node = self._operators(precedence)
            if precedence == 0:
                node = self._conditional(node)
        self._depth -= 1
        return node

    def _operators(self, precedence: int) -> Node:
        left = self._primary()
        previous, length = "", 0
        while self.now.kind == "operator":
            negate = self.at("not")
            token = self.tokens[self.position + 1] if negate else self.now
            if negate and token.text not in NEGATABLE:
                raise self.unexpected()
            power = BINARY.get(token.text)
            if power is None or power < precedence:
                break
            length += 1
            if length > MAX_DEPTH * 4:
                raise ExpressionError("expression has too many operators in a row")
            self.position += 2 if negate else 1
            if previous == "??" and token.text not in ("??", "|"):
                raise ExpressionError(
                    f"Operator ({token.text}) and coalesce expressions (??) cannot be mixed."
                    " Wrap either by parentheses."
                )
            left = self._joined(left, token.text, power)
            if negate:
                left = Unary("!", left, "not")
            previous = token.text
        return left

    def _joined(self, left: Node, operator: str, power: int) -> Node:
        """The left side with one more operator and its right side."""
        if operator == "|":
            return self._call(self.name(), (left,))
        if operator in ORDERING:
            return self._comparison(left, operator, power)
        right = self._expression(power if operator in RIGHT else power + 1)
        return Binary(SAME.get(operator, operator), left, right, operator)

    def _comparison(self, left: Node, operator: str, power: int) -> Node:
        """`a < b <= c` means `a < b && b <= c`."""
        whole: Node | None = None
        while True:
            right = self._expression(power + 1)
            pair = Binary(operator, left, right)
            whole = pair if whole is None else Binary("&&", whole, pair)
            if not self.at(*ORDERING):
                return whole
            operator, left = self.now.text, right
            self.position += 1

    def _conditional(self, node: Node) -> Node:
        while self.take("?"):
            if self.take(":"):
                node = Conditional(node, node, self._expression(0))
                continue
            then = self._expression(0)
            self.expect(":")
            node = Conditional(node, then, self._expression(0))
        return node

    def _let(self) -> Node:
        self.expect("let")
        name = self.name()
        self.expect("=")
        value = self._expression(0)
        self.expect(";")
        return Let(name, value, self._sequence())

    def _if(self) -> Node:
        self.expect("if")
        condition = self._expression(0)
        then = self._block()
        self.expect("else")
        return Conditional(condition, then, self._expression(0) if self.at("if") else self._block())

    def _block(self) -> Node:
        self.expect("{")
        node = self._sequence()
        self.expect("}")
        return node

    def _primary(self) -> Node:
        token = self.now
        if token.kind == "operator":
            if token.text in UNARY:
                self.position += 1
                operand = self._expression(UNARY[token.text])
                unary = Unary(SAME.get(token.text, token.text), operand, token.text)
                return self._postfix(unary)
            if self.take("("):
                node = self._sequence()
                self.expect(")")
                return self._postfix(node)
            if self._predicates and token.text in ("#", "."):
                return self._postfix(Pointer(self._pointer_name()))
            if self.take("::"):
                return self._postfix(self._call(self.name(), ()))
        return self._atom()

    def _pointer_name(self) -> str:
        """What follows `#`; a dot is left for the postfix, as in `.field`."""
        return self.name() if self.take("#") and self.now.kind == "name" else ""

    def _atom(self) -> Node:
        """Nothing follows a number or a constant: `1.foo` and `nil.foo` are no expressions."""
        token = self.now
        if token.kind == "number" or token.text in CONSTANTS:
            self.position += 1
            return Literal(CONSTANTS.get(token.text, token.value))
        if token.kind == "string":
            self.position += 1
            return self._postfix(Literal(token.value))
        if token.kind == "name":
            self.position += 1
            called = self.at("(")
            return self._postfix(self._call(token.text, ()) if called else Name(token.text))
        if self.take("["):
            return self._postfix(ListLiteral(self._items("]")))
        if self.take("{"):
            return self._postfix(self._map())
        raise self.unexpected()

    def _items(self, end: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self.take(end):
            if items:
                self.expect(",")
                if self.take(end):
                    break
            items.append(self._expression(0))
        return tuple(items)

    def _map(self) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while not self.take("}"):
            if pairs:
                self.expect(",")
                if self.take("}"):
                    break
            pairs.append((self._key(), self._value()))
        return MapLiteral(tuple(pairs))

    def _key(self) -> Node:
        token = self.now
        if token.kind in ("number", "name") or (
            token.kind == "string" and type(token.value) is str
        ):
            self.position += 1
            return Literal(token.value if token.kind == "string" else token.text)
        if self.at("("):
            return self._expression(0)
        raise ExpressionError(
            f"a map key must be a quoted string, a number, a identifier, or an expression"
            f" enclosed in parentheses (unexpected token {token.text})"
        )

    def _value(self) -> Node:
        self.expect(":")
        return self._expression(0)

    def _call(self, name: str, first: tuple[Node, ...]) -> Node:
        """A call by name; `first` is what was piped into it."""
        node: Node
        self.expect("(")
        if name in PREDICATES:
            node = self._predicate_call(name, first)
        elif name in self._functions:
            node = Builtin(name, (*first, *self._items(")")))
        else:
            node = Call(Name(name), (*first, *self._items(")")))
        return node

    def _predicate_call(self, name: str, first: tuple[Node, ...]) -> Node:
        least, most = PREDICATES[name]
        found = list(first)
        for place in range(len(first), most):
            if self.at(")"):
                if place < least:
                    raise ExpressionError(f"expected at least {most - len(first)} arguments")
                break
            if len(found) > len(first):
                self.expect(",")
            found.append(self._predicate() if place == 1 else self._expression(0))
        self.take(",")
        self.expect(")")
        return Builtin(name, tuple(found))

    def _predicate(self) -> Node:
        self._predicates += 1
        braces = self.take("{")
        body = self._sequence() if braces else self._expression(0)
        if not braces and self.at(";"):
            raise ExpressionError("wrap predicate with brackets { and }")
        self._predicates -= 1
        if braces:
            self.expect("}")
        return Predicate(body)

    def _postfix(self, node: Node) -> Node:
        """What follows: fields, calls of methods, indexes, slices.

        A field after `?.` belongs to its chain, and the chain is nil as a whole; an index does not.
        """
        while self.now.kind == "operator":
            optional = self.at("?.")
            if self.take(".", "?.") and not (optional and self.at("[")):
                chained = isinstance(node, Chain)
                node = self._member(node.inner if isinstance(node, Chain) else node, optional)
                node = Chain(node) if chained or optional else node
            elif self.take("["):
                node = self._bracket(node, optional)
            else:
                break
        return node

    def _member(self, base: Node, optional: bool) -> Node:
        token = self.now
        if token.kind != "name" and not (token.kind == "operator" and token.text.isalpha()):
            raise ExpressionError("expected name")
        self.position += 1
        if self.take("("):
            member = Member(base, Literal(token.text), optional, called=True)
            return Call(member, self._items(")"))
        return Member(base, Literal(token.text), optional)

    def _bracket(self, base: Node, optional: bool) -> Node:
        start = None if self.at(":") else self._expression(0)
        if self.take(":"):
            stop = None if self.at("]") else self._expression(0)
            self.expect("]")
            return Slice(base, start, stop)
        self.expect("]")
        member = Member(base, start or Literal(None), optional)
        return Chain(member) if optional else member
