"""Which AnalysisRun `serinus analyze` carries out: templates, arguments and secrets become one object. PURE."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from agent.analysis import arguments, composition
from agent.analysis.verdict import is_judged
from agent.api import names
from agent.api.analysis import Argument, Metric, TemplateRef
from agent.api.decode import read, write
from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout, RolloutAnalysis
from agent.errors import Refused
from agent.rollout.hashes import pod_template_hash

NAME: Final = "analyze"
WATCH_INTERVAL: Final = "10s"
KINDS: Final = ("AnalysisTemplate", "ClusterAnalysisTemplate")
MASK: Final = "*****"


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line wants otherwise than the template.

    Attributes:
        once: each metric one time; its verdict is that measurement's.
        watch: again and again, until somebody has seen enough or a limit is exceeded.
        prometheus: address for all metrics, whatever they name.
    """

    once: bool = False
    watch: bool = False
    count: int | None = None
    interval: str = ""
    prometheus: str = ""
    compat: str = ""


def of_template(templates: Mapping[Ref, Object], name: str) -> tuple[Rollout, RolloutAnalysis]:
    """The analysis that consists of one template. Raises Refused unless it is clear which."""
    chosen = [ref for ref in templates if not name or ref.name == name]
    if len(chosen) != 1:
        there = ", ".join(ref.name for ref in templates) or "none"
        why = f"no template {name!r}" if name and not chosen else "which template? name it"
        raise Refused(f"{why}; in the files there are: {there}", field="--template")
    (ref,) = chosen
    reference = TemplateRef(
        template_name=ref.name, cluster_scope=ref.kind == "ClusterAnalysisTemplate"
    )
    rollout = read(Rollout, {"metadata": {"namespace": ref.namespace or "default"}})
    return rollout, RolloutAnalysis(templates=[reference])


def of_rollout(manifest: Object, step: int | None) -> tuple[Rollout, RolloutAnalysis]:
    """The analysis of a Rollout's step (from 1), or its background analysis. Raises Refused."""
    rollout = read(Rollout, manifest)
    canary = rollout.spec.strategy.canary
    steps = (canary.steps if canary else None) or []
    there = {number: each.analysis for number, each in enumerate(steps, start=1) if each.analysis}
    if step is not None:
        if step not in there:
            known = ", ".join(map(str, there)) or "none"
            raise Refused(f"step {step} is no analysis; those are: {known}", field="--step")
        return rollout, there[step]
    if canary and canary.analysis:
        return rollout, canary.analysis
    if len(there) != 1:
        known = ", ".join(map(str, there)) or "none"
        raise Refused(f"no background analysis; name a step with one: {known}", field="--step")
    return rollout, next(iter(there.values()))


def run_of(
    rollout: Rollout,
    analysis: RolloutAnalysis,
    templates: Mapping[Ref, Object],
    given: Mapping[str, str],
    changes: Changes,
) -> Object:
    """The AnalysisRun as the engine would create it, with the given arguments over the Rollout's.

    Raises Refused in the engine's words, and for an argument that no template declares.
    """
    hashes = _hashes(rollout, analysis, given)
    own = [arg for arg in analysis.args or () if arg.name not in given]
    args = [*own, *(Argument(name=name, value=value) for name, value in given.items())]
    try:
        made = composition.analysis_run(
            rollout,
            msgspec.structs.replace(analysis, args=args),
            templates,
            stable_hash=hashes[0],
            latest_hash=hashes[1],
            kind="",
            infix="",
        )
    except Refused as error:
        found = error.detail
        if found.startswith("args.") and found.endswith("was not resolved"):
            name = found.removeprefix("args.").split()[0]
            raise Refused(f"{found}: give it a value with --arg {name}=…") from error
        raise
    declared = {arg["name"] for arg in made["spec"].get("args", ())}
    unknown = [name for name in given if name not in declared]
    if unknown:
        known = ", ".join(sorted(declared)) or "none"
        raise Refused(f"no template declares {unknown[0]!r}; declared are: {known}", field="--arg")
    metrics = [_changed(read(Metric, metric), changes) for metric in made["spec"]["metrics"]]
    annotations = rollout.metadata.annotations or {}
    kept = {
        name: annotations[name]
        for name in (names.COMPAT, names.MISSING_DATA)
        if name in annotations
    }
    if changes.compat:
        kept[names.COMPAT] = changes.compat
    return {
        "apiVersion": made["apiVersion"],
        "kind": made["kind"],
        "metadata": {
            "name": NAME,
            "namespace": made["metadata"]["namespace"],
            "annotations": kept,
        },
        "spec": {**made["spec"], "metrics": [write(metric) for metric in metrics]},
    }


