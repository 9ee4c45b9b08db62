"""Experiments as weighted destinations beside the canary and the stable version. PURE.

Which templates of a running experiment have traffic, and where it goes, is what Argo's controller computes.
"""

from collections.abc import Iterable
from typing import Any

from agent.api.meta import Object
from agent.api.rollout import Rollout, WeightDestination
from agent.rollout import defaults

RUNNING = "Running"


def current_experiment(rollout: Rollout, experiments: Iterable[Object]) -> Object | None:
    """The experiment that status.canary.currentExperiment names."""
    name = rollout.status.canary.current_experiment
    return next((item for item in experiments if name and item["metadata"]["name"] == name), None)


def weighted_destinations(
    rollout: Rollout, experiment: Object | None
) -> tuple[WeightDestination, ...]:
    """Services of the running experiment's templates that have a weight in its step, with their hashes.

    The step is the last experiment up to the current step: until it has ended, its pods keep their share.
    """
    status = _members((experiment or {}).get("status"))
    if status.get("phase") != RUNNING:
        return ()
    index = rollout.status.current_step_index or 0
    steps = (defaults.canary_of(rollout).steps or [])[: index + 1]
    step = next((item.experiment for item in reversed(steps) if item.experiment is not None), None)
    weights = {
        str(template.get("name")): weight
        for template in _listed((step or {}).get("templates"))
        if isinstance(weight := template.get("weight"), int)
    }
    return tuple(
        WeightDestination(
            weight=weights[name],
            service_name=str(template.get("serviceName") or ""),
            pod_template_hash=str(template.get("podTemplateHash") or ""),
        )
        for template in _listed(status.get("templateStatuses"))
        if (name := str(template.get("name"))) in weights
    )


def _listed(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _members(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
