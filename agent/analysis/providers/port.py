"""The seam of metric providers: a provider is one file and one line in registry.py."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import quote, quote_plus

import msgspec

from agent.analysis.judge import judge
from agent.analysis.missing import KIND, POLICY, Missing, Policy
from agent.analysis.verdict import Compat
from agent.api.analysis import Measurement, Metric
from agent.api.meta import ObjectMeta, Struct

MASK: Final = "*****"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement that is due. Arguments and secrets are in the metric already.

    Attributes:
        missing: what a measurement without data is (`safe` only).
        run: metadata of the AnalysisRun.
        number: of this measurement among those of the metric, from 1; errors count.
        earlier: the measurement in flight that this one goes on with; None when it is a new one.
        state: what the provider's last measurement of this metric left in JUDGE_STATE, "" when nothing.
        background: the metric watches beside the steps; to end early is to stop watching.
        secrets: values that must not appear in messages or metadata.
    """

    metric: Metric
    now: datetime
    compat: Compat = "safe"
    missing: Policy = "error"
    secrets: tuple[str, ...] = ()
    run: ObjectMeta = ObjectMeta()
    number: int = 1
    earlier: Measurement | None = None
    state: str = ""
    background: bool = False


class Header(Struct):
    """A header of a request, as both providers configure it."""

    key: str = ""
    value: str = ""


class Provider(Protocol):
    """A source of measurements. Total: what goes wrong is a measurement of phase Error with the reason.

    An answer that is late or unreadable is never Successful. What a readable answer comes to, also an empty
    one, is for `judged` to say; the value and what was asked (the resolved query) belong to the measurement.

    A measurement that needs more time is Running and has a `resume_at`; it is made again then, and replaced.
    What must be remembered until then goes into its metadata as JUDGE_STATE, and comes back as `Asked.state`.
    """

    name: str
    """Member of `metric.provider` that configures it."""

    def check(self, metric: Metric) -> None:
        """Raises Refused when the metric cannot be measured as it is configured."""
        ...

    async def measure(self, asked: Asked) -> Measurement:
        """Measure now. Times are the caller's business. Ends within its own deadline."""
        ...


@runtime_checkable
class Lasting(Provider, Protocol):
    """A provider whose measurements leave something behind, such as a Job. Raises Unavailable to be asked again.

    A measurement in flight of any other provider is just ended when its run ends: as a success, like Argo's.
    """

    async def end(self, asked: Asked) -> Measurement:
        """End `asked.earlier`, for the run ends. The metric's secrets are not filled in."""
        ...

    async def forget(self, run: ObjectMeta, made: Measurement) -> None:
        """Clear away what a measurement left that is no longer kept."""
        ...


def masked(text: str, secrets: Sequence[str]) -> str:
    """The text without secrets: they are arguments like others, and end up in queries and messages.

    Found as they are, without the line break that a file ends with, and as URLs, JSON and Python write them.
    """
    written = set[str]()
    for secret in secrets:
        for form in (secret, secret.strip()):
            quoted = msgspec.json.encode(form).decode()[1:-1]
            written |= {form, quoted, repr(form)[1:-1], quote(form, safe=""), quote_plus(form)}
    for form in sorted(filter(None, written), key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def failed(message: str, metadata: dict[str, str] | None = None) -> Measurement:
    """A measurement that could not be made."""
    return Measurement(phase="Error", message=message, metadata=metadata)


def judged(
    asked: Asked,
    value: Any,
    result_type: str,
    shown: str,
    *,
    noted: Missing | None = None,
    metadata: dict[str, str] | None = None,
) -> Measurement:
    """The measurement of an answer.

    Args:
        value, result_type, noted: as `judge` takes them.
        shown: the value as users see it. Argo drops it when a condition raises; whoever looks for the cause
            needs it, so `safe` keeps it.
        metadata: what else the provider has to say.
    """
    metric = asked.metric
    found = judge(
        value,
        success=metric.success_condition,
        failure=metric.failure_condition,
        result_type=result_type,
        compat=asked.compat,
        policy=asked.missing,
        noted=noted,
        now=asked.now,
    )
    more = dict(metadata or {})
    if found.missing:
        more[KIND] = found.missing.kind
    if not found.counts:
        more[POLICY] = "ignore"
    return Measurement(
        phase=found.phase,
        message=found.message,
        value="" if found.phase == "Error" and asked.compat == "argo" else shown,
        metadata=more or None,
    )
