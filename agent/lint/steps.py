"""The steps of a Rollout: what cannot be carried out, and what does not do what it seems to. PURE."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from agent.api.durations import pause_seconds
from agent.api.rollout import Step
from agent.lint.finding import Finding
from agent.lint.world import KNATIVE_SERVICE, Code, OneRollout, World, listing, mapping
from agent.rollout import defaults, steps
from agent.rollout.decide import not_driven
from agent.rollout.draft import Draft
from agent.rollout.facts import bare_facts
from agent.rollout.types import Observation

FIELD: Final = "spec.strategy.canary.steps"
KNATIVE_SECONDS: Final = 60
"""Knative takes an idle sink's last pod away after about this time."""

SRN101: Final = Code(
    "SRN101",
    "error",
    "something that Serinus does not drive",
    "The Rollout gets the condition InvalidSpec under Serinus: nothing is passed over silently.",
    "Use what the message names, or leave this Rollout to Argo Rollouts.",
)
SRN102: Final = Code(
    "SRN102",
    "error",
    "a step that cannot be carried out",
    "Argo's validation lets a setWeight stand with a setCanaryScale, and then one of them wins without a word. Serinus"
    " refuses a step that is not exactly one thing.",
    "Write two steps: first setCanaryScale, then setWeight.",
)
SRN103: Final = Code(
    "SRN103",
    "warning",
    "the first step is a pause",
    "Before the first setWeight the new version has no traffic and usually no pods: there is nothing to be seen while"
    " the rollout waits.",
    "Begin with setWeight (or setCanaryScale, to look at pods without traffic), and pause after it.",
)
SRN104: Final = Code(
    "SRN104",
    "warning",
    "a pause without a duration",
    "The rollout waits there until a person promotes it, for ever if nobody does.",
    "Write a duration if nobody is meant to be asked; otherwise let this code pass with a comment.",
)
SRN105: Final = Code(
    "SRN105",
    "warning",
    "steps shorter than a Knative sink sleeps",
    "The agent runs as a Knative Service that may be scaled to zero. Asleep, it does not end a pause in time: what wakes"
    f" it is the next event or tick. Steps under {KNATIVE_SECONDS} s need it awake.",
    'Set the annotation autoscaling.knative.dev/min-scale: "1" on its template, or make the step longer.',
)
SRN106: Final = Code(
    "SRN106",
    "warning",
    "the last step is setWeight: 100 without a pause behind it",
    "Alerts and background analysis count until the last step is done. With all the traffic on the new version the"
    " rollout is over at once, and nothing takes a bad version off any more.",
    "Add a pause after it, such as `- pause: {duration: 5m}`.",
)
SRN107: Final = Code(
    "SRN107",
    "warning",
    "weights that follow each other at once",
    "Between two setWeight steps no time passes but what the routes need: the smaller share proves nothing.",
    "Put a pause or an analysis between them.",
)
SRN108: Final = Code(
    "SRN108",
    "warning",
    "a canary without steps",
    "All traffic goes to the new version as soon as its pods are ready: that is a rolling update, not a canary.",
    "Write steps, such as setWeight: 10 and a pause.",
)
CODES: Final = (SRN101, SRN102, SRN103, SRN104, SRN105, SRN106, SRN107, SRN108)


def driven(world: World) -> Iterator[Finding]:
    """What the engine refuses of a Rollout that Argo accepts."""
    for item in world.of("Experiment"):
        message = "kind: Experiments are not driven by Serinus"
        yield SRN101.at(item, "kind", message)
    for one in world.rollouts:
        for error in not_driven(one.rollout, world.routers):
            yield SRN101.at(one.item, error.field, f"{error.field}: {error.detail}")
        if not one.errors:
            for error in steps.validate(_draft(one)):
                code = SRN101 if "is not driven" in error.detail else SRN102
                yield code.at(one.item, error.field, f"{error.field}: {error.detail}")


def _draft(one: OneRollout) -> Draft:
    """Steps are validated on a draft; the spec is all that they look at."""
    now = datetime(1970, 1, 1, tzinfo=UTC)
    return Draft(bare_facts(Observation(now=now, rollout=one.item.obj), one.rollout))


def sense(world: World) -> Iterator[Finding]:
    """Steps that are accepted and do not do what they seem to."""
    sleepy = _sleeping_agent(world)
    for one in world.rollouts:
        listed = defaults.canary_of(one.rollout).steps or []
        if one.errors or one.rollout.spec.strategy.canary is None:
            continue
        if not listed:
            message = "spec.strategy.canary: no steps, so the new version gets all traffic at once"
            yield SRN108.at(one.item, "spec.strategy.canary", message)
            continue
        yield from _pauses(one, listed, sleepy)
        yield from _weights(one, listed)


def _pauses(one: OneRollout, listed: Sequence[Step], sleepy: str) -> Iterator[Finding]:
    if listed[0].pause is not None:
        message = f"{FIELD}[0]: a pause before the new version has any traffic"
        yield SRN103.at(one.item, f"{FIELD}[0]", message)
    for index, step in enumerate(listed):
        if step.pause is None:
            continue
        field, seconds = f"{FIELD}[{index}].pause", pause_seconds(step.pause)
        if seconds is None:
            yield SRN104.at(one.item, field, f"{field}: waits for a person, without an end")
        elif sleepy and seconds < KNATIVE_SECONDS:
            message = f"{field}: {seconds} s, but {sleepy} may be scaled to zero"
            yield SRN105.at(one.item, field, message)


def _weights(one: OneRollout, listed: Sequence[Step]) -> Iterator[Finding]:
    full = defaults.max_traffic_weight(one.rollout)
    for index, (step, following) in enumerate(pairwise(listed)):
        weight, after = step.set_weight, following.set_weight
        if weight and after is not None and after > weight:
            field = f"{FIELD}[{index + 1}].setWeight"
            message = f"{field}: {after} follows {weight} at once"
            yield SRN107.at(one.item, field, message)
            break
    if listed[-1].set_weight == full:
        field = f"{FIELD}[{len(listed) - 1}].setWeight"
        message = (
            f"{field}: {full} is the last step, so nobody watches the new version with all traffic"
        )
        yield SRN106.at(one.item, field, message)


def _sleeping_agent(world: World) -> str:
    """A Knative Service that runs Serinus and may be scaled to zero; "" when there is none."""
    for item in world.of(KNATIVE_SERVICE):
        template = mapping(item.obj, "spec", "template")
        containers = listing(mapping(template, "spec").get("containers"))
        images = " ".join(str(part.get("image") or "") for part in containers)
        annotations = mapping(template, "metadata", "annotations")
        least = str(
            annotations.get("autoscaling.knative.dev/min-scale")
            or annotations.get("autoscaling.knative.dev/minScale")
            or "0"
        )
        if "serinus" in f"{item.ref.name} {images}" and least == "0":
            return f"the agent (Knative Service {item.ref.namespace}/{item.ref.name})"
    return ""
