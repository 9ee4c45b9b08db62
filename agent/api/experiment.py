"""Experiment (argoproj.io/v1alpha1), as far as its manifest goes."""

from typing import Any

from agent.api.analysis import Argument, DryRun, MeasurementRetention
from agent.api.meta import ObjectMeta, Struct
from agent.api.rollout import PodMetadata


class ExperimentService(Struct):
    name: str = ""


class ExperimentTemplate(Struct):
    """One version whose pods an Experiment runs. `template` is a pod template, as written."""

    name: str = ""
    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: dict[str, Any] | None = None
    template: dict[str, Any] | None = None
    service: ExperimentService | None = None


class ExperimentAnalysis(Struct):
    """One analysis of an Experiment. Of an argument only its value counts."""

    name: str = ""
    template_name: str = ""
    cluster_scope: bool = False
    args: list[Argument] | None = None
    required_for_completion: bool = False


class ExperimentSpec(Struct):
    templates: list[ExperimentTemplate] | None = None
    duration: str | None = None
    progress_deadline_seconds: int | None = None
    terminate: bool = False
    analyses: list[ExperimentAnalysis] | None = None
    scale_down_delay_seconds: int | None = None
    dry_run: list[DryRun] | None = None
    measurement_retention: list[MeasurementRetention] | None = None
    analysis_run_metadata: PodMetadata | None = None


class Experiment(Struct):
    metadata: ObjectMeta = ObjectMeta()
    spec: ExperimentSpec = ExperimentSpec()
    status: dict[str, Any] | None = None
