"""A tick (Knative's PingSource, a CronJob) looks at everything that is due.

Ticks get lost and come late; the sweep is level-triggered, so neither does harm.
"""

from agent.engine.port import Engine
from agent.events.event import Event

PING = "dev.knative.sources.ping"


class TimerHandler:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def tick(self, event: Event) -> None:
        """Sweep what is due, outboxes included."""
        del event  # its data is the user's own text
        self._engine.wake_due()
