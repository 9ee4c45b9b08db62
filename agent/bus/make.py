"""The bus that the settings name, and who drives what on it."""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog

from agent.bus.memory import MemoryBus
from agent.bus.metrics import BusMeter
from agent.bus.outlet import FanOut, HttpOutlet
from agent.bus.ownership import PartitionOwner
from agent.bus.port import Bus
from agent.bus.topics import INBOX, URGENT
from agent.clock import Clock
from agent.errors import Refused, Unavailable
from agent.http import Http
from agent.settings import BusSettings, Settings, secret

if TYPE_CHECKING:
    from agent.bus.kafka.bus import KafkaBus

log = structlog.get_logger(__name__)

POD_NAME: Final = "POD_NAME"
POD_NAMESPACE: Final = "POD_NAMESPACE"
JOIN_SECONDS: Final = 30.0
"""So long a starting replica waits for its first share before it says that it is ready."""


class Wiring:
    """A bus and what comes with it.

    Attributes:
        bus: with the outlets, if there are any.
        owner: shares the rollouts out over the replicas; None: this process drives all of them.
        consumed: topics whose records the agent receives.
        kafka: the bus on Kafka, if it is one.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        http: Http,
        *,
        meter: BusMeter,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._clock = clock
        self._ready_by = clock.monotonic() + JOIN_SECONDS
        self.owner: PartitionOwner | None = None
        self.kafka: KafkaBus | None = None
        self.consumed: tuple[str, ...] = ()
        bus: Bus
        if settings.bus.kind == "kafka":
            self.owner = PartitionOwner()
            self.kafka = bus = _kafka(settings.bus, self.owner, meter, environment)
            self.consumed = (INBOX, URGENT)
        else:
            # The sink hands events over itself: a queue that dies with the process would gain nothing.
            bus = MemoryBus(clock)
        self.bus: Bus = _with_outlets(bus, settings, http, environment)

    async def start(self) -> None:
        """Connect. Raises Refused for what a person must mend; brokers that are down are waited for later."""
        if self.kafka is None:
            return
        try:
            await self.kafka.start()
        except Unavailable as error:
            log.error("bus.not_connected", error=str(error))

    def missing(self) -> str:
        """What readiness waits for, "" when nothing.

        Only for a start: without brokers the doors must stay open, since alerts work without them.
        """
        if self.kafka is None or self._clock.monotonic() >= self._ready_by:
            return ""
        return self.kafka.waits_for(self.consumed)


def _kafka(
    settings: BusSettings, owner: PartitionOwner, meter: BusMeter, environment: Mapping[str, str]
) -> "KafkaBus":
    from agent.bus.kafka.bus import KafkaBus

    return KafkaBus(
        settings,
        assigned=owner.assigned,
        meter=meter,
        instance=static_instance(environment) if settings.static_member else None,
        environment=environment,
    )


def _with_outlets(bus: Bus, settings: Settings, http: Http, environment: Mapping[str, str]) -> Bus:
    url = settings.outlet.url or environment.get("K_SINK", "")
    if not url:
        return bus
    token = secret(file=settings.outlet.token_file, field="outlet.token_file")
    return FanOut(bus, [HttpOutlet(http, url, token=token)])


def static_instance(environment: Mapping[str, str]) -> str:
    """The id of a static member: the pod of a StatefulSet, the only name that never lives twice.

    Kafka refuses no second member of the same id: both would own all its partitions and commit over each
    other. So the id cannot be chosen. Raises Refused without such a pod.
    """
    pod = environment.get(POD_NAME, "")
    if not re.fullmatch(r".+-\d+", pod):
        raise Refused(
            f"needs the name of a StatefulSet's pod in {POD_NAME}, by the downward API "
            f"(it is {pod!r}); leave it off elsewhere",
            field="bus.static_member",
        )
    return f"{environment.get(POD_NAMESPACE, 'default')}.{pod}"
