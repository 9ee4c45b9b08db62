"""Texts of the chat."""

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.meta import Key
from agent.engine.port import View
from agent.events.catalogue import Cause, Deployment, RevisionInfo, RolloutEvent, Timings, Weights
from handlers.telegram.render import MAX_TEXT, alarm, bar, live, text, unheeded


class Balanced(HTMLParser):
    """Fails on a tag that is not closed, as Telegram would."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"b", "i", "code"}, tag
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @classmethod
    def check(cls, markup: str) -> None:
        parser = cls()
        parser.feed(markup)
        parser.close()
        assert parser.open == []


def a_view(status: dict[str, Any] | None = None, **fields: Any) -> View:
    rollout = {
        "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"strategy": {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}},
        "status": {
            "phase": "Paused",
            "message": "CanaryPauseStep",
            "currentStepIndex": 1,
            **(status or {}),
        },
    }
    state: dict[str, Any] = {
        "in_progress": True,
        "current_hash": "new",
        "stable_hash": "old",
        "revision": "2",
    }
    return View(key=Key("shop", "checkout"), rollout=rollout, **{**state, **fields})


def a_replica_set(revision_hash: str, image: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"checkout-{revision_hash}",
            "labels": {"rollouts-pod-template-hash": revision_hash},
        },
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    }


def test_the_live_message_tells_revision_images_weight_step_and_why() -> None:
    sets = [a_replica_set("new", "shop:v2"), a_replica_set("old", "shop:v1")]
    message = live(a_view(canary_weight=30, why="waits for a person to promote"), sets)
    for words in (
        "shop/checkout",
        "revision 2",
        "shop:v1 → shop:v2",
        "30 %",
        "step 1/2",
        "waits for a person",
    ):
        assert words in message
    Balanced.check(message)


def test_the_alarm_tells_the_alert_its_labels_and_the_way_back() -> None:
    event = RolloutEvent(
        namespace="shop",
        name="checkout",
        new=RevisionInfo(
            revision="2",
            images=["shop:v2"],
            deployment=Deployment(git_revision="0123456789abcdef", actor="ann"),
        ),
        old=RevisionInfo(revision="1", images=["shop:v1"]),
        cause=Cause(
            kind="alert",
            summary="alert HighErrorRate: 5xx > 5 %",
            evidence={
                "labels": {"alertname": "HighErrorRate", "severity": "critical"},
                "ratio": 0.31,
            },
            started_at="2026-01-01T12:00:00Z",
        ),
    )
    message = alarm(event)
    for words in (
        "shop:v2",
        "shop:v1",
        "HighErrorRate",
        "severity=critical",
        "0.31",
        "0123456789ab",
        "by ann",
    ):
        assert words in message
    assert "5xx &gt; 5 %" in message
    Balanced.check(message)


def test_an_abort_that_nobody_carries_out_is_not_called_a_rollback() -> None:
    event = RolloutEvent(
        namespace="shop",
        name="checkout",
        new=RevisionInfo(revision="7", images=["shop:v2"]),
        weights=Weights(before=20, after=20),
        cause=Cause(kind="alert", summary="alert HighErrorRate: 5xx > 5 %"),
        timings=Timings(decided_at="2026-05-01T10:03:07.409Z"),
    )
    message = unheeded(event)
    for words in (
        "Not taken off: shop/checkout",
        "revision 7 <code>shop:v2</code> is aborted since 2026-05-01T10:03:07.409Z",
        "its weight is 20 %",
        "5xx &gt; 5 %",
    ):
        assert words in message
    assert "Rollback" not in message
    Balanced.check(message)
    Balanced.check(unheeded(RolloutEvent(namespace="n", name="<x>")))


def test_the_alarm_of_an_analysis_gives_the_words_and_numbers_of_what_failed() -> None:
    said = "canary fails 4.1× as often as stable, at least 1.8× with 99 % certainty, after 341 requests"
    metrics = {
        "errors": {
            "phase": "Failed",
            "message": said,
            "sequential": {"evidence": 823.0, "r0": 1.5},
        },
        "speed": {"phase": "Failed", "values": ["[0.31]"], "message": ""},
        "fine": {"phase": "Successful", "message": "all is <well>"},
    }
    cause = Cause(kind="analysis", summary="it failed", evidence={"metrics": metrics})
    message = alarm(RolloutEvent(namespace="n", name="x", cause=cause))
    assert f"<code>errors</code>: {said}" in message
    assert "evidence 823, r0 1.5" in message
    assert "<code>speed</code>: [0.31]" in message
    assert "well" not in message
    Balanced.check(message)


@given(st.text(max_size=900))
def test_any_text_is_escaped_and_bounded(value: str) -> None:
    Balanced.check(f"<b>{text(value)}</b>")
    event = RolloutEvent(
        namespace="n",
        name="x",
        cause=Cause(kind="alert", summary=value, evidence={"labels": {"a": value}}),
    )
    message = alarm(event)
    Balanced.check(message)
    assert len(message.encode("utf-16-le")) // 2 <= MAX_TEXT


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, "░" * 10), (30, "▓" * 3 + "░" * 7), (100, "▓" * 10)]
)
def test_bar(percent: int, expected: str) -> None:
    assert bar(percent) == expected