def _hashes(
    rollout: Rollout, analysis: RolloutAnalysis, given: Mapping[str, str]
) -> tuple[str, str]:
    """Hashes of the stable and the new version, as far as arguments ask for them."""
    asked = {
        arg.value_from.pod_template_hash_value: arg.name
        for arg in analysis.args or ()
        if arg.value_from and arg.name not in given
    }
    stable = rollout.status.stable_rs
    if "Stable" in asked and not stable:
        name = asked["Stable"]
        raise Refused(
            f"the argument {name} is the stable version's hash, which only a status tells: give --arg {name}=…"
        )
    latest = pod_template_hash(rollout.spec.template, rollout.status.collision_count)
    return stable or "stable", latest


def _changed(metric: Metric, changes: Changes) -> Metric:
    replaced: dict[str, Any] = {}
    if changes.once:
        replaced = {
            "count": 1,
            "initial_delay": None,
            "interval": metric.interval if is_judged(metric) else None,
        }
        if not is_judged(metric):
            replaced |= {
                "failure_limit": 0,
                "inconclusive_limit": 0,
                "consecutive_error_limit": 0,
                "consecutive_success_limit": 0,
            }
    if changes.watch:
        replaced = {
            "count": None,
            "consecutive_success_limit": None,
            "interval": metric.interval or WATCH_INTERVAL,
        }
    if changes.count is not None:
        replaced["count"] = changes.count
    if changes.interval:
        replaced["interval"] = changes.interval
    if changes.prometheus:
        replaced["provider"] = _addressed(metric.provider or {}, changes.prometheus)
    return msgspec.structs.replace(metric, **replaced)


def _addressed(provider: Mapping[str, Any], address: str) -> dict[str, Any]:
    made = dict(provider)
    if isinstance(made.get("prometheus"), dict):
        made["prometheus"] = {**made["prometheus"], "address": address}
    plugin = made.get("plugin")
    judge = plugin.get(names.SEQUENTIAL) if isinstance(plugin, dict) else None
    if isinstance(plugin, dict) and isinstance(judge, dict):
        settings = {**(judge.get("prometheus") or {}), "address": address}
        made["plugin"] = {**plugin, names.SEQUENTIAL: {**judge, "prometheus": settings}}
    return made


def secrets_of(run: Object, given: Mapping[tuple[str, str], bytes]) -> list[Object]:
    """The Secrets that the run's arguments read. Raises Refused for one that was not given.

    Args:
        given: contents by name and key of the Secret.
    """
    needed: dict[str, dict[str, str]] = {}
    for arg in map(_argument, run["spec"].get("args", ())):
        source = arg.value_from.secret_key_ref if arg.value_from else None
        if source is not None:
            content = given.get((source.name, source.key))
            if content is None:
                raise Refused(
                    f"the argument {arg.name} reads a Secret: give --secret {source.name}/{source.key}=FILE"
                )
            needed.setdefault(source.name, {})[source.key] = base64.b64encode(content).decode()
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": run["metadata"]["namespace"]},
            "data": data,
        }
        for name, data in needed.items()
    ]


def resolved(run: Object) -> list[Metric]:
    """The metrics with their arguments, secrets masked, for people to read. Raises Refused."""
    values: dict[str, str | None] = {}
    for arg in map(_argument, run["spec"].get("args", ())):
        values[arg.name] = MASK if arg.value_from else arg.value
    return [
        arguments.substitute_metric(read(Metric, metric), values)
        for metric in run["spec"]["metrics"]
    ]


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """`name=value` as a mapping. Raises Refused."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise Refused(f"{text!r} is not name=value", field=option)
        found[name] = value
    return found


def templates_in(objects: Mapping[Ref, Object]) -> dict[Ref, Object]:
    """The templates among objects."""
    return {ref: obj for ref, obj in objects.items() if ref.kind in KINDS}


def _argument(obj: Any) -> Argument:
    return read(Argument, obj)
