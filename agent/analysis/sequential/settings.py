"""Settings of the sequential judge: `provider.plugin["serinus/sequential"]` of a metric. PURE.

Numbers may be given as texts, because arguments (`{{args.alpha}}`) are texts.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from agent.analysis.verdict import limit_of
from agent.api.analysis import Metric
from agent.api.durations import parse_go_duration
from agent.api.names import SEQUENTIAL
from agent.errors import Refused

PLUGIN: Final = SEQUENTIAL
FIELD: Final = f"provider.plugin[{PLUGIN}]"
MAX_EDGES: Final = 4
DEFAULT_INTERVAL_SECONDS: Final = 10.0
_STRING: Final = r'(?:"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`)'
_MATCHER: Final = rf"\s*[a-zA-Z_]\w*\s*(?:=~|!~|!=|=)\s*{_STRING}\s*"
_TAG: Final = re.compile(r"\{\{.*?\}\}")
_SELECTOR: Final = re.compile(
    rf"\s*(?P<name>[a-zA-Z_:][\w:]*)?\s*(?:\{{(?P<matchers>(?:{_MATCHER}(?:,{_MATCHER})*,?)?\s*)\}})?\s*"
)


class _Shape(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A misspelt setting of a judge must not be a default."""


class Arm(_Shape, frozen=True):
    """Where the counters of one version are: `requests` and `bad`, or the `buckets` of a histogram."""

    requests: str = ""
    bad: str = ""
    buckets: str = ""


class SafeToAdvance(_Shape, frozen=True):
    """When the canary is good enough to go on at once.

    Attributes:
        ratio: it is, when "fails at least so many times as often as stable" is refuted.
        beta: the chance to go on although it does.
        min_requests: of the canary, before.
    """

    ratio: float = 3.0
    beta: float = 0.05
    min_requests: float = 0.0


class Guard(_Shape, frozen=True):
    """Share of bad requests of the canary that is too much whatever stable does."""

    rate: float


class Settings(_Shape, frozen=True):
    """Attributes:
    prometheus: address, headers, authentication, insecure, timeout as in the provider prometheus.
    slower_than: edges of the histogram's buckets; slower requests are bad ones. In the histogram's unit.
    r0: how many times as often as stable the canary may fail.
    alpha: the chance to ever fail a canary that does not.
    at_end: the verdict when `count` looks brought no evidence.
    dispersion: of bursts of bad requests; `auto` estimates it from stable's last hour.
    stratum: width of the strata, "" for the scrape interval that is observed.
    watermark: how late samples may come.
    grace: how long an arm may have no series at first.
    stale_after: age of an arm's newest sample at which there is no data, "" for three strata, at least 60 s.
    """

    canary: Arm
    stable: Arm
    prometheus: dict[str, Any] = {}
    slower_than: tuple[float, ...] = ()
    r0: float = 1.5
    alpha: float = 0.01
    guard: Guard | None = None
    safe_to_advance: SafeToAdvance | None = None
    at_end: Literal["inconclusive", "successful"] = "inconclusive"
    dispersion: float | Literal["auto"] = 1.0
    stratum: str = ""
    watermark: str = "2s"
    grace: str = "5m"
    stale_after: str = ""

    @property
    def comparisons(self) -> int:
        """How many kinds of bad requests there are."""
        return len(self.slower_than) or 1

    @property
    def tolerance(self) -> float | None:
        return self.safe_to_advance.ratio if self.safe_to_advance else None


def settings_of(metric: Metric) -> Settings:
    """The settings of a metric. Raises Refused with the field and what it must be."""
    plugin = (metric.provider or {}).get("plugin") or {}
    raw = plugin.get(PLUGIN) if isinstance(plugin, Mapping) else None
    if not isinstance(raw, Mapping):
        raise Refused("must be a mapping with at least canary and stable", field=FIELD)
    try:
        settings = msgspec.convert(raw, Settings, strict=False)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$")
        raise Refused(detail, field=f"{FIELD}{path.rstrip('`')}") from error
    _check_arms(settings)
    _check_numbers(settings)
    for name in ("stratum", "watermark", "grace", "stale_after"):
        text = getattr(settings, name)
        if text and not seconds_of(text, name) >= (0.1 if name == "stratum" else 0.0):
            _refuse(_camel(name), f"{text!r} is too short")
    _check_metric(metric, settings)
    return settings


def template_problem(metric: Metric) -> str:
    """What is wrong with a template's metric of the judge, as far as that shows before arguments are known; else ""."""
    plugins = (metric.provider or {}).get("plugin")
    if not isinstance(plugins, Mapping) or PLUGIN not in plugins:
        return ""
    raw = plugins.get(PLUGIN)
    if isinstance(raw, Mapping):
        metric = msgspec.structs.replace(metric, provider={"plugin": {PLUGIN: _known(raw)}})
    if isinstance(metric.count, str) and _TAG.search(metric.count):
        metric = msgspec.structs.replace(metric, count=1)
    try:
        settings_of(metric)
    except Refused as error:
        return str(error)
    return ""


