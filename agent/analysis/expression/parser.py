"""Tokens into a tree, with the precedences of expr-lang 1.17."""

from functools import lru_cache
from typing import Final

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

MAX_CHARACTERS: Final = 10_000
MAX_DEPTH: Final = 60
"""Nesting; each level costs several frames of ours here and in the interpreter."""

_UNARY: Final = {"not": 50, "!": 50, "-": 90, "+": 90}
_BINARY: Final = {
    "|": 0,
    "or": 10,
    "||": 10,
    "and": 15,
    "&&": 15,
    **dict.fromkeys(
        ("==", "!=", "<", ">", ">=", "<=", "in", "matches", "contains", "startsWith", "endsWith"),
        20,
    ),
    "..": 25,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "^": 100,
    "??": 500,
}
_RIGHT: Final = ("**", "^")
_ORDERING: Final = ("<", ">", "<=", ">=")
_NEGATABLE: Final = ("in", "matches", "contains", "startsWith", "endsWith")
_SAME: Final = {"and": "&&", "or": "||", "^": "**", "not": "!"}
_CONSTANTS: Final = {"true": True, "false": False, "nil": None}
PREDICATES: Final = {
    "all": (2, 2),
    "none": (2, 2),
    "any": (2, 2),
    "one": (2, 2),
    "filter": (2, 2),
    "map": (2, 2),
    "count": (1, 2),
    "sum": (1, 2),
    "find": (2, 2),
    "findIndex": (2, 2),
    "findLast": (2, 2),
    "findLastIndex": (2, 2),
    "groupBy": (2, 2),
    "sortBy": (2, 3),
    "reduce": (2, 3),
}
"""Builtins whose second argument is a predicate, with the least and most arguments."""


