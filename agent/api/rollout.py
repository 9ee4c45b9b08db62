"""Rollout (argoproj.io/v1alpha1): spec and status as Argo defines them.

An absent field is None (which is not always the same as 0, "" or false); defaults are applied by the
rules that use them (agent.rollout.defaults), never here, so that what a user wrote stays visible.
"""

from typing import Any

import msgspec

from agent.api.analysis import Argument, DryRun, IntOrString, MeasurementRetention, TemplateRef
from agent.api.meta import ObjectMeta, Struct


class StringMatch(Struct):
    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class HeaderRoutingMatch(Struct):
    header_name: str = ""
    header_value: StringMatch | None = None


class RouteMatch(Struct):
    method: StringMatch | None = None
    path: StringMatch | None = None
    headers: dict[str, StringMatch] | None = None


class SetHeaderRoute(Struct):
    name: str = ""
    match: list[HeaderRoutingMatch] | None = None


class SetMirrorRoute(Struct):
    name: str = ""
    match: list[RouteMatch] | None = None
    percentage: int | None = None


class SetCanaryScale(Struct):
    replicas: int | None = None
    weight: int | None = None
    match_traffic_weight: bool = False


class Pause(Struct):
    """`duration`: seconds as int or digits, or a Go duration; None waits for a person."""

    duration: IntOrString | None = None


class PodMetadata(Struct):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class RolloutAnalysis(Struct):
    templates: list[TemplateRef] | None = None
    args: list[Argument] | None = None
    dry_run: list[DryRun] | None = None
    measurement_retention: list[MeasurementRetention] | None = None
    analysis_run_metadata: PodMetadata | None = None


class BackgroundAnalysis(RolloutAnalysis):
    starting_step: int | None = None


class Step(Struct):
    """One canary step; exactly one member is set (agent.rollout.steps says what each does)."""

    set_weight: int | None = None
    pause: Pause | None = None
    experiment: dict[str, Any] | None = None
    analysis: RolloutAnalysis | None = None
    set_canary_scale: SetCanaryScale | None = None
    set_header_route: SetHeaderRoute | None = None
    set_mirror_route: SetMirrorRoute | None = None
    plugin: dict[str, Any] | None = None
    replica_progress_threshold: dict[str, Any] | None = None


class PingPong(Struct):
    ping_service: str = ""
    pong_service: str = ""


class ReplicaProgressThreshold(Struct):
    type: str = ""
    value: int = 0


class IstioTLSRoute(Struct):
    port: int = 0
    sni_hosts: list[str] | None = None


class IstioTCPRoute(Struct):
    port: int = 0


class IstioVirtualService(Struct):
    """`name` is `name` or `name.namespace` (agent.traffic.istio resolves it)."""

    name: str = ""
    routes: list[str] | None = None
    tls_routes: list[IstioTLSRoute] | None = None
    tcp_routes: list[IstioTCPRoute] | None = None


class IstioDestinationRule(Struct):
    name: str = ""
    canary_subset_name: str = ""
    stable_subset_name: str = ""
    additional_subset_names: list[str] | None = None


class IstioTrafficRouting(Struct):
    virtual_service: IstioVirtualService | None = None
    virtual_services: list[IstioVirtualService] | None = None
    destination_rule: IstioDestinationRule | None = None


class ManagedRoute(Struct):
    name: str = ""


class TrafficRouting(Struct):
    """Which router moves weight. Only `istio` is interpreted here; the rest is kept as written."""

    istio: IstioTrafficRouting | None = None
    nginx: dict[str, Any] | None = None
    alb: dict[str, Any] | None = None
    smi: dict[str, Any] | None = None
    ambassador: dict[str, Any] | None = None
    app_mesh: dict[str, Any] | None = None
    traefik: dict[str, Any] | None = None
    apisix: dict[str, Any] | None = None
    plugins: dict[str, Any] | None = None
    managed_routes: list[ManagedRoute] | None = None
    max_traffic_weight: int | None = None


class CanaryStrategy(Struct):
    canary_service: str = ""
    stable_service: str = ""
    steps: list[Step] | None = None
    traffic_routing: TrafficRouting | None = None
    analysis: BackgroundAnalysis | None = None
    anti_affinity: dict[str, Any] | None = None
    canary_metadata: PodMetadata | None = None
    stable_metadata: PodMetadata | None = None
    max_surge: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    scale_down_delay_seconds: int | None = None
    scale_down_delay_revision_limit: int | None = None
    abort_scale_down_delay_seconds: int | None = None
    dynamic_stable_scale: bool = False
    ping_pong: PingPong | None = None
    min_pods_per_replica_set: int | None = None
    replica_progress_threshold: ReplicaProgressThreshold | None = None


