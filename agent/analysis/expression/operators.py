"""Operators with their precedences in expr-lang 1.17, constants, and builtins that take predicates."""

from typing import Final

UNARY: Final = {"not": 50, "!": 50, "-": 90, "+": 90}
BINARY: Final = {
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
RIGHT: Final = ("**", "^")
ORDERING: Final = ("<", ">", "<=", ">=")
NEGATABLE: Final = ("in", "matches", "contains", "startsWith", "endsWith")
SAME: Final = {"and": "&&", "or": "||", "^": "**", "not": "!"}
CONSTANTS: Final = {"true": True, "false": False, "nil": None}
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
