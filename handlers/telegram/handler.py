"""Our events in a chat: one live message a rollout, edited from current state, and an alarm a rollback
and an abort that nobody carries out.

The live message is level-triggered: an event only says "look again", so lost, late and doubled events
do no harm, and a burst costs one edit. What was last seen of a run is kept until its message says so, since
another version may come before the chat takes that edit. Alarms wait in order, before every live message, until Telegram has
taken or refused them; a slow chat holds up neither the rollout nor its announcements. Only a process that
dies takes waiting alarms with it; the live message then tells the same.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

import structlog

from agent.api.meta import Key, Object
from agent.api.names import POD_TEMPLATE_HASH, TELEGRAM_MESSAGE
from agent.clock import Clock
from agent.engine.port import Engine, View
from agent.errors import NotFound, Refused, Retry, SerinusError, Unavailable
from agent.events.catalogue import RolloutEvent, rollout_event_type
from agent.events.event import Event
from agent.events.registry import read_data
from handlers.telegram.client import Client
from handlers.telegram.render import alarm, live, unheeded

log = structlog.get_logger(__name__)

T = TypeVar("T")
Run = tuple[Key, str]
"""A rollout and the hash of the version that it brings."""

PACE_SECONDS: Final = 1.0
"""Telegram takes about one message a second in a chat."""
BACKOFF_SECONDS: Final = 5.0
MAX_ALARMS: Final = 200
"""Alarms that wait at most; then the oldest goes."""
KNOWN_ALARMS: Final = 1_000
"""Ids of alarms that are remembered: announcements come at least once, an alarm rings once."""
ABORTED: Final = rollout_event_type("aborted")
UNHEEDED: Final = rollout_event_type("unheeded")


class _Alarm(NamedTuple):
    event_type: str
    data: RolloutEvent

    @property
    def rollout(self) -> str:
        return f"{self.data.namespace}/{self.data.name}"

    def text(self) -> str:
        return alarm(self.data) if self.event_type == ABORTED else unheeded(self.data)


class TelegramHandler:
    """Keeps a chat up to date.

    Args:
        counted: called with kind (`live`, `alarm`) and outcome.
    """

    def __init__(
        self,
        engine: Engine,
        client: Client,
        clock: Clock,
        *,
        counted: Callable[[str, str], None] = lambda _kind, _outcome: None,
    ) -> None:
        self._engine = engine
        self._client = client
        self._clock = clock
        self._counted = counted
        self._dirty: dict[Key, None] = {}  # in order of arrival
        self._alarms: deque[_Alarm] = deque()
        self._known: dict[str, None] = {}  # ids of alarms, the oldest first
        self._no_alarms = asyncio.Event()
        self._no_alarms.set()
        self._shown: dict[Run, tuple[int, str]] = {}
        self._seen: dict[Run, str] = {}
        self._notes: dict[Run, str] = {}
        self._woken = asyncio.Event()
        self._free_at = 0.0

    def take(self, event: Event) -> None:
        """Take one of our own events. Raises Refused when it is none."""
        data = read_data(RolloutEvent, event)
        key = Key(data.namespace, data.name)
        if event.type in (ABORTED, UNHEEDED):
            if data.cause and data.new:
                self._notes[key, data.new.hash] = data.cause.summary
            if self._is_news(event.id):
                self._raise_alarm(event.type, data)
        self.look_again(key)

    def look_again(self, key: Key) -> None:
        """Bring the live message of this rollout up to date soon."""
        self._dirty[key] = None
        self._woken.set()
        view = self._engine.view(key)
        if view is None or _run(view) not in self._shown:
            return
        try:
            self._seen[_run(view)] = self._text(view)
        except Exception:
            # Who announces must not hear of a bug of the chat's; the edit itself counts it.
            log.exception("telegram.failed", rollout=str(key))

    async def run(self) -> None:
        """Edits live messages until cancelled.

        Starts with all rollouts in progress, and the aborted ones that have a message: the process before may
        have ended with edits to make. A promoted one is told of once more by who announces.
        """
        for view in list(self._engine.views()):
            if view.in_progress or (view.aborted and self._has_message(view)):
                self.look_again(view.key)
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._alarms or self._dirty:
                if self._alarms:
                    await self._send_alarm()
                else:
                    key = next(iter(self._dirty))
                    del self._dirty[key]
                    await self._update(key)

    async def drain(self, seconds: float) -> int:
        """Wait until no alarm waits, at most `seconds`; how many still do."""
        try:
            async with asyncio.timeout(seconds):
                await self._no_alarms.wait()
        except TimeoutError:
            log.error("telegram.alarms_lost", alarms=len(self._alarms))
        return len(self._alarms)

    def _is_news(self, event_id: str) -> bool:
        if event_id in self._known:
            return False
        self._known[event_id] = None
        if len(self._known) > KNOWN_ALARMS:
            del self._known[next(iter(self._known))]
        return True

    def _raise_alarm(self, event_type: str, data: RolloutEvent) -> None:
        if len(self._alarms) == MAX_ALARMS:
            lost = self._alarms.popleft()
            self._counted("alarm", "dropped")
            log.error("telegram.alarm_dropped", rollout=lost.rollout)
        self._alarms.append(_Alarm(event_type, data))
        self._no_alarms.clear()

    async def _send_alarm(self) -> None:
        """Send the alarm that waits longest; trouble leaves it where it is."""
        first = self._alarms[0]
        rollout = first.rollout
        try:
            await self._paced(lambda: self._client.send(first.text()))
            outcome = "sent"
        except (Retry, Unavailable) as error:
            self._later("alarm", rollout, error)
            return
        except Refused as error:
            # Neither token nor chat will mend by itself: say it once an alarm, go on with the rest.
            outcome = "refused"
            log.error("telegram.alarm_refused", rollout=rollout, error=str(error))
        except Exception:
            # A bug of ours about one message must stop neither the chat nor the agent.
            outcome = "failed"
            log.exception("telegram.alarm_failed", rollout=rollout)
        self._counted("alarm", outcome)
        # More than MAX_ALARMS may have come meanwhile and pushed this one out.
        if self._alarms and self._alarms[0] is first:
            self._alarms.popleft()
        if not self._alarms:
            self._no_alarms.set()

    def _later(self, kind: str, rollout: str, error: Retry | Unavailable) -> None:
        wait = error.after_seconds if isinstance(error, Retry) else BACKOFF_SECONDS
        self._counted(kind, "later")
        log.warning(
            "telegram.later", kind=kind, rollout=rollout, wait_seconds=wait, error=str(error)
        )
        self._free_at = max(self._free_at, self._clock.monotonic() + wait)

    async def _update(self, key: Key) -> None:
        """Write the live message of one rollout; trouble puts it back into the queue."""
        view = self._engine.view(key)
        if view is None or not view.current_hash:
            return
        try:
            await self._end_others(view)
            await self._show(view)
        except (Retry, Unavailable) as error:
            self._later("live", str(key), error)
            self.look_again(key)
        except SerinusError as error:
            # Another chat, token or role is needed: the next event of this rollout tries again.
            self._counted("live", "refused")
            log.error("telegram.refused", rollout=str(key), error=str(error))
        except Exception:
            self._counted("live", "failed")
            log.exception("telegram.failed", rollout=str(key))

    async def _show(self, view: View) -> None:
        run, text = _run(view), self._text(view)
        stored = _stored(list(self._engine.replica_sets(view.key)), view.current_hash)
        message_id, before = self._shown.get(run) or (stored, "")
        if message_id and text != before:
            try:
                await self._edit(message_id, text)
                self._shown[run] = (message_id, text)
            except NotFound:
                message_id = 0
        if not message_id and (view.in_progress or view.aborted):
            message_id = await self._paced(lambda: self._client.send(text, silent=True))
            self._shown[run] = (message_id, text)
            self._counted("live", "sent")
        if message_id and stored != message_id:
            await self._engine.annotate(
                view.key, {TELEGRAM_MESSAGE: str(message_id)}, revision=True
            )

    async def _end_others(self, view: View) -> None:
        """Older runs of the same rollout are over: their messages say what was seen of them last."""
        for run in [known for known in self._shown if known[0] == view.key and known != _run(view)]:
            message_id, before = self._shown[run]
            text = self._seen.get(run, before)
            if text != before:
                try:
                    await self._edit(message_id, text)
                except (NotFound, Refused) as error:
                    # Too old to be edited, for one: no reason not to tell of the present run.
                    log.info("telegram.message_left", rollout=str(view.key), error=str(error))
            del self._shown[run]
            self._seen.pop(run, None)
            self._notes.pop(run, None)

    async def _edit(self, message_id: int, text: str) -> None:
        await self._paced(lambda: self._client.edit(message_id, text))
        self._counted("live", "edited")

    def _text(self, view: View) -> str:
        note = self._notes.get(_run(view), "") if view.aborted else ""
        return live(view, list(self._engine.replica_sets(view.key)), (note,))

    def _has_message(self, view: View) -> bool:
        return _stored(list(self._engine.replica_sets(view.key)), view.current_hash) > 0

    async def _paced(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call, as soon as the chat takes it."""
        wait = self._free_at - self._clock.monotonic()
        if wait > 0:
            await self._clock.sleep(wait)
        try:
            return await call()
        finally:
            self._free_at = max(self._free_at, self._clock.monotonic() + PACE_SECONDS)


def _run(view: View) -> Run:
    return view.key, view.current_hash


def _stored(sets: list[Object], revision_hash: str) -> int:
    """The message id on the revision's ReplicaSet, 0 for none."""
    for replica_set in sets:
        meta = replica_set.get("metadata") or {}
        if (meta.get("labels") or {}).get(POD_TEMPLATE_HASH) == revision_hash:
            text = (meta.get("annotations") or {}).get(TELEGRAM_MESSAGE, "")
            return int(text) if text.isdecimal() else 0
    return 0
