"""arguments: from a Rollout into a metric."""

from typing import Any

from agent.analysis import arguments
from agent.api.analysis import Argument, DryRun, MeasurementRetention, Metric
from agent.api.decode import read, write
from agent.errors import Refused
from tests.conformance.compare import differences


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    try:
        got = _answer(given)
    except Refused as error:
        got = {"error": error.detail}
    return differences(expect, got)


def _answer(given: dict[str, Any]) -> dict[str, Any]:
    question = given["question"]
    args = [read(Argument, arg) for arg in given.get("args") or ()]
    if question == "build":
        supplied = [read(Argument, arg) for arg in given["runArgs"]]
        built = arguments.build(
            supplied,
            given["rollout"],
            stable_hash=given["stableHash"],
            latest_hash=given["latestHash"],
        )
        return {"args": [write(arg) for arg in built]}
    if question == "rollout-path":
        return {"value": arguments.rollout_path(given["rollout"], given["path"])}
    if question == "merge":
        both = [[read(Argument, arg) for arg in given[side]] for side in ("supplied", "declared")]
        return {"args": [write(arg) for arg in arguments.merge(*both)]}
    if question == "substitute-text":
        return {"text": arguments.substitute(given["text"], arguments.values_of(args))}
    if question == "substitute-json-text":
        escape = arguments.json_escaped
        return {
            "text": arguments.substitute(given["text"], arguments.values_of(args), escape=escape)
        }
    if question == "substitute-metric":
        metric = read(Metric, given["metric"])
        return {"metric": write(arguments.substitute_metric(metric, arguments.values_of(args)))}
    if question == "experiment-value":
        return {
            "text": arguments.experiment_text(
                given["text"], given["experiment"], given["replicaSets"]
            )
        }
    if question == "rules":
        metrics = [read(Metric, metric) for metric in given["metrics"]]
        dry_run = [read(DryRun, rule) for rule in given["dryRun"]]
        retention = [read(MeasurementRetention, rule) for rule in given["measurementRetention"]]
        return {
            "dryRun": arguments.dry_run_metrics(metrics, dry_run),
            "retention": arguments.retention_limits(metrics, retention),
        }
    return {"worst": arguments.worst(*given["phases"])}
