"""Texts of the chat, as Telegram's HTML. Pure.

Only `<`, `>` and `&` need escaping there. Texts are cut before they are escaped, so that neither a tag
nor an entity is ever cut in two; the limit of a message is 4096 characters after parsing.
"""

from collections.abc import Iterable
from html import escape
from typing import Any, Final

from agent.api.decode import read
from agent.api.meta import Object
from agent.api.names import POD_TEMPLATE_HASH
from agent.api.rollout import Rollout
from agent.engine.port import View
from agent.errors import Refused
from agent.events.catalogue import RevisionInfo, RolloutEvent

MAX_LINE: Final = 300
MAX_TEXT: Final = 4096
_BAR: Final = 10
_BAD: Final = ("Failed", "Error", "Inconclusive")
_ICONS: Final = {"Healthy": "✅", "Degraded": "⛔", "Paused": "⏸", "Progressing": "🐤"}


def live(view: View, replica_sets: Iterable[Object], notes: Iterable[str] = ()) -> str:
    """The one message of a rollout's run, written from its current state."""
    try:
        rollout = read(Rollout, view.rollout)
    except Refused as error:
        return f"⛔ <b>{text(str(view.key))}</b>\nInvalidSpec: {text(str(error))}"
    status = rollout.status
    lines = [
        f"{_ICONS.get(status.phase, '🐤')} <b>{text(str(view.key))}</b> · revision {text(view.revision or '?')}",
        f"<code>{text(_change(view, replica_sets))}</code>",
    ]
    steps = (rollout.spec.strategy.canary.steps if rollout.spec.strategy.canary else None) or []
    if view.in_progress and steps:
        index = min(status.current_step_index or 0, len(steps))
        lines.append(
            f"{bar(view.canary_weight)} {view.canary_weight} % · step {index}/{len(steps)}"
        )
    lines.append(
        f"{text(status.phase or 'Unknown')}{': ' + text(status.message) if status.message else ''}"
    )
    if view.why and view.in_progress:
        lines.append(f"<i>{text(view.why)}</i>")
    lines.extend(text(note) for note in notes if note and note not in status.message)
    return fit(lines)


def alarm(data: RolloutEvent) -> str:
    """The message of its own that a rollback raises."""
    new, old = data.new or RevisionInfo(), data.old or RevisionInfo()
    lines = [
        f"🚨 <b>Rollback: {text(f'{data.namespace}/{data.name}')}</b>",
        f"revision {text(new.revision or '?')} <code>{text(_images(new))}</code> is being taken off",
        f"all traffic goes back to <code>{text(_images(old))}</code>",
    ]
    if data.cause:
        lines.append(f"<b>{text(data.cause.kind)}</b>: {text(data.cause.summary)}")
        lines.extend(_evidence(data.cause.evidence or {}))
        if data.cause.started_at:
            lines.append(f"since {text(data.cause.started_at)}")
    if new.deployment and new.deployment.git_revision:
        by = f" by {text(new.deployment.actor)}" if new.deployment.actor else ""
        lines.append(f"Git {text(new.deployment.git_revision[:12])}{by}")
    return fit(lines)


def unheeded(data: RolloutEvent) -> str:
    """The message of its own that an abort raises which nobody carries out: it takes back what `alarm` said."""
    new, weight = data.new or RevisionInfo(), data.weights.after if data.weights else 0
    since = (
        f" since {text(data.timings.decided_at)}"
        if data.timings and data.timings.decided_at
        else ""
    )
    lines = [
        f"🚨 <b>Not taken off: {text(f'{data.namespace}/{data.name}')}</b>",
        f"revision {text(new.revision or '?')} <code>{text(_images(new))}</code> is aborted{since}",
        f"nobody has carried it out: its weight is {weight} %",
        "see whether the engine that drives (Argo Rollouts) runs, and what it says",
    ]
    if data.cause:
        lines.append(f"<b>{text(data.cause.kind)}</b>: {text(data.cause.summary)}")
    return fit(lines)


def text(value: str) -> str:
    """One line of a user's text: cut, then escaped."""
    line = " ".join(value.split())
    return escape(line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…", quote=False)


def fit(lines: Iterable[str]) -> str:
    """As many whole lines as fit into a message (measured with tags, so on the safe side)."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line.encode("utf-16-le")) // 2 + 1
        if size > MAX_TEXT:
            break
        kept.append(line)
    return "\n".join(kept)


def bar(percent: int) -> str:
    """`▓▓▓░░░░░░░` for 30."""
    full = max(0, min(_BAR, round(percent / 100 * _BAR)))
    return "▓" * full + "░" * (_BAR - full)


def _change(view: View, replica_sets: Iterable[Object]) -> str:
    images = {_hash(rs): _template_images(rs) for rs in replica_sets}
    new = images.get(view.current_hash, "") or view.current_hash or "?"
    old = images.get(view.stable_hash, "") or view.stable_hash
    return f"{old} → {new}" if old and view.stable_hash != view.current_hash else new


def _hash(replica_set: Object) -> str:
    labels = (replica_set.get("metadata") or {}).get("labels") or {}
    return str(labels.get(POD_TEMPLATE_HASH, ""))


def _template_images(replica_set: Object) -> str:
    template = (replica_set.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    return ", ".join(str(container.get("image", "")) for container in containers)


def _images(info: RevisionInfo) -> str:
    return ", ".join(info.images or ()) or info.hash or "?"


def _evidence(evidence: dict[str, Any]) -> Iterable[str]:
    """Labels, plain values and failed metrics of the evidence, a line or two each at most."""
    labels = evidence.get("labels")
    if isinstance(labels, dict):
        pairs = ", ".join(
            f"{name}={value}" for name, value in labels.items() if name != "alertname"
        )
        if pairs:
            yield f"<code>{text(pairs)}</code>"
    for name, value in evidence.items():
        if isinstance(value, str | int | float) and name not in (
            "reason",
            "fingerprint",
            "generatorURL",
        ):
            yield f"{text(name)}: {text(str(value))}"
    metrics = evidence.get("metrics")
    if isinstance(metrics, dict):
        for name, found in metrics.items():
            if isinstance(found, dict) and found.get("phase") in _BAD:
                yield from _metric(name, found)


def _metric(name: str, found: dict[str, Any]) -> Iterable[str]:
    """What a metric that went bad said, its conditions and what was asked; the numbers of the sequential judge."""
    values = ", ".join(str(value) for value in found.get("values") or ())
    yield f"<code>{text(name)}</code>: {text(str(found.get('message') or values or found['phase']))}"
    for member in ("successCondition", "failureCondition", "asked"):
        if found.get(member):
            yield f"{member}: <code>{text(str(found[member]))}</code>"
    numbers = found.get("sequential")
    if isinstance(numbers, dict):
        pairs = (
            f"{key} {value:g}" for key, value in numbers.items() if isinstance(value, float | int)
        )
        yield text(", ".join(pairs))
