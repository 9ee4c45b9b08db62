"""Gateway API routes of many kinds, all our own, each with the rollout that drives it.

They are made by putting together what users put together: an extra on the rule that carries the weights, rules around
it, weights in every notation, other backends, routes of every protocol.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from agent.api.meta import Object
from agent.api.rollout import Rollout
from tests.traffic.gateway_objects import pair, ref, rollout, route, rule

Extra = dict[str, Any]


class Case(NamedTuple):
    """One route, the rollout that drives it, and where its weights are.

    `total`: what the two weights sum to once they are written.
    """

    name: str
    rollout: Rollout
    route: Object
    addressed: tuple[int, ...]
    total: int = 100


HEADERS = {"requestHeaderModifier": {"set": [{"name": "a", "value": "b"}], "remove": ["c"]}}
HTTP_EXTRAS: dict[str, Extra] = {
    "plain": {},
    "named": {"name": "main.rule-1"},
    "timeouts": {"timeouts": {"request": "5s", "backendRequest": "2s"}},
    "retry": {"retry": {"codes": [500, 503], "attempts": 3, "backoff": "100ms"}},
    "session persistence": {"sessionPersistence": {"sessionName": "s", "type": "Cookie"}},
    "a header filter": {"filters": [{"type": "RequestHeaderModifier", **HEADERS}]},
    "a rewrite": {"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "x.example.com"}}]},
    "cors": {"filters": [{"type": "CORS", "cors": {"allowOrigins": ["https://a"]}}]},
    "a mirror of the user's": {
        "filters": [
            {
                "type": "RequestMirror",
                "requestMirror": {"backendRef": {"name": "log", "port": 80}, "percent": 5},
            }
        ]
    },
    "an extension filter": {
        "filters": [
            {"type": "ExtensionRef", "extensionRef": {"group": "x", "kind": "Y", "name": "z"}}
        ]
    },
    "matches": {
        "matches": [
            {"path": {"type": "Exact", "value": "/a"}, "method": "GET"},
            {"headers": [{"name": "x-a", "type": "RegularExpression", "value": "^a$"}]},
            {"queryParams": [{"name": "v", "value": "1"}]},
        ]
    },
    "a path": {"matches": [{"path": {"type": "PathPrefix", "value": "/shop"}}]},
    "unknown fields": {"fromTheFuture": {"deep": [1, {"x": None}], "float": 1.5}, "z": False},
    "many matches": {
        "matches": [{"headers": [{"name": f"h{n}", "value": "1"}]} for n in range(16)]
    },
}
GRPC_EXTRAS: dict[str, Extra] = {
    "plain": {},
    "named": {"name": "main"},
    "a service": {"matches": [{"method": {"type": "Exact", "service": "shop.Cart"}}]},
    "methods": {
        "matches": [
            {
                "method": {"service": "shop.Cart", "method": name},
                "headers": [{"name": "a", "value": "b"}],
            }
            for name in ("Add", "Remove")
        ]
    },
    "a header filter": {
        "filters": [
            {
                "type": "ResponseHeaderModifier",
                "responseHeaderModifier": HEADERS["requestHeaderModifier"],
            }
        ]
    },
    "session persistence": {"sessionPersistence": {"sessionName": "s", "type": "Header"}},
    "unknown fields": {"fromTheFuture": [1]},
}
OTHER = rule(ref("old"), name="old")
AROUND: dict[str, tuple[list[Extra], list[Extra]]] = {
    "a rule before": ([OTHER], []),
    "a rule behind": ([], [OTHER]),
    "unnamed rules on both sides": ([rule(ref("old", 3))], [rule(ref("older"))]),
    "a split of others before": ([rule(ref("a", 30), ref("b", 70))], []),
    "the stable Service alone": ([rule(ref("stable", 5))], []),
    "the canary Service alone": ([], [rule(ref("canary"), name="preview")]),
    "no backends": ([rule(name="nowhere")], []),
    "many": ([rule(ref("old"), name=f"r{n}") for n in range(8)], [OTHER]),
}
STARTS: dict[str, tuple[int | None, int | None]] = {
    "100 and 0": (100, 0),
    "not written": (None, None),
    "only stable's": (1, None),
    "half way": (50, 50),
    "all on the canary": (0, 100),
    "a sum of 3": (2, 1),
    "a sum of 1000": (900, 100),
    "none at all": (0, 0),
}
REFS: dict[str, Extra] = {
    "as the server writes them": {"group": "", "kind": "Service"},
    "with a namespace": {"namespace": "default"},
    "with filters": {"filters": [{"type": "RequestHeaderModifier", **HEADERS}]},
    "with unknown fields": {"fromTheFuture": {"k": 1}},
}
SPECS: dict[str, Extra] = {
    "hostnames": {"hostnames": ["a.example.com", "*.b.example.com"]},
    "two parents": {"parents": [{"name": "edge", "sectionName": "https"}, {"name": "internal"}]},
    "a Service as parent": {"parents": [{"group": "", "kind": "Service", "name": "shop"}]},
    "labels": {"labels": {"app.kubernetes.io/part-of": "shop"}},
    "an unknown field": {"useDefaultGateways": "All"},
}


def cases() -> tuple[Case, ...]:
    """All of them, names unique."""
    made = (*_http(), *_grpc(), *_streams())
    assert len({case.name for case in made}) == len(made)
    return made


def _http() -> Iterator[Case]:
    driven = rollout(managed=("hdr", "mir"))
    for name, extra in HTTP_EXTRAS.items():
        yield Case(f"http: {name}", driven, route(rule(*pair(100, 0), **deepcopy(extra))), (0,))
    for name, (before, behind) in AROUND.items():
        made = route(*deepcopy([*before, rule(*pair(80, 20), name="primary"), *behind]))
        yield Case(f"http: {name}", driven, made, (len(before),))
    for name, (stable, canary) in STARTS.items():
        yield Case(f"http: weights {name}", driven, route(rule(*pair(stable, canary))), (0,))
    for name, more in REFS.items():
        made = route(rule(*pair(60, 40, **deepcopy(more))))
        yield Case(f"http: backends {name}", driven, made, (0,))
    for name, spec in SPECS.items():
        made = route(rule(*pair(100, 0)), **deepcopy(spec))
        yield Case(f"http: {name}", driven, made, (0,))
    for name, third, total in (
        ("without weight", ref("legacy", 0), 100),
        ("with a share", ref("legacy", 50), 200),
        ("of another kind", ref("bucket", 100, group="x", kind="Bucket"), 200),
        ("in another namespace", ref("canary", 7, namespace="other"), 200),
    ):
        made = route(rule(*pair(200, 0), third))
        yield Case(f"http: a third backend {name}", driven, made, (0,), total)
    two = route(rule(*pair(100, 0)), OTHER, rule(*pair(100, 0), name="second"))
    yield Case("http: two rules", driven, two, (0, 2))
    listed = {
        "httpRoutes": [{"name": "web", "useHeaderRoutes": True}],
        "disableInProgressLabel": True,
    }
    yield Case(
        "http: listed, without the label",
        rollout(config=listed, managed=("hdr", "mir")), route(rule(*pair(100, 0))), (0,),
    )  # fmt: skip


def _grpc() -> Iterator[Case]:
    driven = rollout(config={"grpcRoute": "web"}, managed=("hdr", "mir"))
    for name, extra in GRPC_EXTRAS.items():
        made = route(rule(*pair(100, 0), **deepcopy(extra)), kind="GRPCRoute")
        yield Case(f"grpc: {name}", driven, made, (0,))
    for name, (stable, canary) in STARTS.items():
        made = route(OTHER, rule(*pair(stable, canary)), kind="GRPCRoute")
        yield Case(f"grpc: weights {name}", driven, made, (1,))


def _streams() -> Iterator[Case]:
    for protocol, kind in (("tcp", "TCPRoute"), ("tls", "TLSRoute")):
        driven = rollout(config={f"{protocol}Route": "web"}, managed=("hdr", "mir"))
        names: Extra = {"hostnames": ["a.example.com"]} if protocol == "tls" else {}
        for name, (stable, canary) in STARTS.items():
            made = route(rule(*pair(stable, canary)), kind=kind, **names)
            yield Case(f"{protocol}: weights {name}", driven, made, (0,))
        made = route(rule(*pair(100, 0), name="db", fromTheFuture=1), kind=kind, **names)
        yield Case(f"{protocol}: named, unknown fields", driven, made, (0,))
