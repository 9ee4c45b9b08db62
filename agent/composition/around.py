"""What every part of an agent is made from."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.bus.make import Wiring
from agent.clock import Clock
from agent.cluster.cache import Cache
from agent.cluster.port import Cluster
from agent.engine.observe import Routers
from agent.engine.ownership import Ownership
from agent.engine.publish import Subscriber
from agent.http import Http
from agent.settings import Settings
from agent.telemetry.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class Around:
    """Settings, the outside, and what is shared.

    Attributes:
        ownership: which rollouts are this process's to drive, or to tell of.
    """

    settings: Settings
    cluster: Cluster
    cache: Cache
    clock: Clock
    http: Http
    metrics: Metrics
    wiring: Wiring
    ownership: Ownership
    routers: Routers
    subscribers: Sequence[Subscriber]
