"""Arguments of analyses: where values come from and how they get into metrics. PURE.

Reference: Argo's utils/analysis and utils/template; error texts are its own, users search for them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from agent.api.analysis import Argument, DryRun, MeasurementRetention, Metric
from agent.api.decode import read, write
from agent.api.meta import Object
from agent.api.regex import BadPattern, compile_pattern
from agent.errors import Refused

_METADATA: Final = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_INDEX: Final = re.compile(r"([^\[\]]*)((?:\[[^\]]*\])*)")
_BADNESS: Final = ("Successful", "Running", "Pending", "Inconclusive", "Error", "Failed")


def build(
    args: Sequence[Argument], rollout: Object, *, stable_hash: str, latest_hash: str
) -> list[Argument]:
    """A Rollout's arguments as plain values.

    Raises Refused in Argo's words when a field path leads nowhere.
    """
    return [_built(arg, rollout, stable_hash, latest_hash) for arg in args]


def _built(arg: Argument, rollout: Object, stable_hash: str, latest_hash: str) -> Argument:
    source = arg.value_from
    if source is None:
        return arg
    if source.pod_template_hash_value == "Stable":
        return Argument(name=arg.name, value=stable_hash)
    if source.pod_template_hash_value == "Latest":
        return Argument(name=arg.name, value=latest_hash)
    if source.field_ref is not None:
        return Argument(name=arg.name, value=field_value(rollout, source.field_ref.field_path))
    return arg


def field_value(rollout: Object, path: str) -> str:
    """Value of a `fieldRef`: downward-API metadata, else a path into the Rollout."""
    meta = rollout.get("metadata") or {}
    found = _METADATA.fullmatch(path)
    if found:
        return str((meta.get(found.group(1)) or {}).get(found.group(2), ""))
    field = path.removeprefix("metadata.")
    if field == path:
        return rollout_path(rollout, path)
    if field in ("labels", "annotations"):
        pairs = sorted((meta.get(field) or {}).items())
        return "\n".join(f"{name}={msgspec.json.encode(value).decode()}" for name, value in pairs)
    if field in ("name", "namespace", "uid"):
        return str(meta.get(field) or "")
    raise Refused(f"unsupported fieldPath: {path}")


def rollout_path(rollout: Object, path: str) -> str:
    """A primitive of the Rollout by dotted path with list indexes. Raises Refused."""
    current: Any = rollout
    for part in filter(None, path.split(".")):
        token = _INDEX.fullmatch(part)
        name, indexes = part, list[str]()
        if token:
            name, indexes = token.group(1), re.findall(r"\[([^\]]*)\]", token.group(2))
        if name:
            if not isinstance(current, dict) or _is_zero(current.get(name)):
                raise Refused(f"invalid path {path} in rollout")
            current = current[name]
        for index in indexes:
            current = _item(current, index, path)
    if isinstance(current, bool):
        return "true" if current else "false"
    if isinstance(current, str | int | float):
        return str(current)
    raise Refused(f"path {path} in rollout must terminate in a primitive value")


def _is_zero(value: Any) -> bool:
    """Fields at their zero value are left out of Argo's JSON, so its paths do not find them."""
    return value is None or value is False or value == 0 or value == "" or value in ([], {})


def _item(current: Any, index: str, path: str) -> Any:
    if not isinstance(current, list):
        raise Refused(f"invalid path {path} in rollout")
    if not index.isdecimal():
        raise Refused(f"invalid index '{index}'")
    if int(index) >= len(current):
        raise Refused(f"index {index} out of range")
    return current[int(index)]


def merge(supplied: Sequence[Argument], declared: Sequence[Argument]) -> list[Argument]:
    """The template's declared arguments with the caller's values; what is not declared is dropped.

    A literal over a declared secret is kept beside it, and the secret wins when values are read.
    Raises Refused when one has neither value nor source.
    """
    given = {arg.name: arg for arg in supplied}
    merged = []
    for arg in declared:
        own = given.get(arg.name, arg)
        value = arg.value if own.value is None else own.value
        source = own.value_from or arg.value_from
        if value is None and source is None:
            raise Refused(f"args.{arg.name} was not resolved")
        merged.append(msgspec.structs.replace(arg, value=value, value_from=source))
    return merged


def union(lists: Sequence[Sequence[Argument]]) -> list[Argument]:
    """The arguments that several templates declare; two different literals for one name are refused."""
    found: dict[str, Argument] = {}
    for args in lists:
        for arg in args:
            old = found.get(arg.name)
            if old is None:
                found[arg.name] = arg
            elif old.value is not None and arg.value is not None and old.value != arg.value:
                raise Refused(
                    f"Argument `{arg.name}` specified multiple times with different values:"
                    f" '{old.value}', '{arg.value}'"
                )
            else:
                found[arg.name] = msgspec.structs.replace(
                    old,
                    value=arg.value if old.value is None else old.value,
                    value_from=old.value_from or arg.value_from,
                )
    return list(found.values())


