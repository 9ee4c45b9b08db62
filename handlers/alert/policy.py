"""What a matched alert does to a rollout: abort, hold or nothing (design: alert policy). Pure."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from agent.api.names import ON_ALERT
from agent.api.times import parse_time
from agent.engine.port import View
from agent.events.catalogue import Alert
from handlers.alert.matching import Match

POLICIES = ("abort", "hold", "ignore")


class Action(msgspec.Struct, frozen=True):
    """`reason` is a sentence for people; it goes into logs, holds and events."""

    kind: Literal["abort", "hold", "ignore"]
    reason: str


def action(alert: Alert, match: Match, view: View, *, slack_seconds: float) -> Action:
    """What this firing alert does to this rollout now.

    Args:
        slack_seconds: an alert counts as caused by the new version when it started at most this long
            before first exposure (clocks differ, Prometheus evaluates in steps).
    """
    pinned = match.pinned_hash
    if pinned and pinned == view.stable_hash:
        return Action("ignore", "the alert is pinned to the stable revision")
    if pinned and pinned != view.current_hash:
        return Action("ignore", f"the alert is pinned to another revision ({pinned})")
    if view.aborted:
        return Action("ignore", "the rollout is already aborted")
    if not view.in_progress:
        return Action("ignore", "no rollout is in progress")
    wanted = _policy(alert, match, view)
    if wanted != "abort":
        return Action(wanted, f"policy {wanted} ({_origin(match, view)})")
    if match.level == "label" and len(match.keys) > 1:
        names = ", ".join(str(key) for key in match.keys)
        return Action("hold", f"{match.why} matches more than one rollout ({names})")
    if not view.exposed:
        return Action("hold", "the alert fires before the new version takes traffic")
    if _started_before(alert, view.first_exposed, slack_seconds):
        return Action("hold", "the alert was firing before the new version took traffic")
    return Action("abort", f"matched by {match.why}")


def _policy(alert: Alert, match: Match, view: View) -> Literal["abort", "hold", "ignore"]:
    annotations = (view.rollout.get("metadata") or {}).get("annotations") or {}
    wanted = annotations.get(ON_ALERT, "")
    if wanted in POLICIES:
        chosen: Literal["abort", "hold", "ignore"] = wanted
        return chosen
    if match.level != "label" or alert.labels.get("severity") == "critical":
        return "abort"
    return "hold"


def _origin(match: Match, view: View) -> str:
    annotations = (view.rollout.get("metadata") or {}).get("annotations") or {}
    if annotations.get(ON_ALERT, "") in POLICIES:
        return f"annotation {ON_ALERT}"
    return f"default for {match.why} below severity critical"


def _started_before(alert: Alert, first_exposed: datetime | None, slack_seconds: float) -> bool:
    """False when it cannot be told: a missing time counts as after exposure, the safe side."""
    if first_exposed is None:
        return False
    try:
        starts_at = parse_time(alert.starts_at)
    except ValueError:
        return False
    return starts_at < first_exposed - timedelta(seconds=slack_seconds)
