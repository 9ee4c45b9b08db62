"""What one pass knows, read once from the observation. PURE."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from agent.api import names
from agent.api.analysis import AnalysisRun
from agent.api.decode import read
from agent.api.holds import Hold, decode_holds
from agent.api.meta import Object, Ref
from agent.api.rollout import CanaryStrategy, Rollout, Step
from agent.api.times import parse_time
from agent.rollout import defaults, replica_sets, shapes, share_confirmation
from agent.rollout.experiment_weights import current_experiment
from agent.rollout.hashes import pod_template_hash, step_hash
from agent.rollout.replica_sets import ReplicaSetView
from agent.rollout.types import Observation, Policy
from agent.traffic.types import Confirmation, Desired, Router


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout at one moment.

    Attributes:
        new_hash: pod-template hash of the template in the spec.
        new, stable: their ReplicaSets; the same one when the rollout is promoted.
        others: ReplicaSets that are neither, oldest revision first.
        router: None for a canary without one.
        live_weight: the canary's share as the routes say it, the highest of several; None when that
            cannot be told.
        routes_agree: whether every route shows `live_weight`, with weights that sum up.
        live_managed: names of the rollout's header and mirror routes that stand on the routes.
        confirmation: whether the proxies' controller says that this exposure is in force.
        settled_since: when this exposure (`live_weight`, `live_managed`) was first read back; None when not
            yet, or not recorded.
        experiment: the current one; None without one.
        holds: alerts that hold the rollout.
    """

    now: datetime
    raw: Object
    rollout: Rollout
    new_hash: str
    step_hash: str
    new: ReplicaSetView | None
    stable: ReplicaSetView | None
    others: tuple[ReplicaSetView, ...]
    sets: tuple[ReplicaSetView, ...]
    services: Mapping[str, Object]
    runs: tuple[AnalysisRun, ...]
    templates: Mapping[Ref, Object]
    router: Router | None
    routes: Mapping[Ref, Object]
    live_weight: int | None
    routes_agree: bool
    live_managed: tuple[str, ...]
    confirmation: Confirmation
    settled_since: datetime | None
    experiment: Object | None
    holds: tuple[Hold, ...]
    policy: Policy

    @property
    def unconfirmed(self) -> str:
        """The named wait for the routes to be in force; "" when they are, or do not tell."""
        if self.confirmation.verified is not False:
            return ""
        found = self.confirmation
        return f"waits for the routes to take effect: {found.reason} ({found.way_out})"

    @property
    def canary(self) -> CanaryStrategy:
        return defaults.canary_of(self.rollout)

    @property
    def steps(self) -> list[Step]:
        return self.canary.steps or []

    @property
    def namespace(self) -> str:
        return self.rollout.metadata.namespace

    @property
    def name(self) -> str:
        return self.rollout.metadata.name


def read_facts(observation: Observation, router: Router | None, rollout: Rollout) -> Facts:
    """The facts of an observation. Raises Refused when an object of ours cannot be read."""
    for item in observation.replica_sets:
        shapes.check_replica_set(item)
    for service in observation.services.values():
        shapes.check_service(service)
    status = rollout.status
    template: dict[str, Any] = rollout.spec.template or {}
    views = tuple(
        sorted(
            (replica_sets.view(rs) for rs in observation.replica_sets),
            key=lambda v: (v.revision, v.name),
        )
    )
    new_hash = pod_template_hash(template, status.collision_count)
    new = replica_sets.by_hash(views, new_hash)
    stable = replica_sets.by_hash(views, status.stable_rs)
    kept = {item.name for item in (new, stable) if item is not None}
    live = router.canary_weight(rollout, observation.routes) if router else None
    managed = router.managed_routes(rollout, observation.routes) if router else ()
    return Facts(
        now=observation.now,
        raw=observation.rollout,
        rollout=rollout,
        new_hash=new_hash,
        step_hash=step_hash((observation.rollout.get("spec") or {}).get("strategy") or {}),
        new=new,
        stable=stable,
        others=tuple(item for item in views if item.name not in kept),
        sets=views,
        services=observation.services,
        runs=tuple(read(AnalysisRun, run) for run in observation.analysis_runs),
        templates=observation.templates,
        router=router,
        routes=observation.routes,
        live_weight=live,
        routes_agree=_agree(rollout, router, observation.routes, live),
        live_managed=managed,
        confirmation=_confirmation(rollout, router, observation, live),
        settled_since=_settled(rollout, live, managed),
        experiment=current_experiment(rollout, observation.experiments),
        holds=_holds(rollout),
        policy=observation.policy,
    )


def bare_facts(observation: Observation, rollout: Rollout) -> Facts:
    """The facts of a rollout whose spec is not in order: total, without routes and runs."""
    views = tuple(
        replica_sets.view(rs) for rs in observation.replica_sets if shapes.is_replica_set(rs)
    )
    status = rollout.status
    return Facts(
        now=observation.now,
        raw=observation.rollout,
        rollout=rollout,
        new_hash=status.current_pod_hash,
        step_hash=status.current_step_hash,
        new=replica_sets.by_hash(views, status.current_pod_hash),
        stable=replica_sets.by_hash(views, status.stable_rs),
        others=(),
        sets=views,
        services=observation.services,
        runs=(),
        templates={},
        router=None,
        routes={},
        live_weight=None,
        routes_agree=False,
        live_managed=(),
        confirmation=Confirmation(),
        settled_since=None,
        experiment=None,
        holds=(),
        policy=observation.policy,
    )


def weight_since(weight: int, managed: tuple[str, ...], now: datetime) -> str:
    """Text of the annotation that remembers when an exposure was first read back.

    `<weight>@<time>`, with header and mirror routes `<weight>+<names>@<time>`.
    """
    return f"{_exposure(weight, managed)}@{now.isoformat(timespec='milliseconds')}"


def _exposure(weight: int, managed: tuple[str, ...]) -> str:
    return f"{weight}+{','.join(sorted(managed))}" if managed else str(weight)


def _agree(
    rollout: Rollout, router: Router | None, routes: Mapping[Ref, Object], live: int | None
) -> bool:
    if router is None or live is None:
        return False
    weights = rollout.status.canary.weights
    additional = tuple((weights.additional if weights else None) or ())
    plan = router.plan(rollout, routes, Desired(canary_weight=live, additional=additional))
    return not plan.changes and plan.refusal is None


def _confirmation(
    rollout: Rollout, router: Router | None, observation: Observation, live: int | None
) -> Confirmation:
    if router is None:
        return Confirmation()
    found = router.confirmation(rollout, observation.routes)
    if observation.policy.route_status == "ignored":
        found = Confirmation(in_listener=found.in_listener)
    return share_confirmation.confirmation(rollout, live, found)


def _settled(rollout: Rollout, live: int | None, managed: tuple[str, ...]) -> datetime | None:
    shown, _, time = rollout.metadata.annotation(names.WEIGHT_SINCE).rpartition("@")
    if live is None or shown != _exposure(live, managed):
        return None
    try:
        return parse_time(time)
    except ValueError:
        return None


def _holds(rollout: Rollout) -> tuple[Hold, ...]:
    """An annotation that somebody broke holds nothing; the engine rewrites it with the next hold."""
    try:
        return decode_holds(rollout.metadata.annotation(names.HOLDS))
    except ValueError:
        return ()
