"""Suite durations-and-names: durations, references, percentages, defaults, counts."""

from typing import Any

from agent.analysis.verdict import effective_count
from agent.api.analysis import Metric
from agent.api.decode import read
from agent.api.durations import parse_go_duration, pause_seconds
from agent.api.rollout import Pause, Rollout
from agent.rollout import defaults
from agent.rollout.replicas import int_or_percent
from agent.traffic import istio_names
from tests.conformance.cases import Unsupported
from tests.conformance.compare import differences


def _effective(rollout: Rollout) -> dict[str, Any]:
    successful, unsuccessful = defaults.run_history_limits(rollout)
    return {
        "abortScaleDownDelayExplicit": defaults.abort_scale_down_delay_is_explicit(rollout),
        "abortScaleDownDelaySeconds": defaults.abort_scale_down_delay_seconds(rollout),
        "autoPromotionEnabled": defaults.auto_promotion_enabled(rollout),
        "progressDeadlineSeconds": defaults.progress_deadline_seconds(rollout),
        "replicas": defaults.replicas(rollout),
        "revisionHistoryLimit": defaults.revision_history_limit(rollout),
        "scaleDownDelaySeconds": defaults.scale_down_delay_seconds(rollout),
        "successfulRunHistoryLimit": successful,
        "unsuccessfulRunHistoryLimit": unsuccessful,
    }


def _percentage(given: dict[str, Any]) -> dict[str, Any]:
    try:
        count = int_or_percent(given["value"], given["total"], round_up=given["roundUp"])
    except ValueError:
        return {"error": True}
    return {"count": count}


def _duration(text: str) -> dict[str, Any]:
    try:
        return {"nanoseconds": parse_go_duration(text)}
    except ValueError as error:
        return {"error": str(error)}


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    rollout = read(Rollout, given.get("rollout") or {})
    match given["question"]:
        case "pause-duration":
            # The vectors, as Argo, write a pause without end as 0 seconds.
            return {"seconds": pause_seconds(Pause(duration=given.get("duration"))) or 0}
        case "go-duration":
            return _duration(given["text"])
        case "virtual-service-name":
            namespace, name = istio_names.resolve(given["reference"])
            return {"namespace": namespace, "name": name}
        case "virtual-service-keys":
            return {"keys": [str(key) for key in istio_names.virtual_service_keys(rollout)]}
        case "destination-rule-keys":
            return {"keys": [str(key) for key in istio_names.destination_rule_keys(rollout)]}
        case "int-or-percent":
            return _percentage(given)
        case "effective-count":
            return {"count": effective_count(read(Metric, given["metric"]))}
        case "defaults":
            return _effective(rollout)
        case question:
            raise Unsupported(question)


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return differences(expect, _answer(given))