class BlueGreenStrategy(Struct):
    active_service: str = ""
    preview_service: str = ""
    preview_replica_count: int | None = None
    auto_promotion_enabled: bool | None = None
    auto_promotion_seconds: int | None = None
    pre_promotion_analysis: RolloutAnalysis | None = None
    post_promotion_analysis: RolloutAnalysis | None = None
    scale_down_delay_seconds: int | None = None
    scale_down_delay_revision_limit: int | None = None
    abort_scale_down_delay_seconds: int | None = None
    max_unavailable: IntOrString | None = None
    anti_affinity: dict[str, Any] | None = None
    preview_metadata: PodMetadata | None = None
    active_metadata: PodMetadata | None = None


class Strategy(Struct):
    canary: CanaryStrategy | None = None
    blue_green: BlueGreenStrategy | None = None


class ObjectRef(Struct):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    scale_down: str | None = None


class RollbackWindow(Struct):
    revisions: int = 0


class RunHistory(Struct):
    successful_run_history_limit: int | None = None
    unsuccessful_run_history_limit: int | None = None


class RolloutSpec(Struct):
    replicas: int | None = None
    selector: dict[str, Any] | None = None
    template: dict[str, Any] | None = None
    workload_ref: ObjectRef | None = None
    strategy: Strategy = Strategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None
    progress_deadline_abort: bool = False
    restart_at: str | None = None
    rollback_window: RollbackWindow | None = None
    analysis: RunHistory | None = None


class Condition(Struct):
    """Argo's CRD requires status, reason and message: they are written even when they are empty."""

    type: str
    status: str = msgspec.field(default_factory=str)
    last_update_time: str | None = None
    last_transition_time: str | None = None
    reason: str = msgspec.field(default_factory=str)
    message: str = msgspec.field(default_factory=str)


class PauseCondition(Struct):
    reason: str
    start_time: str


class RunReference(Struct):
    """A current AnalysisRun as the status names it."""

    name: str = ""
    status: str = ""
    message: str = ""


class WeightDestination(Struct):
    """`weight` is required by Argo's CRD, 0 included."""

    weight: int = msgspec.field(default_factory=int)
    service_name: str = ""
    pod_template_hash: str = ""


class TrafficWeights(Struct):
    canary: WeightDestination = msgspec.field(default_factory=WeightDestination)
    stable: WeightDestination = msgspec.field(default_factory=WeightDestination)
    additional: list[WeightDestination] | None = None
    verified: bool | None = None


class CanaryStatus(Struct):
    current_step_analysis_run_status: RunReference | None = None
    current_background_analysis_run_status: RunReference | None = None
    current_experiment: str = ""
    weights: TrafficWeights | None = None
    stable_ping_pong: str = ""
    step_plugin_statuses: list[dict[str, Any]] | None = None


class BlueGreenStatus(Struct):
    preview_selector: str = ""
    active_selector: str = ""
    scale_up_preview_check_point: bool = False
    pre_promotion_analysis_run_status: RunReference | None = None
    post_promotion_analysis_run_status: RunReference | None = None


class Duration(Struct):
    rollout_started_at: str | None = None
    manual_pause_started_at: str | None = None
    total_manual_pause_duration_seconds: int | None = None
    finished_at: str | None = None
    completion_status: str = ""


class RolloutStatus(Struct):
    """Rollout.status. `observed_generation` and `workload_observed_generation` are strings in Argo's API."""

    abort: bool = False
    aborted_at: str | None = None
    pause_conditions: list[PauseCondition] | None = None
    controller_pause: bool = False
    promote_full: bool = False
    current_pod_hash: str = ""
    current_step_hash: str = ""
    current_step_index: int | None = None
    stable_rs: str = msgspec.field(name="stableRS", default="")
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    hpa_replicas: int = msgspec.field(name="HPAReplicas", default=0)
    selector: str = ""
    collision_count: int | None = None
    observed_generation: str = ""
    workload_observed_generation: str = ""
    conditions: list[Condition] | None = None
    restarted_at: str | None = None
    phase: str = ""
    message: str = ""
    canary: CanaryStatus = CanaryStatus()
    blue_green: BlueGreenStatus = BlueGreenStatus()
    duration: Duration | None = None


class Rollout(Struct):
    metadata: ObjectMeta = ObjectMeta()
    spec: RolloutSpec = RolloutSpec()
    status: RolloutStatus = RolloutStatus()
