"""What the facade says about itself: groups, versions, resources, and just enough OpenAPI for kubectl. Pure."""

from collections.abc import Callable
from typing import Any, Final

from agent.cluster.discovery import LOCAL, VERSIONS
from agent.cluster.kinds import SHORT_NAMES
from agent.cluster.port import KINDS, Kind

VERSION: Final = {"major": "1", "minor": "34", "gitVersion": f"v1.34.0{LOCAL}"}
SCALED: Final = frozenset({"Rollout", "ReplicaSet", "Deployment"})
"""Kinds with a scale subresource."""


def versions_of(group: str) -> tuple[str, ...]:
    """The versions in which a group is served, best first; () for an unknown group."""
    own = dict.fromkeys(kind.version for kind in KINDS.values() if kind.group == group)
    return (VERSIONS.get(group) or tuple(own)) if own else ()


def find(group: str, version: str, plural: str) -> Kind | None:
    """The kind that a path names."""
    if version in versions_of(group):
        for kind in KINDS.values():
            if (kind.group, kind.plural) == (group, plural):
                return kind
    return None


def api_versions() -> dict[str, Any]:
    """The answer to /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> dict[str, Any]:
    """The answer to /apis."""
    names = dict.fromkeys(kind.group for kind in KINDS.values() if kind.group)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in names]}


def group(name: str) -> dict[str, Any]:
    """The answer to /apis/GROUP, of a group that is served."""
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version} for version in versions_of(name)
    ]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def resources(group_name: str, version: str, has_status: Callable[[Kind], bool]) -> dict[str, Any]:
    """The answer to /apis/GROUP/VERSION and /api/v1."""
    listed: list[dict[str, Any]] = []
    for kind in KINDS.values():
        if kind.group != group_name:
            continue
        entry = {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "shortNames": SHORT_NAMES.get(kind.kind, ()),
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        }
        listed.append(entry)
        part = {**entry, "shortNames": (), "verbs": ["get", "patch", "update"]}
        if has_status(kind):
            listed.append({**part, "name": f"{kind.plural}/status"})
        if kind.kind in SCALED:
            listed.append(
                {
                    **part,
                    "name": f"{kind.plural}/scale",
                    "kind": "Scale",
                    "group": "autoscaling",
                    "version": "v1",
                }
            )
    where = f"{group_name}/{version}" if group_name else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": where,
        "resources": listed,
    }


def openapi_index() -> dict[str, Any]:
    """The answer to /openapi/v3."""
    paths = {}
    for name in dict.fromkeys(kind.group for kind in KINDS.values()):
        for version in versions_of(name):
            path = f"apis/{name}/{version}" if name else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}"}
    return {"paths": paths}


def openapi(group_name: str, version: str) -> dict[str, Any]:
    """The answer to /openapi/v3/…: no schemas, only that a PATCH understands `fieldValidation`.

    kubectl looks for that parameter before it leaves the validation to the server.
    """
    root = f"/apis/{group_name}/{version}" if group_name else f"/api/{version}"
    paths = {}
    for kind in KINDS.values():
        if kind.group != group_name:
            continue
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        paths[f"{root}{scope}/{kind.plural}/{{name}}"] = {
            "patch": {
                "x-kubernetes-group-version-kind": {
                    "group": group_name,
                    "version": version,
                    "kind": kind.kind,
                },
                "parameters": [
                    {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
                ],
                "responses": {"200": {"description": "OK"}},
            }
        }
    info = {"title": "Serinus local cluster", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths}
