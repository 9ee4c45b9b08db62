"""Text of an expression into tokens."""

import re
from typing import Any, Final, NamedTuple

from agent.analysis.expression.nodes import ExpressionError

WORD_OPERATORS: Final = frozenset(
    {"in", "not", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"}
)
_ESCAPES: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
}
_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*|/\*.*?\*/)
    | (?P<number>0[xX][0-9a-fA-F_]*|0[oO][0-7_]*|0[bB][01_]*
        |(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]*)?)(?![\w$])
    | (?P<bytes>[bB](?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<raw>`(?:[^`]|``)*`)
    | (?P<name>[^\W\d][\w$]*|\$[\w$]*)
    | (?P<bracket>[()\[\]{}])
    | (?P<operator>\.\.|\?\.|\?\?|\*\*|==|!=|<=|>=|&&|\|\||::|[#,?:%+\-/*^<>!=|.;])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(
    r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-3][0-7]{2})|(.))"
)
_PIECES: Final = re.compile(r"\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{2}|.)|[^\\]+", re.DOTALL)


class Token(NamedTuple):
    """`kind`: number, string, name, operator (with brackets) or end; `text` as written but for strings."""

    kind: str
    text: str
    value: Any
    at: int


def tokens(text: str) -> list[Token]:
    """All tokens and an end. Raises ExpressionError at what is none."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"unrecognized character {text[position]!r} (at {position + 1})")
        position = match.end()
        kind, source = match.lastgroup or "", match.group()
        if kind == "space":
            continue
        pointer = found[-1] if found and found[-1].text == "#" else None
        if kind == "name" and pointer and pointer.at + 1 == match.start():
            # `#in` is a pointer of that name, whatever the word means elsewhere.
            found.append(Token("name", source, source, match.start()))
        else:
            found.append(_token(kind, source, match.start()))
    found.append(Token("end", "end of expression", None, len(text)))
    return found


def _token(kind: str, source: str, at: int) -> Token:
    if kind == "number":
        return Token("number", source, _number(source), at)
    if kind in ("string", "bytes"):
        return Token("string", source, _quoted(source), at)
    if kind == "raw":
        return Token("string", source, source[1:-1].replace("``", "`"), at)
    if kind == "name" and source not in WORD_OPERATORS:
        return Token("name", source, source, at)
    return Token("operator", source, source, at)


def _number(source: str) -> int | float:
    digits = source.replace("_", "").lower()
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2])
    try:
        if base is None and not digits.isdigit():
            found = float(digits)
            if found == float("inf"):
                raise ExpressionError(f"invalid float literal: {source} is out of range")
            return found
        value = int(digits[2:], base) if base else int(digits)
    except ValueError:
        raise ExpressionError(f"bad number syntax: {source!r}") from None
    if value >= 2**63:
        raise ExpressionError(f"integer literal is too large: {source}")
    return value


def _quoted(source: str) -> str | bytes:
    """The text or the bytes of a quoted literal; a line end written as CR or CRLF is LF."""
    quote, body = source[-1], source[source.index(source[-1]) + 1 : -1]
    body = body.replace("\r\n", "\n").replace("\r", "\n")
    if quote == source[0]:
        return _ESCAPE.sub(lambda found: _unescaped(found, quote), body)
    return b"".join(_bytes(part, quote) for part in _PIECES.findall(body))


def _bytes(piece: str, quote: str) -> bytes:
    if not piece.startswith("\\"):
        return piece.encode()
    if piece[1] in "uU":
        raise ExpressionError("unable to unescape string")
    return bytes([ord(_ESCAPE.sub(lambda found: _unescaped(found, quote), piece))])


def _unescaped(match: re.Match[str], quote: str) -> str:
    *codes, octal, char = match.groups()
    for code in codes:
        if code is not None:
            return _char(int(code, 16))
    if octal is not None:
        return _char(int(octal, 8))
    if char not in (*_ESCAPES, quote):
        raise ExpressionError(f"invalid char escape \\{char}")
    return _ESCAPES.get(char, char)


def _char(code: int) -> str:
    if code > 0x10FFFF:
        raise ExpressionError("unable to unescape string")
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)
