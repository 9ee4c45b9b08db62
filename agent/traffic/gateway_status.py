"""What a route's own status says of it: taken up by every parent, in this very generation, with all its backends.

Read as the specification has it (RouteParentStatus): one entry for each parent and controller, with the conditions
Accepted and ResolvedRefs, each of which says which generation it saw. PURE.
"""

from collections.abc import Mapping
from typing import Any, Final

from agent.api.meta import Key, Object, Ref
from agent.traffic.gateway_rules import dicts, is_service
from agent.traffic.types import Confirmation

_GROUP: Final = "gateway.networking.k8s.io"
_LONGEST: Final = 200
"""Of a controller's message: it goes into the Rollout's own words."""


def confirmation_of(ref: Ref, route: Object) -> Confirmation:
    """Whether every parent of the route has taken up what its spec says now."""
    spec = route.get("spec")
    parents = dicts(spec.get("parentRefs")) if isinstance(spec, dict) else []
    in_listener = any(is_mesh_parent(parent) for parent in parents)
    reason = _missing(ref, route, parents)
    return Confirmation(verified=not reason, reason=reason, in_listener=in_listener)


def is_mesh_parent(parent: Mapping[str, Any]) -> bool:
    """Whether a parent is a Service: the route is for clients in the mesh, and sits in listeners of waypoints."""
    return parent.get("kind") == "Service" and is_service(parent)


def _missing(ref: Ref, route: Object, parents: list[dict[str, Any]]) -> str:
    if not parents:
        return f"{ref} has no spec.parentRefs, so nobody routes by it"
    status = route.get("status")
    entries = dicts(status.get("parents")) if isinstance(status, dict) else []
    for parent in parents:
        place = _place(parent, ref.namespace)
        answers = [
            entry
            for entry in entries
            if isinstance(of := entry.get("parentRef"), dict) and _place(of, ref.namespace) == place
        ]
        name = f"{place[1]} '{place[3]}'"
        if not answers:
            return f"{ref}: {name} has not answered; is its controller running?"
        # Another controller's entry of former times may stand beside it: one that is content is enough.
        troubles = [_trouble(entry, _generation(route)) for entry in answers]
        if all(troubles):
            return f"{ref}: {name} {troubles[0]}"
    return ""


def _trouble(entry: Mapping[str, Any], generation: int) -> str:
    """Why this parent does not route by what the spec says now; "" when it does."""
    conditions = {
        str(item.get("type")): item
        for item in dicts(entry.get("conditions"))
        if _seen(item) >= generation
    }
    for kind, refused in (
        ("Accepted", "does not accept it"),
        ("ResolvedRefs", "cannot resolve a backend"),
    ):
        condition = conditions.get(kind)
        if condition is None:
            return f"has not said {kind} of generation {generation} yet"
        if condition.get("status") != "True":
            return f"{refused}: {_words(condition)}"
    partly = conditions.get("PartiallyInvalid")
    if partly is not None and partly.get("status") == "True":
        return f"has dropped a part of it: {_words(partly)}"
    return ""


def _words(condition: Mapping[str, Any]) -> str:
    reason, message = str(condition.get("reason") or "?"), str(condition.get("message") or "")
    return f"{reason}: {message}"[:_LONGEST] if message else reason


def _seen(condition: Mapping[str, Any]) -> int:
    seen = condition.get("observedGeneration")
    return seen if isinstance(seen, int) else 0


def _generation(route: Object) -> int:
    generation = (route.get("metadata") or {}).get("generation")
    return generation if isinstance(generation, int) else 0


def _place(parent: Mapping[str, Any], namespace: str) -> tuple[str, str, str, str, str, str]:
    """A parent in full: group, kind, namespace, name, section, port."""
    group = parent.get("group")
    return (
        _GROUP if group is None else str(group),
        str(parent.get("kind") or "Gateway"),
        str(parent.get("namespace") or namespace),
        str(parent.get("name") or ""),
        str(parent.get("sectionName") or ""),
        str(parent.get("port") or ""),
    )


def mesh_services(route: Object) -> tuple[Key, ...]:
    """The Services whose clients in the mesh follow this route."""
    namespace = Key.of(route).namespace
    spec = route.get("spec")
    parents = dicts(spec.get("parentRefs")) if isinstance(spec, dict) else []
    return tuple(
        Key(str(parent.get("namespace") or namespace), str(parent["name"]))
        for parent in parents
        if is_mesh_parent(parent) and parent.get("name")
    )
