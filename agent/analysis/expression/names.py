"""Names of an expression are checked before it runs, so that a wrong one never hides in a branch."""

from dataclasses import fields
from functools import lru_cache
from typing import Any

from agent.analysis.expression import nodes as n
from agent.analysis.expression.nodes import ExpressionError, Node


@lru_cache(maxsize=1024)
def check_names(node: Node, environment: frozenset[str], functions: frozenset[str]) -> None:
    """Raises ExpressionError for a name that nothing defines, or a variable that hides another."""
    _check(node, environment | {"$env"}, functions)


def _check(node: Any, known: frozenset[str], functions: frozenset[str]) -> None:
    if isinstance(node, n.Name) and node.name not in known:
        raise ExpressionError(f"unknown name {node.name}")
    if isinstance(node, n.Let):
        _check(node.value, known, functions)
        if node.name in known:
            raise ExpressionError(f"cannot redeclare variable {node.name}")
        if node.name in functions:
            raise ExpressionError(f"cannot redeclare builtin {node.name}")
        _check(node.body, known | {node.name}, functions)
    elif isinstance(node, tuple):
        for item in node:
            _check(item, known, functions)
    elif hasattr(node, "__dataclass_fields__"):
        for field in fields(node):
            _check(getattr(node, field.name), known, functions)
