"""Route objects: whether each step's weight can be written, and who else writes or reads them. PURE."""

from collections.abc import Iterator
from typing import Any, Final

from agent.api.meta import Object, Ref
from agent.errors import Refused
from agent.lint.argo import in_argos_words, missing_templates
from agent.lint.finding import Finding
from agent.lint.reading import SRN007
from agent.lint.world import Code, Item, OneRollout, World, listing, mapping, texts
from agent.rollout import references
from agent.rollout.preview import preview
from agent.rollout.sharing import sharing_errors
from agent.traffic.hosts import HOST_KINDS, other_mesh_api
from agent.traffic.istio import Istio
from agent.traffic.istio_names import istio_of
from agent.traffic.istio_objects import configured, observed_roles
from agent.traffic.istio_selection import Target, blocks_of, targets_of
from agent.traffic.route_objects import managed_names
from agent.traffic.routers import router_of
from agent.traffic.routing import field_of, routing_of

SRN301: Final = Code(
    "SRN301",
    "error",
    "routes that cannot be driven",
    "Serinus refuses what is not clear instead of guessing: the Rollout gets the condition InvalidSpec and raises nothing.",
    "docs/traffic.md has a table of what is refused, and the fix.",
)
SRN302: Final = Code(
    "SRN302",
    "error",
    "a weight that cannot be written",
    "At this step the plan for the routes is refused, and the rollout waits there for a person.",
    "`serinus plan` shows the step; docs/traffic.md says what to change.",
)
SRN303: Final = Code(
    "SRN303",
    "error",
    "two Rollouts on one route, subset or Service",
    "They would undo each other's writes for ever: both are refused.",
    "Give each its own.",
)
SRN304: Final = Code(
    "SRN304",
    "warning",
    "weights that do not sum to 100",
    "Istio takes them as shares of their sum, so the canary's part is another than it says, and Serinus writes 100 with its"
    " first weight. Older versions of Istio refuse such a route.",
    "Make them sum to 100.",
)
SRN305: Final = Code(
    "SRN305",
    "warning",
    "the manifest sends traffic to the canary",
    "What stands in Git is written again by every sync that does not leave the weights alone. Between two rollouts, and"
    " after an abort, that exposes users to the canary until it is put right.",
    "Write 100 for stable and 0 for the canary.",
)
SRN306: Final = Code(
    "SRN306",
    "error",
    "a VirtualService and a Gateway API route for one service",
    "Istio leaves open which of them counts. Moving the weight of one may change nothing.",
    "Keep one of them.",
)
SRN307: Final = Code(
    "SRN307",
    "warning",
    "a route in Git that Argo CD would write back",
    "The weights in Git are not those of a rollout in progress. A sync writes them back, Serinus puts them right again,"
    " and the Application shows OutOfSync all the time.",
    "Give the Application ignoreDifferences for the weights, with RespectIgnoreDifferences=true (docs/traffic.md).",
)
CODES: Final = (SRN301, SRN302, SRN303, SRN304, SRN305, SRN306, SRN307)
GATEWAY_KINDS: Final = ("HTTPRoute", "GRPCRoute")


def missing(world: World) -> Iterator[Finding]:
    """Objects that are named and not at hand; with the cluster asked, other checks know that they do not exist."""
    if world.is_complete:
        return
    for one in world.rollouts:
        if one.errors:
            continue
        namespace = one.rollout.metadata.namespace
        for role, name in references.referenced_services(one.rollout):
            if Ref("Service", namespace, name) not in world.objects:
                field = references.SERVICE_FIELDS[role]
                yield SRN007.at(
                    one.item, field, f"{field}: Service {namespace}/{name} is not at hand"
                )
        router = router_of(routing_of(one.rollout), world.routers)
        for ref in router.references(one.rollout) if router else ():
            if ref not in world.objects:
                field = field_of(router.name if router else "")
                yield SRN007.at(one.item, field, f"{field}: {ref} is not at hand")
    invalid = {one.item.ref for one in world.rollouts if one.errors}
    for item, use in world.uses:
        if item.ref not in invalid:
            for ref in missing_templates(world, use.analysis.templates or (), item.ref.namespace):
                yield SRN007.at(item, use.field, f"{use.field}: {ref} is not at hand")


