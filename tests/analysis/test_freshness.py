"""Which series stand behind a query, and what Prometheus' answer about them says against the data."""

from typing import Any

import pytest

from agent.analysis.missing import Missing
from agent.analysis.providers.freshness import Ranged, doubt, question, ranges

X = Ranged("x", "2m", rated=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("up", (), id="no range"),
        pytest.param("sum(rate(x[2m]))", (X,), id="a rate"),
        pytest.param("rate(x[2m]) / rate(x[2m])", (X,), id="the same range twice"),
        pytest.param("max_over_time(x[2m])", (Ranged("x", "2m", rated=False),), id="no rate"),
        pytest.param(
            'increase ( {__name__="x", a="}[5m]"} [1h30m] )',
            (Ranged('{__name__="x", a="}[5m]"}', "1h30m", rated=True),),
            id="brackets in a matcher",
        ),
        pytest.param("rate(a:b[2m])", (Ranged("a:b", "2m", rated=True),), id="a recording rule"),
        pytest.param("rate(x[2m] offset 1d)", (), id="of another time"),
        pytest.param("rate(x[2m] @ 123)", (), id="of a fixed time"),
        pytest.param("max_over_time(rate(x[2m])[1h:1m])", (X,), id="a subquery of a range"),
        pytest.param("x[5m:1m]", (), id="a subquery"),
        pytest.param('label_replace(rate(x[2m]), "a", "y[5m]", "", "")', (X,), id="in a text"),
        pytest.param("# y[5m]\nrate(x[2m])", (X,), id="in a comment"),
    ],
)
def test_the_ranges_of_a_query_are_those_that_end_now(
    query: str, expected: tuple[Ranged, ...]
) -> None:
    assert ranges(query) == expected


def test_no_query_asks_about_more_than_a_few() -> None:
    assert len(ranges(" + ".join(f"rate(x{i}[1m])" for i in range(50)))) == 8


def test_the_question_is_one_query() -> None:
    assert question([X]) == (
        'label_replace(group(x), "serinus_probe", "live 0", "", "")'
        ' or label_replace(sum(min_over_time(x[2m]) unless x offset 2m), "serinus_probe", "unseen 0", "", "")'
        ' or label_replace(sum(increase(x[2m])), "serinus_probe", "seen 0", "", "")'
    )


def told(**values: float) -> list[dict[str, Any]]:
    return [
        {"metric": {"serinus_probe": f"{name} 0"}, "value": [0, str(value)]}
        for name, value in values.items()
    ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(told(live=1, seen=100), "", id="live and seen"),
        pytest.param(told(live=1, seen=100, unseen=20), "", id="a young series among others"),
        pytest.param(told(live=1, seen=100, unseen=500), "partial data", id="born with more"),
        pytest.param(told(live=1, unseen=5), "partial data", id="born with all"),
        pytest.param(told(seen=100), "stale sample", id="no series is live"),
        pytest.param([], "stale sample", id="nothing is known"),
    ],
)
def test_what_the_answer_says_against_the_data(answer: list[dict[str, Any]], kind: str) -> None:
    found = doubt([X], answer)
    assert (found.kind if isinstance(found, Missing) else "") == kind


def test_one_live_range_is_enough() -> None:
    """The numerator of an error rate may have had its last failure long ago."""
    second = {"metric": {"serinus_probe": "live 1"}, "value": [0, "1"]}
    assert doubt([X, Ranged("y", "2m", rated=True)], [second]) is None


def test_an_answer_without_our_label_is_none() -> None:
    with pytest.raises(KeyError):
        doubt([X], [{"metric": {}, "value": [0, "1"]}])