@lru_cache(maxsize=1024)
def parse(text: str, functions: frozenset[str]) -> Node:
    """The tree of an expression. `functions`: names that are called as builtins.

    Raises ExpressionError for anything that is not a whole expression, or a too large one.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"expression is longer than {MAX_CHARACTERS} characters")
    return _Parser(tokens(text), functions).whole()


class _Parser:
    def __init__(self, found: list[Token], functions: frozenset[str]) -> None:
        self._tokens = found
        self._functions = functions
        self._position = 0
        self._depth = 0
        self._predicates = 0

    @property
    def _now(self) -> Token:
        return self._tokens[self._position]

    def whole(self) -> Node:
        node = self._sequence()
        if self._now.kind != "end":
            raise self._unexpected()
        return node

    def _is(self, *texts: str) -> bool:
        return self._now.kind == "operator" and self._now.text in texts

    def _take(self, *texts: str) -> bool:
        if self._is(*texts):
            self._position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected()

    def _name(self) -> str:
        if self._now.kind != "name":
            raise self._unexpected()
        self._position += 1
        return self._tokens[self._position - 1].text

    def _unexpected(self) -> ExpressionError:
        return ExpressionError(f"unexpected token {self._now.text} (at {self._now.at + 1})")

    def _sequence(self) -> Node:
        items = [self._expression(0)]
        while self._take(";"):
            if self._now.kind == "end" or self._is(")", "}"):
                break
            items.append(self._expression(0))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _expression(self, precedence: int) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"expression is nested deeper than {MAX_DEPTH}")
        if precedence == 0 and self._is("let"):
            node = self._let()
        elif precedence == 0 and self._is("if"):
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
        while self._now.kind == "operator":
            negate = self._is("not")
            token = self._tokens[self._position + 1] if negate else self._now
            if negate and token.text not in _NEGATABLE:
                raise self._unexpected()
            power = _BINARY.get(token.text)
            if power is None or power < precedence:
                break
            length += 1
            if length > MAX_DEPTH * 4:
                raise ExpressionError("expression has too many operators in a row")
            self._position += 2 if negate else 1
            if previous == "??" and token.text != "??":
                raise ExpressionError(
                    f"Operator ({token.text}) and coalesce expressions (??) cannot be mixed."
                    " Wrap either by parentheses."
                )
            left = self._joined(left, token.text, power)
            if negate:
                left = Unary("!", left)
            previous = token.text
        return left

    def _joined(self, left: Node, operator: str, power: int) -> Node:
        """The left side with one more operator and its right side."""
        if operator == "|":
            return self._call(self._name(), (left,))
        if operator in _ORDERING:
            return self._comparison(left, operator, power)
        right = self._expression(power if operator in _RIGHT else power + 1)
        return Binary(_SAME.get(operator, operator), left, right)

    def _comparison(self, left: Node, operator: str, power: int) -> Node:
        """`a < b <= c` means `a < b && b <= c`."""
        whole: Node | None = None
        while True:
            right = self._expression(power + 1)
            pair = Binary(operator, left, right)
            whole = pair if whole is None else Binary("&&", whole, pair)
            if not self._is(*_ORDERING):
                return whole
            operator, left = self._now.text, right
            self._position += 1

    def _conditional(self, node: Node) -> Node:
        while self._take("?"):
            if self._take(":"):
                node = Conditional(node, node, self._expression(0))
                continue
            then = self._expression(0)
            self._expect(":")
            node = Conditional(node, then, self._expression(0))
        return node

    def _let(self) -> Node:
        self._expect("let")
        name = self._name()
        self._expect("=")
        value = self._expression(0)
        self._expect(";")
        return Let(name, value, self._sequence())

    def _if(self) -> Node:
        self._expect("if")
        condition = self._expression(0)
        then = self._block()
        self._expect("else")
        return Conditional(
            condition, then, self._expression(0) if self._is("if") else self._block()
        )

    def _block(self) -> Node:
        self._expect("{")
        node = self._sequence()
        self._expect("}")
        return node

    def _primary(self) -> Node:
        token = self._now
        if token.kind == "operator":
            if token.text in _UNARY:
                self._position += 1
                operand = self._expression(_UNARY[token.text])
                return self._postfix(Unary(_SAME.get(token.text, token.text), operand))
            if self._take("("):
                node = self._sequence()
                self._expect(")")
                return self._postfix(node)
            if self._predicates and token.text in ("#", "."):
                return self._postfix(Pointer(self._pointer_name()))
            if self._take("::"):
                return self._postfix(self._call(self._name(), ()))
        return self._postfix(self._atom())

    def _pointer_name(self) -> str:
        """What follows `#`; a dot is left for the postfix, as in `.field`."""
        if not self._take("#"):
            return ""
        if self._now.kind == "name" and self._now.at == self._tokens[self._position - 1].at + 1:
            return self._name()
        return ""

    def _atom(self) -> Node:
        token = self._now
        if token.kind in ("number", "string"):
            self._position += 1
            return Literal(token.value)
        if token.kind == "name":
            self._position += 1
            if token.text in _CONSTANTS:
                return Literal(_CONSTANTS[token.text])
            return self._call(token.text, ()) if self._is("(") else Name(token.text)
        if self._take("["):
            return ListLiteral(self._items("]"))
        if self._take("{"):
            return self._map()
        raise self._unexpected()

    def _items(self, end: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._take(end):
            if items:
                self._expect(",")
                if self._take(end):
                    break
            items.append(self._expression(0))
        return tuple(items)

    def _map(self) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while not self._take("}"):
            if pairs:
                self._expect(",")
                if self._take("}"):
                    break
            pairs.append((self._key(), self._value()))
        return MapLiteral(tuple(pairs))

    def _key(self) -> Node:
        token = self._now
        if token.kind in ("number", "string", "name"):
            self._position += 1
            return Literal(token.value if token.kind == "string" else token.text)
        if self._take("("):
            node = self._expression(0)
            self._expect(")")
            return node
        raise ExpressionError(
            f"a map key must be a quoted string, a number, a identifier, or an expression"
            f" enclosed in parentheses (unexpected token {token.text})"
        )

    def _value(self) -> Node:
        self._expect(":")
        return self._expression(0)

    def _call(self, name: str, first: tuple[Node, ...]) -> Node:
        """A call by name; `first` is what was piped into it."""
        self._expect("(")
        if name in PREDICATES:
            node: Node = self._predicate_call(name, first)
        elif name in self._functions:
            node = Builtin(name, (*first, *self._items(")")))
        else:
            node = Call(Name(name), (*first, *self._items(")")))
        return self._postfix(node) if first else node

    def _predicate_call(self, name: str, first: tuple[Node, ...]) -> Node:
        least, most = PREDICATES[name]
        found = list(first)
        while not self._take(")"):
            if len(found) > len(first):
                self._expect(",")
                if self._take(")"):
                    break
            found.append(self._predicate() if len(found) == 1 else self._expression(0))
        if len(found) < least:
            raise ExpressionError(f"not enough arguments to call {name}")
        if len(found) > most:
            raise ExpressionError(f"too many arguments to call {name}")
        return Builtin(name, tuple(found))

    def _predicate(self) -> Node:
        self._predicates += 1
        braces = self._take("{")
        body = self._sequence() if braces else self._expression(0)
        if braces:
            self._expect("}")
        self._predicates -= 1
        return Predicate(body)

    def _postfix(self, node: Node) -> Node:
        optional = False
        while self._now.kind == "operator":
            if self._is(".", "?."):
                asked = self._now.text == "?."
                self._position += 1
                optional = optional or asked
                node = self._member(node, asked)
            elif self._take("["):
                node = self._bracket(node, False)
            else:
                break
        return Chain(node) if optional else node

    def _member(self, base: Node, optional: bool) -> Node:
        if optional and self._take("["):
            return self._bracket(base, True)
        token = self._now
        if token.kind != "name" and not (token.kind == "operator" and token.text.isalpha()):
            raise self._unexpected()
        self._position += 1
        member = Member(base, Literal(token.text), optional)
        if self._take("("):
            return Call(member, self._items(")"))
        return member

    def _bracket(self, base: Node, optional: bool) -> Node:
        if self._take(":"):
            stop = None if self._is("]") else self._expression(0)
            self._expect("]")
            return Slice(base, None, stop)
        key = self._expression(0)
        if self._take(":"):
            stop = None if self._is("]") else self._expression(0)
            self._expect("]")
            return Slice(base, key, stop)
        self._expect("]")
        return Member(base, key, optional)
