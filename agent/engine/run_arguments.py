"""The metrics of an AnalysisRun with their arguments: secrets are read when something is measured, and kept nowhere."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from agent.analysis import arguments
from agent.analysis.verdict import Compat
from agent.api.analysis import AnalysisRun, Argument, Metric
from agent.cluster.port import KINDS, Cluster
from agent.errors import Forbidden, NotFound, Refused, Retry

STAND_IN: Final = "temp-for-secret"
"""What a secret's place is taken by where nothing is measured (assessments, schedules); Argo's word."""
SECRET_SECONDS: Final = 5.0
"""How often a Secret that is missing is looked for."""


def without_secrets(run: AnalysisRun) -> dict[str, Metric]:
    """The metrics by name. Raises Refused for an argument without value."""
    args = run.spec.args or ()
    values = {arg.name: arg.value if _source(arg) is None else STAND_IN for arg in args}
    return _substituted(run, values)


async def with_secrets(
    cluster: Cluster, run: AnalysisRun, compat: Compat
) -> tuple[dict[str, Metric], tuple[str, ...]]:
    """The metrics by name, and the secrets in them.

    Raises Refused when a Secret has no such key, and in `argo` when there is none; in `safe` a Secret that is
    missing, or may not be read, raises Retry with what is waited for.
    """
    values: dict[str, str | None] = {}
    secrets: list[str] = []
    for arg in run.spec.args or ():
        values[arg.name] = arg.value
        source = _source(arg)
        if source is not None:
            values[arg.name] = secret = await _secret(cluster, run, arg.name, *source, compat)
            secrets.append(secret)
    return _substituted(run, values), tuple(filter(None, secrets))


def _source(arg: Argument) -> tuple[str, str] | None:
    """Name and key of the Secret that an argument is taken from."""
    source = arg.value_from.secret_key_ref if arg.value_from else None
    return (source.name, source.key) if source else None


def _substituted(run: AnalysisRun, values: Mapping[str, str | None]) -> dict[str, Metric]:
    metrics = (arguments.substitute_metric(m, values) for m in run.spec.metrics or ())
    return {metric.name: metric for metric in metrics}


async def _secret(
    cluster: Cluster, run: AnalysisRun, argument: str, name: str, key: str, compat: Compat
) -> str:
    try:
        found = await cluster.get(KINDS["Secret"], run.metadata.namespace, name)
    except (NotFound, Forbidden) as error:
        if compat == "argo" and isinstance(error, NotFound):
            raise Refused(f'secrets "{name}" not found') from error
        what = "exists" if isinstance(error, NotFound) else f"can be read ({error})"
        raise Retry(
            f"waits until Secret {name!r} {what}, for argument {argument!r}",
            after_seconds=SECRET_SECONDS,
        ) from error
    data = (found.get("data") or {}).get(key)
    if data is None:
        raise Refused(f"key '{key}' does not exist in secret '{name}'")
    try:
        return base64.b64decode(data).decode(errors="replace")
    except (binascii.Error, TypeError, ValueError) as error:
        raise Refused(f"key '{key}' of secret '{name}' is not base64") from error
