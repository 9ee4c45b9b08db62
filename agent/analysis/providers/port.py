"""The seam of metric providers: a provider is one file and one line in registry.py."""

from datetime import datetime
from typing import Literal, Protocol

import msgspec

from agent.api.analysis import Measurement, Metric
from agent.api.meta import Struct

Compat = Literal["safe", "argo"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement that is due. Arguments and secrets are in the metric already.

    Attributes:
        secrets: values that must not appear in messages or metadata.
    """

    metric: Metric
    now: datetime
    compat: Compat = "safe"
    secrets: tuple[str, ...] = ()


class Header(Struct):
    """A header of a request, as both providers configure it."""

    key: str = ""
    value: str = ""


class Provider(Protocol):
    """A source of measurements. Total: what goes wrong is a measurement of phase Error with the reason.

    An answer that is late or unreadable is never Successful; what empty data mean is `judge`'s business.
    """

    name: str
    """Member of `metric.provider` that configures it."""

    def check(self, metric: Metric) -> None:
        """Raises Refused when the metric cannot be measured as it is configured."""
        ...

    async def measure(self, asked: Asked) -> Measurement:
        """Measure now. Times are the caller's business. Ends within its own deadline."""
        ...


def failed(message: str, metadata: dict[str, str] | None = None) -> Measurement:
    """A measurement that could not be made."""
    return Measurement(phase="Error", message=message, metadata=metadata)