def substitute(
    text: str, values: Mapping[str, str | None], *, escape: Callable[[str], str] = str
) -> str:
    """The text with every `{{args.name}}` replaced.

    Raises Refused for a tag that nothing resolves, an argument without value, an open tag.
    """

    def value(raw: str) -> str:
        tag = raw.strip()
        name = tag.removeprefix("args.")
        if not tag.startswith("args.") or name not in values:
            raise Refused(f"failed to resolve {{{{{raw}}}}}")
        found = values[name]
        if found is None:
            raise Refused(f'argument "{name}" was not supplied')
        return escape(found)

    return expand(text, value)


def expand(text: str, value: Callable[[str], str]) -> str:
    """The text with every `{{tag}}` replaced by `value(tag)`; spaces around a tag are part of it."""
    out: list[str] = []
    rest = text
    while "{{" in rest:
        before, _, after = rest.partition("{{")
        tag, end, rest = after.partition("}}")
        if not end:
            raise Refused(
                f'Cannot find end tag="}}}}" in the template="{text}" starting from "{after}"'
            )
        out += [before, value(tag)]
    return "".join([*out, rest])


def json_escaped(value: str) -> str:
    """The value as it stands inside a JSON string."""
    return msgspec.json.encode(value).decode()[1:-1]


def values_of(args: Sequence[Argument]) -> dict[str, str | None]:
    return {arg.name: arg.value for arg in args}


def substitute_metric(metric: Metric, values: Mapping[str, str | None]) -> Metric:
    """The metric with arguments in all its texts. Raises Refused."""
    text = msgspec.json.encode(write(metric)).decode()
    if "{{" not in text:
        return metric
    return read(Metric, msgspec.json.decode(substitute(text, values, escape=json_escaped)))


def experiment_text(
    text: str, experiment: Object, replica_sets: Mapping[str, Mapping[str, str]]
) -> str:
    """`{{templates.NAME.podTemplateHash}}`, `…replicaset.name` and `{{experiment.…}}` of an Experiment.

    `replica_sets`: name and hash by template name.
    """

    def value(raw: str) -> str:
        tag = raw.strip()
        parts = tag.split(".")
        found: str | None = None
        if parts[0] == "templates" and len(parts) >= 3 and parts[1] in replica_sets:
            field = {"podTemplateHash": "hash", "replicaset.name": "name"}.get(".".join(parts[2:]))
            found = replica_sets[parts[1]].get(field) if field else None
        elif tag == "experiment.availableAt":
            found = (experiment.get("status") or {}).get("availableAt")
        elif tag == "experiment.finishedAt":
            found = _finished(experiment)
        if not found:
            raise Refused(f"failed to resolve {{{{{raw}}}}}")
        return found

    return expand(text, value)


def _finished(experiment: Object) -> str | None:
    from datetime import timedelta

    from agent.api.durations import parse_go_duration
    from agent.api.times import format_time, parse_time

    duration = (experiment.get("spec") or {}).get("duration")
    at = (experiment.get("status") or {}).get("availableAt")
    if not duration or not at:
        return None
    return format_time(parse_time(at) + timedelta(microseconds=parse_go_duration(duration) / 1000))


def dry_run_metrics(metrics: Sequence[Metric], rules: Sequence[DryRun]) -> dict[str, bool]:
    """Metrics that are measured but not judged. Raises Refused for a rule that matches nothing."""
    matched: dict[str, bool] = {}
    for index, rule in enumerate(rules):
        for name in _matching(metrics, rule.metric_name, f"dryRun[{index}]"):
            matched[name] = True
    return matched


def retention_limits(
    metrics: Sequence[Metric], rules: Sequence[MeasurementRetention]
) -> dict[str, int]:
    """How many measurements are kept, by metric; the last rule that matches wins. Raises Refused."""
    limits: dict[str, int] = {}
    for index, rule in enumerate(rules):
        for name in _matching(metrics, rule.metric_name, f"measurementRetention[{index}]"):
            limits[name] = rule.limit
    return limits


def _matching(metrics: Sequence[Metric], pattern: str, where: str) -> list[str]:
    """Names that the unanchored RE2 pattern finds. An invalid pattern finds none, as in Argo."""
    try:
        compiled = compile_pattern(pattern)
    except BadPattern:
        names = []
    else:
        names = [metric.name for metric in metrics if compiled.search(metric.name)]
    if not names:
        raise Refused(f"{where}: Rule didn't match any metric name(s)")
    return names


def worst(one: str, other: str) -> str:
    """The worse of two phases."""
    return max(one, other, key=_BADNESS.index)