def _known(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without members that arguments give; in selectors each argument stands for itself."""
    known: dict[str, Any] = {}
    for name, value in raw.items():
        if name in ("canary", "stable") and isinstance(value, Mapping):
            known[name] = {
                member: _TAG.sub(_stand_in, text) if isinstance(text, str) else text
                for member, text in value.items()
            }
        elif not _TAG.search(msgspec.json.encode(value).decode()):
            known[name] = value
        elif name == "slowerThan":
            known[name] = [1.0]
    return known


def _stand_in(tag: "re.Match[str]") -> str:
    """`{{args.canary-service}}` as a word that may stand wherever an argument may."""
    return re.sub(r"\W+", "_", tag[0]).strip("_")


def seconds_of(text: str, name: str = "interval") -> float:
    """A duration such as `15s` in seconds. Raises Refused."""
    try:
        return parse_go_duration(text) / 1e9
    except ValueError as error:
        raise Refused(
            f"{error}; write a duration such as 15s", field=f"{FIELD}.{_camel(name)}"
        ) from error


def interval_of(metric: Metric) -> float:
    """Seconds between two looks."""
    return seconds_of(metric.interval) if metric.interval else DEFAULT_INTERVAL_SECONDS


def with_edges(selector: str, edges: Sequence[float]) -> str:
    """The selector of buckets, restricted to these edges; `250`, `250.0` and `2.5e+02` are one, infinity is all."""
    found = _SELECTOR.fullmatch(selector)
    name, matchers = (found["name"] or "", found["matchers"] or "") if found else ("", "")
    own = f'le=~"{"|".join(pattern for edge in edges for pattern in _patterns(edge))}"'
    given = matchers.strip().rstrip(",").strip()
    return f"{name.strip()}{{{given},{own}}}" if given else f"{name.strip()}{{{own}}}"


def _patterns(edge: float) -> list[str]:
    if math.isinf(edge):
        return ["[+]Inf"]
    texts = dict.fromkeys((f"{edge:.15g}", f"{edge:g}"))
    return [f"{text.replace('.', '[.]').replace('+', '[+]')}([.]0+)?" for text in texts]


def _check_arms(settings: Settings) -> None:
    for name, arm in (("canary", settings.canary), ("stable", settings.stable)):
        wanted = ("buckets",) if settings.slower_than else ("requests", "bad")
        for member in ("requests", "bad", "buckets"):
            text = getattr(arm, member)
            if member in wanted and not text:
                why = "with slowerThan" if settings.slower_than else "without slowerThan"
                _refuse(f"{name}.{member}", f"is required {why}: the selector of a counter")
            if member not in wanted and text:
                _refuse(f"{name}.{member}", f"does not go with {', '.join(wanted)}: leave it out")
            if text:
                _check_selector(f"{name}.{member}", text)
    if settings.canary == settings.stable:
        _refuse("canary", "selects the same as stable: a comparison with itself says nothing")
    if settings.slower_than:
        if len(settings.slower_than) > MAX_EDGES or len(set(settings.slower_than)) < len(
            settings.slower_than
        ):
            _refuse("slowerThan", f"must be 1 to {MAX_EDGES} different edges of buckets")
        if min(settings.slower_than) <= 0:
            _refuse("slowerThan", "edges must be above 0")


def _check_selector(field: str, text: str) -> None:
    found = _SELECTOR.fullmatch(text)
    if not found or not (found["name"] or (found["matchers"] or "").strip()):
        _refuse(
            field,
            f"{text!r} is no selector: write a counter such as"
            ' istio_requests_total{destination_service_name="shop-canary"}, without rate, sum or range;'
            " increases are taken here, scrape by scrape",
        )


def _check_numbers(settings: Settings) -> None:
    if not 0.05 <= settings.r0 <= 100:
        _refuse(
            "r0", f"{settings.r0:g} must be from 0.05 to 100 (1.5: half as often again as stable)"
        )
    _check_chance("alpha", settings.alpha)
    if settings.guard is not None:
        if not 0 < settings.guard.rate < 1:
            _refuse(
                "guard.rate",
                f"{settings.guard.rate:g} must be between 0 and 1, such as 0.05 for 5 %",
            )
        if len(settings.slower_than) > 1:
            _refuse("guard", "needs to know what is bad: give it with one edge in slowerThan")
    safe = settings.safe_to_advance
    if safe is not None:
        if not settings.r0 <= safe.ratio <= 1000:
            _refuse(
                "safeToAdvance.ratio", f"{safe.ratio:g} must be from r0 ({settings.r0:g}) to 1000"
            )
        _check_chance("safeToAdvance.beta", safe.beta)
        if safe.min_requests < 0:
            _refuse("safeToAdvance.minRequests", "must not be negative")
    if settings.dispersion != "auto" and not 1 <= settings.dispersion <= 1000:
        _refuse(
            "dispersion", f"{settings.dispersion:g} must be auto, or from 1 (no bursts) to 1000"
        )


def _check_chance(field: str, value: float) -> None:
    if not 1e-12 <= value <= 0.5:
        _refuse(field, f"{value:g} must be a chance from 1e-12 to 0.5, such as 0.01")


def _check_metric(metric: Metric, settings: Settings) -> None:
    """Conditions and limits are ways to judge single measurements; here the evidence does."""
    for name, value in (
        ("successCondition", metric.success_condition),
        ("failureCondition", metric.failure_condition),
    ):
        if value:
            raise Refused(
                f"does not go with {PLUGIN}, which decides by its evidence: leave it out",
                field=name,
            )
    for name, limit in (
        ("failureLimit", metric.failure_limit),
        ("inconclusiveLimit", metric.inconclusive_limit),
        ("consecutiveSuccessLimit", metric.consecutive_success_limit),
    ):
        if limit_of(limit) != 0:
            raise Refused(
                f"does not go with {PLUGIN}, which comes to one verdict: leave it out", field=name
            )
    if settings.at_end == "successful" and not limit_of(metric.count):
        _refuse("atEnd", "never comes without a count: say after how many looks")


def _refuse(field: str, detail: str) -> None:
    raise Refused(detail, field=f"{FIELD}.{field}")


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)
