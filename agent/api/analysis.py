"""AnalysisTemplate, ClusterAnalysisTemplate and AnalysisRun (argoproj.io/v1alpha1)."""

from typing import Any

from agent.api.meta import ObjectMeta, Struct

IntOrString = int | str


class SecretKeyRef(Struct):
    name: str = ""
    key: str = ""


class FieldRef(Struct):
    field_path: str = ""


class ArgumentValueFrom(Struct):
    secret_key_ref: SecretKeyRef | None = None
    field_ref: FieldRef | None = None
    pod_template_hash_value: str | None = None
    """`Stable` or `Latest`; only in arguments that a Rollout gives."""


class Argument(Struct):
    name: str
    value: str | None = None
    value_from: ArgumentValueFrom | None = None


class DryRun(Struct):
    metric_name: str = ""


class MeasurementRetention(Struct):
    metric_name: str = ""
    limit: int = 0


class TemplateRef(Struct):
    template_name: str = ""
    cluster_scope: bool = False


class Metric(Struct):
    """One metric of a template. `provider` stays as written: each provider decodes its own part."""

    name: str = ""
    interval: str | None = None
    initial_delay: str | None = None
    count: IntOrString | None = None
    success_condition: str = ""
    failure_condition: str = ""
    failure_limit: IntOrString | None = None
    inconclusive_limit: IntOrString | None = None
    consecutive_error_limit: IntOrString | None = None
    consecutive_success_limit: IntOrString | None = None
    provider: dict[str, Any] | None = None


class AnalysisTemplateSpec(Struct):
    metrics: list[Metric] | None = None
    args: list[Argument] | None = None
    dry_run: list[DryRun] | None = None
    measurement_retention: list[MeasurementRetention] | None = None
    templates: list[TemplateRef] | None = None


class AnalysisTemplate(Struct):
    """AnalysisTemplate or ClusterAnalysisTemplate."""

    metadata: ObjectMeta = ObjectMeta()
    spec: AnalysisTemplateSpec = AnalysisTemplateSpec()


class TTLStrategy(Struct):
    seconds_after_completion: int | None = None
    seconds_after_success: int | None = None
    seconds_after_failure: int | None = None


class AnalysisRunSpec(Struct):
    metrics: list[Metric] | None = None
    args: list[Argument] | None = None
    terminate: bool = False
    dry_run: list[DryRun] | None = None
    measurement_retention: list[MeasurementRetention] | None = None
    ttl_strategy: TTLStrategy | None = None


class Measurement(Struct):
    """One answer of a provider. Times are RFC 3339; `value` is the text that users see."""

    phase: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    value: str = ""
    metadata: dict[str, str] | None = None
    resume_at: str | None = None


class MetricResult(Struct):
    name: str = ""
    phase: str = ""
    measurements: list[Measurement] | None = None
    message: str = ""
    count: int = 0
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0
    consecutive_error: int = 0
    consecutive_success: int = 0
    dry_run: bool = False
    metadata: dict[str, str] | None = None


class RunSummary(Struct):
    count: int = 0
    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0


class AnalysisRunStatus(Struct):
    phase: str = ""
    message: str = ""
    metric_results: list[MetricResult] | None = None
    started_at: str | None = None
    completed_at: str | None = None
    run_summary: RunSummary = RunSummary()
    dry_run_summary: RunSummary | None = None


class AnalysisRun(Struct):
    metadata: ObjectMeta = ObjectMeta()
    spec: AnalysisRunSpec = AnalysisRunSpec()
    status: AnalysisRunStatus = AnalysisRunStatus()
