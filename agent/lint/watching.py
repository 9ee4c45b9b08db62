"""Who watches a canary, and whether its pods can be told apart and trusted. PURE."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from agent.analysis.missing import policy_for
from agent.api import names
from agent.api.durations import pause_seconds
from agent.errors import Refused
from agent.lint.finding import Finding
from agent.lint.world import Code, OneRollout, World, listing, mapping
from agent.rollout import defaults
from handlers.alert.matchers import parse_matchers
from handlers.alert.policy import POLICIES

CANARY: Final = "spec.strategy.canary"

SRN110: Final = Code(
    "SRN110",
    "warning",
    "a canary that nobody watches",
    "There is no analysis, and no alert is named that would stop it. Only alerts whose labels happen to name the"
    " Rollout's Services or workload count; whatever else goes wrong, the new version is promoted.",
    f'Add an analysis, or name the alerts in the annotation {names.ABORT_ON}: \'severity="critical", team="shop"\'.',
)
SRN111: Final = Code(
    "SRN111",
    "error",
    "an annotation of Serinus that cannot be read",
    "What it asks for does not happen: alerts that should stop the rollout find nothing, and the default is in force.",
    "Correct the annotation's value.",
)
SRN112: Final = Code(
    "SRN112",
    "warning",
    "no Service or subset that tells canary and stable apart",
    "Metrics and alerts name Services. With one Service for both versions a sick canary disappears in the numbers of the"
    " healthy one.",
    "Name canaryService and stableService (or a DestinationRule's subsets).",
)
SRN113: Final = Code(
    "SRN113",
    "warning",
    "background analysis from the first step on",
    "The first step is entered before the new version has any traffic. A query about the canary answers nothing then,"
    " which is an error, and a few errors in a row abort the rollout.",
    "Set startingStep to the index of a step behind the first setWeight.",
)
SRN114: Final = Code(
    "SRN114",
    "warning",
    "a container without a readiness probe",
    "Its pods count as ready as soon as the process runs. The weight goes up to pods that do not answer yet.",
    "Write a readinessProbe that asks what users ask.",
)
SRN115: Final = Code(
    "SRN115",
    "warning",
    "a progress deadline that is too short for the pods",
    "The deadline counts while pods come up. A pod that may take longer to be available than the deadline makes a healthy"
    " rollout Degraded, or aborts it with progressDeadlineAbort.",
    "Make progressDeadlineSeconds greater than what the probe's delay and minReadySeconds come to.",
)
SRN116: Final = Code(
    "SRN116",
    "warning",
    "a progress deadline that is made for pauses",
    "Pauses and analyses do not count towards the deadline. A long one only delays the word that pods do not come up.",
    "Leave progressDeadlineSeconds out (600 s), or set it to what the pods need.",
)
CODES: Final = (SRN110, SRN111, SRN112, SRN113, SRN114, SRN115, SRN116)

_ANNOTATIONS: Final[dict[str, Callable[[str], object]]] = {
    names.ABORT_ON: parse_matchers,
    names.ON_ALERT: lambda text: _one_of(text, POLICIES),
    names.COMPAT: lambda text: _one_of(text, ("safe", "argo")),
    names.MISSING_DATA: lambda text: policy_for(text, ""),
}


def watchers(world: World) -> Iterator[Finding]:
    """Analysis and alerts."""
    for item in world.of("Rollout", "AnalysisRun"):
        annotations = mapping(item.obj, "metadata", "annotations")
        for name, check in _ANNOTATIONS.items():
            text = annotations.get(name)
            if isinstance(text, str):
                try:
                    check(text)
                except Refused as error:
                    field = f"metadata.annotations[{name}]"
                    yield SRN111.at(item, field, f"{field}: {error.detail}")
    for one in world.rollouts:
        canary = one.rollout.spec.strategy.canary
        if one.errors or canary is None:
            continue
        analysed = canary.analysis or any(step.analysis for step in canary.steps or ())
        if not analysed and not one.rollout.metadata.annotation(names.ABORT_ON):
            message = f"{CANARY}: no analysis, and no annotation {names.ABORT_ON}"
            yield SRN110.at(one.item, CANARY, message)
        steps = canary.steps or []
        if canary.analysis and steps and not canary.analysis.starting_step:
            field = f"{CANARY}.analysis"
            message = f"{field}: begins with step 0, when the new version has no traffic"
            yield SRN113.at(one.item, field, message)


def pods(world: World) -> Iterator[Finding]:
    """Services and probes."""
    for one in world.rollouts:
        canary = one.rollout.spec.strategy.canary
        if one.errors or canary is None:
            continue
        routing = canary.traffic_routing
        by_subset = routing and routing.istio and routing.istio.destination_rule
        pair = canary.ping_pong or (canary.canary_service and canary.stable_service)
        if not pair and not by_subset:
            missing = "canaryService" if not canary.canary_service else "stableService"
            yield SRN112.at(one.item, CANARY, f"{CANARY}.{missing}: not set")
        yield from _probes(one)
        yield from _deadline(one)


def _probes(one: OneRollout) -> Iterator[Finding]:
    for index, container in enumerate(_containers(one)):
        if not container.get("readinessProbe"):
            field = f"spec.template.spec.containers[{index}]"
            message = f"{field}: container {str(container.get('name'))!r} has no readinessProbe"
            yield SRN114.at(one.pods, field, message)


def _deadline(one: OneRollout) -> Iterator[Finding]:
    spec, field = one.rollout.spec, "spec.progressDeadlineSeconds"
    deadline = defaults.progress_deadline_seconds(one.rollout)
    slowest = max((_ready_seconds(container) for container in _containers(one)), default=0)
    needed = slowest + spec.min_ready_seconds
    if needed >= deadline:
        message = f"{field}: {deadline} s, but a pod is available after {needed} s at the soonest"
        yield SRN115.at(one.item, field, message)
        return
    pauses = [step.pause for step in defaults.canary_of(one.rollout).steps or () if step.pause]
    total = sum(seconds for pause in pauses if (seconds := pause_seconds(pause)))
    longest = defaults.PROGRESS_DEADLINE_SECONDS
    if total and deadline > longest and deadline >= total:
        message = f"{field}: {deadline} s cover the pauses ({total} s), which do not count"
        yield SRN116.at(one.item, field, message)


def _containers(one: OneRollout) -> list[dict[str, Any]]:
    return listing(mapping(one.rollout.spec.template, "spec").get("containers"))


def _ready_seconds(container: dict[str, Any]) -> int:
    """The soonest that the readiness probe can have succeeded."""
    probe = container.get("readinessProbe")
    if not isinstance(probe, dict):
        return 0
    delay, period, times = (
        value if isinstance(value := probe.get(name), int) else default
        for name, default in (
            ("initialDelaySeconds", 0),
            ("periodSeconds", 10),
            ("successThreshold", 1),
        )
    )
    return delay + period * (times - 1)


def _one_of(text: str, known: tuple[str, ...]) -> None:
    if text not in known:
        raise Refused(f"{text!r} is not one of {', '.join(known)}")
