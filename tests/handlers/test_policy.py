"""What a matched alert does: the table of the alert policy."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.api.meta import Key
from agent.api.times import format_time_ms
from agent.engine.port import View
from agent.events.catalogue import Alert
from handlers.alert.matching import Level, Match
from handlers.alert.policy import action

EXPOSED_AT = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
KEY = Key("shop", "checkout")


def an_alert(*, after_seconds: float = 10, severity: str = "critical") -> Alert:
    starts_at = format_time_ms(EXPOSED_AT + timedelta(seconds=after_seconds))
    return Alert(
        fingerprint="f1", starts_at=starts_at, labels={"alertname": "A", "severity": severity}
    )


def a_view(*, on_alert: str = "", **fields: Any) -> View:
    annotations = {"serinus.dev/on-alert": on_alert} if on_alert else {}
    state: dict[str, Any] = {
        "in_progress": True, "exposed": True, "first_exposed": EXPOSED_AT, "current_hash": "new", "stable_hash": "old",
    }  # fmt: skip
    return View(key=KEY, rollout={"metadata": {"annotations": annotations}}, **{**state, **fields})


def a_match(level: Level = "rollout", *, pinned: str = "", others: int = 0) -> Match:
    keys = (KEY, *(Key("shop", f"other-{i}") for i in range(others)))
    return Match(keys=keys, level=level, pinned_hash=pinned, why="a label")


@pytest.mark.parametrize(
    ("alert", "match", "view", "expected"),
    [
        pytest.param(an_alert(), a_match(), a_view(), "abort", id="explicit and exposed aborts"),
        pytest.param(
            an_alert(severity="info"), a_match(), a_view(), "abort", id="explicit needs no severity"
        ),
        pytest.param(
            an_alert(), a_match("annotation"), a_view(), "abort", id="the annotation is explicit"
        ),
        pytest.param(
            an_alert(), a_match("label"), a_view(), "abort", id="a critical label match aborts"
        ),
        pytest.param(
            an_alert(severity="warning"),
            a_match("label"),
            a_view(),
            "hold",
            id="a lesser label match holds",
        ),
        pytest.param(
            an_alert(), a_match("label", others=1), a_view(), "hold", id="a loose match holds"
        ),
        pytest.param(
            an_alert(),
            a_match(others=1),
            a_view(),
            "abort",
            id="an explicit match may name several",
        ),
        pytest.param(an_alert(), a_match(pinned="old"), a_view(), "ignore", id="pinned to stable"),
        pytest.param(
            an_alert(), a_match(pinned="gone"), a_view(), "ignore", id="pinned to another revision"
        ),
        pytest.param(
            an_alert(), a_match(pinned="new"), a_view(), "abort", id="pinned to the canary"
        ),
        pytest.param(
            an_alert(), a_match(), a_view(exposed=False), "hold", id="before exposure holds"
        ),
        pytest.param(
            an_alert(after_seconds=-6), a_match(), a_view(), "hold", id="fired before exposure"
        ),
        pytest.param(
            an_alert(after_seconds=-4), a_match(), a_view(), "abort", id="within the slack"
        ),
        pytest.param(
            an_alert(after_seconds=-600),
            a_match(),
            a_view(first_exposed=None),
            "abort",
            id="unknown exposure is after",
        ),
        pytest.param(
            an_alert(), a_match(), a_view(in_progress=False), "ignore", id="nothing in progress"
        ),
        pytest.param(an_alert(), a_match(), a_view(aborted=True), "ignore", id="already aborted"),
        pytest.param(
            an_alert(), a_match(), a_view(on_alert="ignore"), "ignore", id="told to ignore"
        ),
        pytest.param(an_alert(), a_match(), a_view(on_alert="hold"), "hold", id="told to hold"),
        pytest.param(
            an_alert(severity="info"),
            a_match("label"),
            a_view(on_alert="abort"),
            "abort",
            id="told to abort",
        ),
        pytest.param(
            an_alert(),
            a_match("label", others=1),
            a_view(on_alert="abort"),
            "hold",
            id="a loose match never aborts",
        ),
        pytest.param(
            an_alert(),
            a_match(),
            a_view(on_alert="sometimes"),
            "abort",
            id="an unknown word is the default",
        ),
    ],
)
def test_policy(alert: Alert, match: Match, view: View, expected: str) -> None:
    chosen = action(alert, match, view, slack_seconds=5)
    assert chosen.kind == expected
    assert chosen.reason
