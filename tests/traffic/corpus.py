"""VirtualServices of many kinds, all our own, each with the rollout that drives it.

They are made by putting together what users put together: an extra on the route that carries the weights, routes
around it, tls and tcp blocks, weights in every notation.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from agent.api.meta import Object
from agent.api.rollout import Rollout
from tests.traffic.objects import rollout, to, virtual_service


class Case(NamedTuple):
    """One VirtualService, the rollout that drives it, and where its weights are: (block, index)."""

    name: str
    rollout: Rollout
    service: Object
    addressed: tuple[tuple[str, int], ...]


Extra = dict[str, Any]
EXTRAS: dict[str, Extra] = {
    "plain": {},
    "timeout": {"timeout": "5s"},
    "retries": {"retries": {"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx,reset"}},
    "fault": {"fault": {"abort": {"httpStatus": 503, "percentage": {"value": 0.5}}}},
    "cors": {"corsPolicy": {"allowOrigins": [{"exact": "https://a"}], "maxAge": "24h"}},
    "rewrite": {"rewrite": {"uri": "/v2", "authority": "x.example.com"}},
    "mirror of the user's": {"mirror": {"host": "log"}, "mirrorPercentage": {"value": 5.5}},
    "mirrors of the user's": {
        "mirrors": [{"destination": {"host": "log"}, "percentage": {"value": 1}}]
    },
    "headers": {"headers": {"request": {"set": {"x-a": "1"}, "remove": ["x-b"]}}},
    "matches": {
        "match": [{"uri": {"prefix": "/a"}}, {"headers": {"x": {"regex": "^a$"}}, "port": 80}]
    },
    "match with query": {"match": [{"queryParams": {"v": {"exact": "~1/a"}}, "name": "m"}]},
    "unknown fields": {"fromTheFuture": {"deep": [1, {"x": None}], "float": 1.5}, "z": False},
    "an awkward name": {"name": "a/b~c"},
    "jwt claims": {"match": [{"headers": {"@request.auth.claims.sub": {"exact": "a"}}}]},
    "source labels": {"match": [{"sourceLabels": {"app": "x"}, "gateways": ["mesh"]}]},
    "no retries": {"retries": {"attempts": 0}},
    "a delay": {"fault": {"delay": {"fixedDelay": "0.1s", "percentage": {"value": 10}}}},
    "a header for the answer": {"headers": {"response": {"add": {"x-b": "2"}}}},
}
BLUE = {"name": "old", "route": [to("old", 100)]}
AROUND: dict[str, tuple[list[Extra], list[Extra]]] = {
    "a route before": ([{"match": [{"uri": {"prefix": "/old"}}], **BLUE}], []),
    "a route behind": ([], [BLUE]),
    "unnamed routes on both sides": ([{"route": [to("old")]}], [{"route": [to("older", 7)]}]),
    "a redirect before": ([{"match": [{"uri": {"exact": "/"}}], "redirect": {"uri": "/home"}}], []),
    "a direct answer before": (
        [{"match": [{"uri": {"exact": "/up"}}], "directResponse": {"status": 200}}], [],
    ),
    "a delegate before": ([{"match": [{}], "delegate": {"name": "d", "namespace": "team"}}], []),
    "a split of others before": ([{"name": "s", "route": [to("a", 30), to("b", 70)]}], []),
    "our own pair, not named": (
        [{"name": "frozen", "route": [to("stable", 95), to("canary", 5)]}], [],
    ),
    "a catch-all behind": ([], [{"name": "rest", "route": [to("rest", 100)]}]),
    "many": ([{"name": f"r{n}", "route": [to("old", 100)]} for n in range(12)], [BLUE]),
}  # fmt: skip
STARTS: dict[str, tuple[Any, Any]] = {
    "100 and 0": (100, 0),
    "only stable": (100, None),
    "half way": (50, 50),
    "all on the canary": (0, 100),
    "floats": (90.0, 10.0),
    "a sum of 3": (2, 1),
    "a sum of 1000": (900, 100),
    "a sum below 100": (60, 10),
    "a lonely point": (99, 1),
}
LEVELS = ("host", "host in full", "subset", "ping and pong")
SPECS: dict[str, Extra] = {
    "gateways": {"gateways": ["mesh", "istio-system/edge"]},
    "exportTo": {"exportTo": ["."]},
    "many hosts": {"hosts": ["a.example.com", "*.b.example.com", "c"]},
    "an unknown block": {"fromTheFuture": [{"route": [{"weight": 5}]}]},
    "an empty tls block": {"tls": []},
    "a tls block of others": {
        "hosts": ["x.example.com"],
        "tls": [{"match": [{"port": 443, "sniHosts": ["x.example.com"]}], "route": [to("x")]}],
    },
    "a tcp block of others": {"tcp": [{"match": [{"port": 9000}], "route": [to("db", 100)]}]},
}


def destinations(level: str, stable: Any, canary: Any, **more: Any) -> list[dict[str, Any]]:
    """Stable and canary, by host, by subset, or as ping and pong, of which ping is the stable one."""
    if level == "ping and pong":
        return [to("ping", stable, **more), to("pong", canary, **more)]
    if level == "host in full":
        domain = "default.svc.cluster.local"
        return [to(f"stable.{domain}", stable, **more), to(f"canary.{domain}", canary, **more)]
    if level == "subset":
        return [
            to("app", stable, subset="stable", **more),
            to("app", canary, subset="canary", **more),
        ]
    return [to("stable", stable, **more), to("canary", canary, **more)]


def cases() -> tuple[Case, ...]:
    """All of them, names unique."""
    made = tuple(case for level in LEVELS for case in _of(level))
    assert len({case.name for case in made}) == len(made)
    return made


def _of(level: str) -> Iterator[Case]:
    for name, extra in EXTRAS.items():
        route = {"name": "primary", "route": destinations(level, 100, 0), **deepcopy(extra)}
        yield _http(f"{level}: {name}", level, [], route, [], named=True)
        bare = {key: value for key, value in route.items() if key != "name"}
        yield _http(f"{level}: {name}, the only route", level, [], bare, [], named=False)
    for name, (before, behind) in AROUND.items():
        route = {"name": "primary", "route": destinations(level, 80, 20)}
        yield _http(f"{level}: {name}", level, before, route, behind, named=True)
    for name, (stable, canary) in STARTS.items():
        route = {"name": "primary", "route": destinations(level, stable, canary, unknown={"k": 1})}
        yield _http(f"{level}: weights {name}", level, [], route, [BLUE], named=True)
    for name, spec in SPECS.items():
        route = {"name": "primary", "route": destinations(level, 100, 0)}
        yield _http(f"{level}: {name}", level, [], route, [], named=True, spec=spec)
    for port in ({"number": 8443}, None):
        where = {"port": port} if port else {}
        two = [
            {"name": name, "route": destinations(level, 100, 0, **where)} for name in ("one", "two")
        ]
        service = virtual_service(*two)
        settings = {"name": "vs", "routes": ["one", "two"]}
        kind = "with" if port else "without"
        addressed = (("http", 0), ("http", 1))
        yield Case(
            f"{level}: two routes {kind} a port", _rollout(level, settings), service, addressed
        )
    yield from _tls(level)
    yield from _tcp(level)


def _tls(level: str) -> Iterator[Case]:
    other = {"match": [{"port": 443, "sniHosts": ["other"]}], "route": [to("other", 100)]}
    for name, routes, settings, index in (
        ("the only one", [{}], {}, 0),
        ("by port", [{}, other | {"match": [{"port": 444, "sniHosts": ["o"]}]}],
         {"tlsRoutes": [{"port": 443, "sniHosts": ["a", "b"]}]}, 0),
        ("by hosts", [other, {}], {"tlsRoutes": [{"port": 443, "sniHosts": ["b", "a"]}]}, 1),
        ("unknown fields", [{"fromTheFuture": 1}], {}, 0),
    ):  # fmt: skip
        mine = {
            "match": [{"port": 443, "sniHosts": ["a", "b"], "gateways": ["mesh"]}],
            "route": destinations(level, 70, 30),
        }
        tls = [
            route if route is other or "match" in route else {**mine, **route} for route in routes
        ]
        service = virtual_service(spec={"tls": deepcopy(tls), "hosts": ["a", "b", "other", "o"]})
        yield Case(
            f"{level}: tls, {name}",
            _rollout(level, {"name": "vs", **settings}),
            service,
            (("tls", index),),
        )


def _tcp(level: str) -> Iterator[Case]:
    other = {"match": [{"port": 3306}], "route": [to("db")]}
    for name, routes, settings, index in (
        ("the only one", ["mine"], {}, 0),
        ("by port", [other, "mine"], {"tcpRoutes": [{"port": 5432}]}, 1),
        ("beside http", ["mine"], {"tcpRoutes": [{"port": 5432}]}, 0),
    ):
        mine = {"match": [{"port": 5432}], "route": destinations(level, 100, 0), "x": {"y": 1}}
        tcp = [mine if route == "mine" else route for route in routes]
        http = [deepcopy(BLUE)] if name == "beside http" else []
        service = virtual_service(*http, spec={"tcp": deepcopy(tcp)})
        yield Case(
            f"{level}: tcp, {name}",
            _rollout(level, {"name": "vs", **settings}),
            service,
            (("tcp", index),),
        )


def _http(
    name: str,
    level: str,
    before: list[Extra],
    route: Extra,
    behind: list[Extra],
    *,
    named: bool,
    spec: Extra | None = None,
) -> Case:
    settings: dict[str, Any] = {"name": "vs"}
    if named:
        settings["routes"] = [route["name"]]
    service = virtual_service(*deepcopy([*before, route, *behind]), spec=deepcopy(spec))
    return Case(name, _rollout(level, settings), service, (("http", len(before)),))


def _rollout(level: str, settings: dict[str, Any]) -> Rollout:
    more: dict[str, Any] = {}
    if level == "ping and pong":
        pair = {"pingService": "ping", "pongService": "pong"}
        more = {"canaryService": "", "stableService": "", "pingPong": pair}
        more["status"] = {"canary": {"stablePingPong": "ping"}}
    return rollout(
        istio={"virtualService": settings},
        by_subset=level == "subset",
        managed=["hdr", "mir"],
        **more,
    )
