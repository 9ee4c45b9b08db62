"""Alerts stop rollouts: firing ones abort or hold, resolved ones end holds, level checks gate raises."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from agent.api.holds import Hold, decode_holds
from agent.api.meta import Key, Object
from agent.api.names import HOLDS
from agent.api.times import format_time, format_time_ms
from agent.clock import Clock
from agent.engine.port import Engine, View
from agent.errors import Refused, SerinusError
from agent.events.catalogue import Alert, Cause
from agent.events.event import Event
from agent.events.recorded import is_fresh, recorded_at
from agent.events.registry import read_data
from handlers.alert.candidates import Candidates, candidate
from handlers.alert.ledger import Source
from handlers.alert.matching import Candidate, Match, Rules, match, namespace_of
from handlers.alert.memory import same
from handlers.alert.policy import Action, action
from handlers.alert.webhook import nanoseconds

log = structlog.get_logger(__name__)

SLACK_SECONDS: Final = 5.0
POLL_SECONDS: Final = 15.0
ASK_SECONDS: Final = 1.0
MAX_TEXT: Final = 400
MAX_EVIDENCE_PAIRS: Final = 24


class AlertHandler:
    """Turns alert events into aborts and holds.

    Args:
        source: the ledger, or Alertmanager's API.
        slack_seconds: see handlers.alert.policy.action.
        counted: called with the outcome of every alert (`abort`, `hold`, `ignore`, `unmatched`, `over`, `resolved`,
            `superseded`).
    """

    def __init__(
        self,
        engine: Engine,
        source: Source,
        clock: Clock,
        *,
        rules: Rules | None = None,
        slack_seconds: float = SLACK_SECONDS,
        counted: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self._engine = engine
        self._candidates = Candidates(engine)
        self._source = source
        self._clock = clock
        self._rules = rules or Rules()
        self._slack = slack_seconds
        self._counted = counted

    async def firing(self, event: Event) -> None:
        """Abort or hold every rollout that this alert is about. Idempotent.

        What one rollout cannot do now keeps no other from it. Raises Refused for unreadable data, another
        SerinusError when an intent could not be stored: then the alert has to come again.
        """
        alert = _alert(event)
        found = self._match(alert)
        if not found.keys:
            self._counted("unmatched")
            log.info("alert.unmatched", alert=_name(alert), fingerprint=alert.fingerprint)
            return
        told = recorded_at(event)
        if await self._comes_late(alert, found, event):
            self._counted("over")
            log.info("alert.over", alert=_name(alert), fingerprint=alert.fingerprint, told=told)
            await self._release(alert)
            return
        troubles: list[SerinusError] = []
        for key in found.keys:
            try:
                await self._apply(alert, found, key, event)
            except SerinusError as error:
                log.warning("alert.not_applied", rollout=str(key), error=str(error))
                troubles.append(error)
        if not await self._source.fired(alert, told):
            # Its end was noted while it was applied, maybe before its holds were there to be ended.
            await self._release(alert)
        if troubles:
            raise troubles[0]

    async def resolved(self, event: Event) -> None:
        """End the holds of this alert. A resolved alert never ends an abort and proves no health."""
        alert = _alert(event)
        told = recorded_at(event)
        # Its end before its holds', so that who holds a rollout meanwhile learns of it.
        counts = await self._source.resolved(alert, told, matched=bool(self._match(alert).keys))
        self._counted("resolved" if counts else "superseded")
        if counts:
            await self._release(alert)

    async def level_check(self, view: View) -> bool:
        """Whether no alert that fires now stands against this rollout; else it is aborted or held.

        Asked at the start of a run, at retry and before every raise. Raises Unavailable when the
        alerts cannot be told: a raise waits then, missing data is never healthy.
        """
        own = candidate(self._engine, view.rollout)
        clear = True
        for alert in await self._source.active():
            found = match(alert.labels, (own,), self._rules)
            if not found.keys:
                continue
            # Whether others match too decides between abort and hold, so ask all of them.
            found = self._match(alert)
            outcome = await self._apply(alert, found, view.key, None)
            clear = clear and outcome == "ignore"
        return clear

    async def release_ended(self) -> None:
        """End holds whose alert is known to be over."""
        held = [(Key.of(each), hold) for each in self._engine.rollouts() for hold in _holds(each)]
        if not held:
            return
        ended = await self._source.ended([hold for _, hold in held])
        for key, hold in held:
            if hold in ended:
                await self._engine.release(key, hold.fingerprint, hold.starts_at)

    async def run(self) -> None:
        """Looks after holds until cancelled: a hold is a level, whatever became of the event of its end."""
        while True:
            await self._clock.sleep(POLL_SECONDS)
            try:
                await self.release_ended()
            except SerinusError as error:
                log.warning("alert.source_unavailable", error=str(error))

    async def _comes_late(self, alert: Alert, found: Match, event: Event) -> bool:
        """Whether it is known to be over.

        Not asked of what was told just now, since an abort waits for nothing, nor of what does nothing anyhow,
        as most of what comes off a bus after it was carried out at the door.
        """
        if is_fresh(event, self._clock.now()):
            return False
        views = [view for key in found.keys if (view := self._engine.view(key)) is not None]
        if all(self._action(alert, found, view).kind == "ignore" for view in views):
            return False
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._source.is_over(alert, recorded_at(event))
        except (SerinusError, TimeoutError) as error:
            # The safe side: it fires.
            log.warning("alert.source_unavailable", error=str(error) or "no answer in time")
            return False

    async def _release(self, alert: Alert) -> None:
        """End the holds of this alert."""
        for rollout in list(self._engine.rollouts()):
            for hold in _holds(rollout):
                if same(hold, alert):
                    await self._engine.release(Key.of(rollout), hold.fingerprint, hold.starts_at)

    def _match(self, alert: Alert) -> Match:
        named = alert.labels.get("rollout", "")
        if "/" in named:
            namespace, _, name = named.partition("/")
        else:
            namespace, name = namespace_of(alert.labels, self._rules), named
        if not namespace:
            return Match()
        # In a storm the hundredth alert must not look at each of a thousand rollouts: the name goes first.
        view = self._engine.view(Key(namespace, name)) if name else None
        if view is not None:
            found: Sequence[Candidate] = (candidate(self._engine, view.rollout),)
        else:
            found = () if "/" in named else self._candidates.within(namespace)
        return match(alert.labels, found, self._rules)

    def _action(self, alert: Alert, found: Match, view: View) -> Action:
        return action(alert, found, view, slack_seconds=self._slack)

    async def _apply(self, alert: Alert, found: Match, key: Key, event: Event | None) -> str:
        """Do to one rollout what the policy says; the kind of action."""
        view = self._engine.view(key)
        if view is None:
            return "ignore"
        chosen = self._action(alert, found, view)
        now = self._clock.now()
        cause = _cause(alert, found, chosen, event, now)
        if chosen.kind == "abort":
            outcome = await self._engine.abort(key, cause)
        elif chosen.kind == "hold":
            outcome = await self._engine.hold(key, _hold(alert, chosen, now), cause)
        else:
            outcome = None
        self._counted(chosen.kind)
        log.info(
            "alert.applied",
            action=chosen.kind,
            rollout=str(key),
            alert=_name(alert),
            fingerprint=alert.fingerprint,
            reason=chosen.reason,
            outcome=outcome.result if outcome else "",
        )
        return chosen.kind


def _alert(event: Event) -> Alert:
    alert = read_data(Alert, event)
    try:
        nanoseconds(alert.starts_at)
    except ValueError as error:
        raise Refused(str(error), field="data.startsAt") from error
    return alert


def _name(alert: Alert) -> str:
    return alert.labels.get("alertname") or alert.fingerprint


def _hold(alert: Alert, chosen: Action, now: datetime) -> Hold:
    return Hold(
        fingerprint=alert.fingerprint,
        starts_at=alert.starts_at,
        since=format_time(now),
        alert=_name(alert)[:MAX_TEXT],
        reason=chosen.reason[:MAX_TEXT],
    )


def _cause(alert: Alert, found: Match, chosen: Action, event: Event | None, now: datetime) -> Cause:
    annotations = alert.annotations or {}
    text = (
        annotations.get("summary")
        or annotations.get("description")
        or annotations.get("message")
        or ""
    )
    severity = f" ({alert.labels['severity']})" if alert.labels.get("severity") else ""
    evidence: dict[str, Any] = {
        "labels": _some(alert.labels),
        "annotations": _some(annotations),
        "fingerprint": alert.fingerprint,
        "matchedBy": found.why[:MAX_TEXT],
        "reason": chosen.reason[:MAX_TEXT],
    }
    if alert.generator_url:
        evidence["generatorURL"] = alert.generator_url[:MAX_TEXT]
    return Cause(
        kind="alert",
        summary=f"alert {_name(alert)}{severity}{': ' if text else ''}{text}"[:MAX_TEXT],
        evidence=evidence,
        actor="",
        event_id=event.id if event else "",
        started_at=alert.starts_at,
        received_at=format_time_ms(recorded_at(event) if event else now),
    )


def _some(pairs: dict[str, str]) -> dict[str, str]:
    """The first labels or annotations, cut, in the order of their names."""
    return {name: pairs[name][:MAX_TEXT] for name in sorted(pairs)[:MAX_EVIDENCE_PAIRS]}


def _holds(rollout: Object) -> tuple[Hold, ...]:
    annotations = (rollout.get("metadata") or {}).get("annotations") or {}
    try:
        return decode_holds(annotations.get(HOLDS, ""))
    except ValueError:
        return ()
