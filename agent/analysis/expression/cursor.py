"""A place in the tokens of an expression."""

from agent.analysis.expression.kinds import as_text
from agent.analysis.expression.lexer import Token
from agent.analysis.expression.nodes import ExpressionError, quoted


class Cursor:
    """Reads tokens one after the other; the last one is the end and is never passed."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.position = 0

    @property
    def now(self) -> Token:
        return self.tokens[self.position]

    def at(self, *texts: str) -> bool:
        """Whether one of these operators or brackets stands here."""
        return self.now.kind == "operator" and self.now.text in texts

    def take(self, *texts: str) -> bool:
        """As `at`, and passes it."""
        if self.at(*texts):
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.unexpected()

    def name(self) -> str:
        """The name that must stand here; passes it."""
        if self.now.kind != "name":
            raise self.unexpected()
        self.position += 1
        return self.tokens[self.position - 1].text

    def unexpected(self) -> ExpressionError:
        """In the words of expr-lang: the kind of the token, and its value in quotes."""
        token = self.now
        if token.kind == "end":
            return ExpressionError("unexpected token EOF")
        kind = "Identifier" if token.kind == "name" else token.kind.capitalize()
        if isinstance(token.value, bytes):
            kind = "Bytes"
        if token.kind == "operator" and token.text in "()[]{}":
            kind = "Bracket"
        shown = token.value if token.kind == "string" else token.text
        text = as_text(shown) if isinstance(shown, bytes) else shown
        return ExpressionError(f"unexpected token {kind}({quoted(text)})")
