"""What `decide` sees and what it answers: plain data at the seam between the pure core and the engine."""

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any, Literal

import msgspec

from agent.api.meta import Object, Ref
from agent.events.catalogue import RolloutEvent, Transition


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that decisions depend on.

    Attributes:
        drain_seconds: how long a version keeps its pods after its route was read back without weight.
        compat: `argo` reproduces Argo's verdicts exactly; `safe` differs in a documented list.
        frozen: no raise anywhere (design section 8, "Freeze"); rollback still works.
        correction_seconds: a weight that somebody else lowered is raised again at most this often.
        listener_seconds: distance of two raises where each one replaces listeners of the proxies.
        route_status: `required`: nothing is raised and no pod removed until the routes' own status confirms what
            was written, where routes have such a status; `ignored`: being written is enough.
        hold_timeout_seconds: after this a hold becomes a named wait for a person.
        plugins: metric providers of third parties, by name: what is wrong with each, "" when nothing.
    """

    drain_seconds: float = 3.0
    compat: Literal["safe", "argo"] = "safe"
    frozen: bool = False
    hold_timeout_seconds: float = 1800.0
    correction_seconds: float = 30.0
    listener_seconds: float = 1.0
    route_status: Literal["required", "ignored"] = "required"
    plugins: Mapping[str, str] = {}


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that may be known about one rollout in one pass. Objects are decoded JSON, read-only.

    Attributes:
        now: aware UTC.
        rollout: the Rollout.
        replica_sets: all ReplicaSets that the Rollout controls.
        services: by name, those of the Rollout's namespace that its spec names and that exist.
        analysis_runs, experiments: those that the Rollout controls.
        templates: AnalysisTemplates (Ref namespace set) and ClusterAnalysisTemplates (namespace "").
        routes: route objects that the rollout's router references and that exist, and those that have a
            host in common with them.
        rivals: other Rollouts that name a Service or route object of this one.
        alerts_active: the level check of design section 8: matched alerts that fire now and would hold
            or abort; None when they were not asked for.
    """

    now: datetime
    rollout: Object
    replica_sets: tuple[Object, ...] = ()
    services: Mapping[str, Object] = {}
    analysis_runs: tuple[Object, ...] = ()
    experiments: tuple[Object, ...] = ()
    templates: Mapping[Ref, Object] = {}
    routes: Mapping[Ref, Object] = {}
    rivals: tuple[Object, ...] = ()
    policy: Policy = Policy()


class Stage(IntEnum):
    """Order of writes inside one `act` (design section 5)."""

    ROUTES_DOWN = 1
    FENCE = 2
    """The status by compare-and-swap. Not a Write: the engine sends Decision.status here."""
    PODS_UP = 3
    SELECTORS = 4
    """Service selectors and DestinationRule subsets."""
    ROUTES_UP = 5
    PODS_DOWN = 6
    ANALYSIS = 7
    HOUSEKEEPING = 8
    """History limits, annotations that nothing waits for."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write to the cluster.

    Attributes:
        body: for `create` the whole object; for `merge` a merge patch (metadata.resourceVersion makes it
            a compare-and-swap); for `json` a list of JSON Patch operations; for `delete` None.
        guarded: sent only if this pass's fence held (invariant I6): raises, selectors, pods down.
        canary_weight: for route writes, the canary's weight afterwards (events, timings); else None.
        reason: short sentence: why.
    """

    stage: Stage
    verb: Literal["create", "merge", "json", "delete"]
    ref: Ref
    body: Any = None
    guarded: bool = False
    canary_weight: int | None = None
    reason: str = ""


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be put into the outbox with this pass's status write."""

    transition: Transition
    data: RolloutEvent


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A core/v1 Event on the Rollout or AnalysisRun, with Argo's reason; best effort, after the weight."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass does.

    Attributes:
        status: the whole next Rollout.status as decoded JSON; fields we do not know are kept. Equal to
            the observed one when nothing changes.
        writes: in order of stage.
        announce: events that this status transition causes, in order.
        records: core Events.
        wake_at: when to look again although nothing happened; None: only a change or a person.
        why: a short sentence: what this rollout waits for, who can end the wait, when it times out.
        after_routes: announcements that are facts only once the route writes went through (`weight`,
            `rolledback`); the engine stores them with the status write that follows.
    """

    status: dict[str, Any]
    writes: tuple[Write, ...] = ()
    announce: tuple[Announcement, ...] = ()
    records: tuple[Record, ...] = ()
    wake_at: datetime | None = None
    why: str = ""
    after_routes: tuple[Announcement, ...] = ()