def driven(world: World) -> Iterator[Finding]:
    """What the router and the plans of all steps refuse, where all route objects are at hand."""
    for one in world.rollouts:
        router = router_of(routing_of(one.rollout), world.routers)
        if router is None or one.errors:
            continue
        rivals = _rivals(world, one)
        for error in sharing_errors(one.rollout, router, world.objects, rivals, world.routers):
            yield SRN303.at(one.item, error.field, f"{error.field}: {error.detail}")
        refs = router.references(one.rollout)
        if not world.is_complete and any(ref not in world.objects for ref in refs):
            continue
        known = _told_by_argo(world, one)
        errors = [
            error
            for error in router.validate(one.rollout, world.objects)
            if error.detail not in known and error.type != "InternalError"
        ]
        for error in errors:
            yield SRN301.at(one.item, error.field, f"{error.field}: {error.detail}")
        if errors or known:
            continue
        spoken = {
            ref: obj for ref, obj in world.objects.items() if ref.kind in HOST_KINDS or ref in refs
        }
        refused: set[str] = set()
        for stage in preview(one.item.obj, spoken, (), world.routers).stages:
            trouble = stage.refusal
            if trouble is not None and trouble.detail not in refused:
                refused.add(trouble.detail)
                where = f"step {stage.index + 1}: " if stage.index is not None else ""
                yield SRN302.at(
                    one.item, trouble.field, f"{trouble.field}: {where}{trouble.detail}"
                )


def _rivals(world: World, one: OneRollout) -> list[Object]:
    return [obj for ref, obj in world.all_of("Rollout").items() if ref != one.item.ref]


def _told_by_argo(world: World, one: OneRollout) -> set[str]:
    """What has been said under ARG004."""
    istio = istio_of(one.rollout)
    router = world.routers.get("istio")
    if istio is None or router is None:
        return set()
    return {
        error.detail
        for route in configured(one.rollout, istio)
        if route.ref in world.objects
        for error in Istio().validate_virtual_service(one.rollout, world.objects, route.ref)
        if in_argos_words(error)
    }


def weights(world: World) -> Iterator[Finding]:
    """The weights of VirtualServices as the manifests have them."""
    for item in world.of("VirtualService"):
        for block in ("http", "tls", "tcp"):
            for index, route in enumerate(listing(mapping(item.obj, "spec").get(block))):
                given = [part.get("weight") for part in listing(route.get("route"))]
                numbers = [value for value in given if isinstance(value, int)]
                if len(given) > 1 and sum(numbers) != 100:
                    field = f"spec.{block}[{index}].route"
                    message = f"{field}: the weights sum to {sum(numbers)}, not to 100"
                    yield SRN304.at(item, field, message)
    for one in world.rollouts:
        for route_item, target in _targets(world, one):
            exposed = [
                part for part in target.destinations if part.role == "canary" and part.weight
            ]
            if exposed and len(target.destinations) > 1:
                field = f"spec.{target.block}[{target.index}].route[{exposed[0].index}].weight"
                message = f"{field}: {exposed[0].weight} for the canary of {one.item.shown}"
                yield SRN305.at(route_item, field, message)
        yield from _exposed_elsewhere(world, one)


def _exposed_elsewhere(world: World, one: OneRollout) -> Iterator[Finding]:
    """The same of routes that only their router can read."""
    router = router_of(routing_of(one.rollout), world.routers)
    if router is None or istio_of(one.rollout) is not None or one.errors:
        return
    items = [item for ref in router.references(one.rollout) if (item := world.item(ref))]
    weight = router.canary_weight(one.rollout, world.objects) if items else None
    if weight:
        message = f"spec: {weight} % for the canary of {one.item.shown}"
        yield SRN305.at(items[0], "spec", message)


def _targets(world: World, one: OneRollout) -> Iterator[tuple[Item, Target]]:
    istio = istio_of(one.rollout)
    for route in configured(one.rollout, istio) if istio else ():
        item = world.item(route.ref)
        if item is None:
            continue
        try:
            roles = observed_roles(one.rollout, world.objects)
            for block in blocks_of(route.settings, item.obj, roles):
                for target in targets_of(
                    block, route.settings, managed_names(one.rollout), item.obj, roles
                ):
                    yield item, target
        except Refused:
            continue


def mixed(world: World) -> Iterator[Finding]:
    """Gateway API routes beside VirtualServices of the same service."""
    for item in world.of(*GATEWAY_KINDS):
        why = other_mesh_api(item.ref, item.obj, world.objects)
        if why:
            yield SRN306.at(item, "spec.parentRefs", f"spec.parentRefs: {why}")


def gitops(world: World) -> Iterator[Finding]:
    """Route objects that stand in Git beside their Rollout, without an Application that leaves them alone."""
    for one in world.rollouts:
        router = router_of(routing_of(one.rollout), world.routers)
        for ref in router.references(one.rollout) if router and not one.errors else ():
            item = world.item(ref)
            if item is None or ref.kind == "DestinationRule":
                continue
            if not any(_leaves_alone(app.obj, ref.kind) for app in world.of("Application")):
                message = f"{ref}: no Application among the manifests leaves its weights alone"
                yield SRN307.at(item, "spec", message)


def _leaves_alone(application: Object, kind: str) -> bool:
    spec = mapping(application, "spec")
    ignored: list[dict[str, Any]] = listing(spec.get("ignoreDifferences"))
    options = texts(mapping(spec, "syncPolicy").get("syncOptions"))
    return any(part.get("kind") in (kind, "*") for part in ignored) and (
        "RespectIgnoreDifferences=true" in options
    )
