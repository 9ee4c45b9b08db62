"""The workload that a Rollout refers to: whether it is one, and what becomes of its own pods. PURE."""

from collections.abc import Iterator
from typing import Final

from agent.api.rollout import ObjectRef
from agent.lint.finding import Finding
from agent.lint.reading import SRN007
from agent.lint.world import Code, OneRollout, World, mapping
from agent.rollout.field_errors import text
from agent.rollout.workloads import NEVER, SCALE_DOWNS, kind_problem, workload_of

ARG008: Final = Code(
    "ARG008",
    "error",
    "a workload that a Rollout cannot use",
    "The Rollout takes its pods from the object that spec.workloadRef names. When there is none, or its template or selector is"
    " invalid, no pod of the new version is made.",
    "Name a Deployment (or ReplicaSet) of apps/v1, or a PodTemplate of v1, whose selector selects its own template's labels.",
)
SRN117: Final = Code(
    "SRN117",
    "warning",
    "a scaleDown that is none",
    f"Any word but {', '.join(SCALE_DOWNS[1:])} counts as {NEVER}, without another: the workload keeps its pods.",
    f"Write one of {', '.join(SCALE_DOWNS)}.",
)
SRN118: Final = Code(
    "SRN118",
    "warning",
    "a Deployment that keeps its own pods",
    "Beside the Rollout's pods those of the Deployment go on running: twice as many, which the same Services select, and whose"
    " version no weight leaves.",
    "Write scaleDown: progressively (or onsuccess), or give the Deployment replicas: 0 once the Rollout has taken over.",
)
CODES: Final = (ARG008, SRN117, SRN118)
FIELD: Final = "spec.workloadRef"


def workloads(world: World) -> Iterator[Finding]:
    """What spec.workloadRef names, and says."""
    for one in world.rollouts:
        reference = one.rollout.spec.workload_ref
        if reference is None:
            continue
        if problem := kind_problem(reference):
            yield ARG008.at(one.item, f"{FIELD}.kind", f"{FIELD}.kind: {problem}")
            continue
        if one.is_resolved:
            yield from _template(one)
        elif not one.errors:
            yield from _absent(world, one, reference)
        scale_down = reference.scale_down
        if scale_down and scale_down not in SCALE_DOWNS:
            field = f"{FIELD}.scaleDown"
            message = f"{field}: {scale_down!r} is not one of {', '.join(SCALE_DOWNS)}"
            yield SRN117.at(one.item, field, message)
        elif not scale_down or scale_down == NEVER:
            yield from _kept(one)


def _template(one: OneRollout) -> Iterator[Finding]:
    """The rules for a Rollout's own template; their findings stand where the template does."""
    for error in one.template_errors:
        if one.pods is one.item:
            yield ARG008.at(one.item, FIELD, f"{FIELD}: {text(error)}")
        else:
            yield ARG008.at(one.pods, error.field, f"{text(error)} (for {one.item.shown})")


def _absent(world: World, one: OneRollout, reference: ObjectRef) -> Iterator[Finding]:
    ref = workload_of(reference, one.item.ref.namespace)
    if not world.is_complete:
        yield SRN007.at(one.item, FIELD, f"{FIELD}: {ref} is not at hand")
    elif ref.kind != "PodTemplate":  # the cluster is not asked for those
        yield ARG008.at(one.item, FIELD, f"{FIELD}: {ref} not found")


def _kept(one: OneRollout) -> Iterator[Finding]:
    """In Git, that is: what a Deployment of the cluster has now may be about to go."""
    if one.pods is one.item or one.pods.ref.kind != "Deployment":
        return
    replicas = mapping(one.pods.obj, "spec").get("replicas", 1)
    if replicas != 0:
        message = f"spec.replicas: {replicas}, and {one.item.shown} leaves them there"
        yield SRN118.at(one.pods, "spec.replicas", message)
