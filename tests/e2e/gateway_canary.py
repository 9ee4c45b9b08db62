"""One Rollout on an HTTPRoute and a GRPCRoute of its name, as a user applies it and as a test sees it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from typing import Any, Final

from agent.api.meta import Object
from agent.api.names import POD_TEMPLATE_HASH
from agent.cluster.port import KINDS
from agent.traffic.routing import GATEWAY_API
from tests.e2e.canary import NAME, Canary
from tests.e2e.manifests import indefinite
from tests.e2e.processes import until
from tests.e2e.stage import Stage
from tests.e2e.weights import Observed, observing
from tests.traffic.gateway_objects import ref, route, rule

HTTP: Final = "HTTPRoute"
GRPC: Final = "GRPCRoute"
ADDRESSED: Final[Mapping[str, int]] = {HTTP: 1, GRPC: 0}
"""The rule of each route that has both Services."""
STABLE, CANARY = f"{NAME}-stable", f"{NAME}-canary"


def weight_of(made: Object) -> int:
    """The canary's weight on one of the two routes."""
    backends = made["spec"]["rules"][ADDRESSED[made["kind"]]]["backendRefs"]
    weights = {item["name"]: item["weight"] for item in backends}
    assert sum(weights.values()) == 100, "I8: weights sum to 100"
    weight: int = weights[CANARY]
    return weight


def without_weights(made: Object) -> dict[str, Any]:
    """A route's spec and the labels of its user, without the two weights that are ours."""
    spec = deepcopy(made["spec"])
    for item in spec["rules"][ADDRESSED[made["kind"]]]["backendRefs"]:
        del item["weight"]
    return {"labels": made["metadata"].get("labels"), "spec": spec}


class GatewayCanary(Canary):
    """A rollout on two routes.

    Attributes:
        git: the routes as their user applied them.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.cluster, stage.told, stage.agent, namespace=stage.namespace)
        self.git: dict[str, Object] = {}

    async def apply_all(self, steps: list[dict[str, Any]]) -> None:
        """Services, routes and Rollout; what the API server made of the routes is kept."""
        *others, rollout = objects(self.namespace, steps)
        await self.apply(*others)
        self.git = await self.routes()
        await self.apply(rollout)

    async def routes(self) -> dict[str, Object]:
        """Both of them, by kind."""
        return {
            kind: await self.cluster.get(KINDS[kind], self.namespace, self.name)
            for kind in ADDRESSED
        }

    async def weight(self) -> int:
        """The canary's weight on both routes; -1 while they differ."""
        weights = {weight_of(made) for made in (await self.routes()).values()}
        return weights.pop() if len(weights) == 1 else -1

    async def until_names_are_stable(self) -> None:
        """Wait until the canary's Service leads to the stable version: the abort is over, and whatever gives the
        canary weight from now on is somebody else's."""

        async def there() -> bool:
            service = await self.cluster.get(KINDS["Service"], self.namespace, CANARY)
            selected = service["spec"]["selector"].get(POD_TEMPLATE_HASH)
            return bool(selected) and selected == (await self.status()).get("stableRS")

        await until(there, "the canary's Service leads to stable", context=self.agent)

    async def resync(self, kind: str) -> None:
        """Git's rules, over everything, as an apply without any look at the object does it."""
        body = {"spec": {"rules": self.git[kind]["spec"]["rules"]}}
        await self.cluster.merge_patch(KINDS[kind], self.namespace, self.name, body)

    @asynccontextmanager
    async def observing(self) -> AsyncIterator[dict[str, Observed]]:
        """What happens to the weights of both routes inside the block, by kind."""
        async with AsyncExitStack() as stack:
            yield {
                kind: await stack.enter_async_context(
                    observing(self.cluster, KINDS[kind], self.namespace, self.name, weight_of)
                )
                for kind in ADDRESSED
            }

    async def until_users_routes(self) -> None:
        """Wait until both routes are as their user made them in all but the addressed weights (I7).

        The label that marks a canary under way leaves after the last weight.
        """
        wanted = {kind: without_weights(made) for kind, made in self.git.items()}

        async def there() -> bool:
            now = {kind: without_weights(made) for kind, made in (await self.routes()).items()}
            return now == wanted

        await until(there, "both routes are their user's again", context=self.agent)


def objects(namespace: str, steps: list[dict[str, Any]]) -> list[Object]:
    """What a user applies, the Rollout last; Git's routes say 90/10, as the page's do."""
    made = indefinite()
    service = next(obj for obj in made if obj["kind"] == "Service")
    rollout = made[-1]
    strategy = {
        **rollout["spec"]["strategy"]["canary"],
        "stableService": STABLE,
        "canaryService": CANARY,
        "steps": steps,
        "trafficRouting": {
            "plugins": {GATEWAY_API: {"httpRoutes": [{"name": NAME}], "grpcRoute": NAME}}
        },
    }
    spec = {**rollout["spec"], "replicas": 2, "strategy": {"canary": strategy}}
    found = [
        *({**service, "metadata": {"name": name}} for name in (STABLE, CANARY)),
        *_routes(),
        {**rollout, "spec": spec},
    ]
    return [
        {**obj, "metadata": {"name": obj["metadata"]["name"], "namespace": namespace}}
        for obj in found
    ]


def _routes() -> list[Object]:
    pair = (ref(STABLE, 90), ref(CANARY, 10))
    header = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-from", "value": "edge"}]},
    }
    admin = rule(ref("admin"), matches=[{"path": {"type": "PathPrefix", "value": "/admin"}}])
    return [
        route(
            admin, rule(*pair, filters=[header], timeouts={"request": "5s"}),
            kind=HTTP, name=NAME, hostnames=["shop.example.com"],
        ),
        route(
            rule(*pair, matches=[{"method": {"service": "shop.Cart"}}]),
            rule(ref(STABLE), matches=[{"method": {"service": "shop.Orders"}}]),
            kind=GRPC, name=NAME, hostnames=["grpc.example.com"],
        ),
    ]  # fmt: skip
