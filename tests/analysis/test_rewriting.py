"""What is folded away never fails, and what stops early never meets what would have failed: as in expr-lang."""

from typing import Any

import pytest

from agent.analysis.expression import ExpressionError, evaluate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("result[7] > 1 || true", True, id="a constant decides from the right"),
        pytest.param("result[7] > 1 and false", False, id="and so does false"),
        pytest.param("true && result[0] < 1", True, id="a constant that decides nothing"),
        pytest.param("count(result, #index < 1) == 1", None, id="no index outside of map"),
        pytest.param("count([1, 'a'], # > 0) > 0", True, id="counting stops at the first"),
        pytest.param("count([1, 2, 'a'], # > 0) >= 2", True, id="counting stops when decided"),
        pytest.param("count([1, 'a'], # > 0) == 1", None, id="an equality needs all"),
        pytest.param("filter([1, 'a'], # > 0)[0]", 1, id="the first of a filter is a search"),
        pytest.param("first(filter([1, 'a'], # > 0))", 1, id="first is, too"),
        pytest.param("map(filter([1, 'a'], # > 0), # + 1)[0]", 2, id="through a map"),
        pytest.param("filter([1], # > 1)[0]", None, id="a search without hit"),
        pytest.param("first(filter([1], # > 1))", type(None), id="first without hit is nil"),
        pytest.param("len(map(filter([1], true), # + nil))", None, id="types are checked before"),
        pytest.param("all([1, 'a'], # == 2) && all([1, 'a'], # > 0)", False, id="in one go"),
        pytest.param("false && 1 % 0 == 1", None, id="a remainder by 0 is never folded away"),
        pytest.param("'a' in ['a', 'b']", True, id="among texts"),
        pytest.param("result[0] in ['a', 'b']", None, id="a number among texts"),
        pytest.param("nil in ['', 'b']", True, id="nil among texts is the empty one"),
        pytest.param("2 in 1..9999999", True, id="a range need not be made"),
        pytest.param("isNaN(1)", False, id="a whole number where a float is wanted"),
        pytest.param("isInf(-(0) + max(3, []))", None, id="nor beside something unknown"),
        pytest.param("all(result, #in result)", None, id="no operator right after a pointer"),
        pytest.param("isNaN(len(result))", None, id="but not a computed one"),
        pytest.param(
            "sum(['a' + string(1), 'b'])", "a1b", id="a sum of texts that are written out"
        ),
        pytest.param("max(1, 2.5) == 2", None, id="a type that is taken for granted"),
    ],
)
def test_a_rewritten_expression_means_what_it_means_in_the_real_language(
    text: str, expected: Any
) -> None:
    if expected is None:
        with pytest.raises(ExpressionError):
            evaluate(text, [0.5])
    elif expected is type(None):
        assert evaluate(text, [0.5])[0] is None
    else:
        assert evaluate(text, [0.5])[0] == expected
