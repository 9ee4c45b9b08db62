"""One Rollout with its VirtualService, as a test sees it: what it is, and waiting until it is otherwise."""

from typing import Any, Final

from agent.api.meta import Object
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from agent.errors import AlreadyExists, Unavailable
from tests.e2e.announcements import Announcements
from tests.e2e.processes import Process, until

NAMESPACE: Final = "demo"
NAME: Final = "canary-demo"


class Canary:
    """A rollout under test; Rollout and VirtualService have one name.

    Attributes:
        cluster: the client of the test itself.
        told: what was announced of it, and of others.
        agent: whose output a failed wait shows.
    """

    def __init__(
        self,
        cluster: KubernetesCluster,
        told: Announcements,
        agent: Process,
        *,
        namespace: str = NAMESPACE,
        name: str = NAME,
    ) -> None:
        self.cluster = cluster
        self.told = told
        self.agent = agent
        self.namespace = namespace
        self.name = name

    async def apply(self, *objects: Object) -> None:
        """Create them, however long the API server is too busy to say that it did."""
        for obj in objects:

            async def created(obj: Object = obj) -> bool:
                try:
                    await self.cluster.create(KINDS[obj["kind"]], obj)
                except Unavailable:
                    return False
                except AlreadyExists:
                    pass
                return True

            await until(created, f"{obj['kind']} is created", context=self.agent)

    async def rollout(self) -> Object:
        return await self.cluster.get(KINDS["Rollout"], self.namespace, self.name)

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self.rollout()).get("status") or {}
        return status

    async def weight(self) -> int:
        """The canary's weight on the VirtualService."""
        service = await self.cluster.get(KINDS["VirtualService"], self.namespace, self.name)
        stable, canary = service["spec"]["http"][0]["route"]
        assert stable["weight"] + canary["weight"] == 100, "I8: weights sum to 100"
        weight: int = canary["weight"]
        return weight

    async def held(self) -> bool:
        """Whether alerts hold it."""
        paused = (await self.status()).get("pauseConditions") or ()
        return any(item["reason"] == "AlertHold" for item in paused)

    async def set_image(self, image: str) -> None:
        rollout = await self.rollout()
        template = rollout["spec"]["template"]["spec"]["containers"][0]
        await self.patch(
            {"spec": {"template": {"spec": {"containers": [{**template, "image": image}]}}}}
        )

    async def patch(self, patch: dict[str, Any]) -> None:
        """A merge patch of the Rollout."""
        await self.cluster.merge_patch(KINDS["Rollout"], self.namespace, self.name, patch)

    async def until_phase(self, phase: str, *, deadline_seconds: float = 40.0) -> dict[str, Any]:
        """Wait for the phase on the observed generation; the status then."""

        async def there() -> dict[str, Any] | None:
            rollout = await self.rollout()
            status: dict[str, Any] = rollout.get("status") or {}
            observed = status.get("observedGeneration") == str(rollout["metadata"]["generation"])
            return status if observed and status.get("phase") == phase else None

        found = await until(
            there, f"phase {phase}", deadline_seconds=deadline_seconds, context=self.agent
        )
        assert found is not None
        return found

    async def is_promoted(self) -> bool:
        """Whether the spec's version is stable, Healthy, and the routes are back at weight 0."""
        rollout = await self.rollout()
        status = rollout.get("status") or {}
        # What the route shows is announced with the status that records it.
        weights = (status.get("canary") or {}).get("weights") or {}
        return (
            status.get("observedGeneration") == str(rollout["metadata"]["generation"])
            and status.get("phase") == "Healthy"
            and status.get("stableRS") == status.get("currentPodHash")
            and not (weights.get("canary") or {}).get("weight")
            and await self.weight() == 0
        )

    async def until_promoted(self, *, deadline_seconds: float = 60.0) -> None:
        await until(
            self.is_promoted, "promoted", deadline_seconds=deadline_seconds, context=self.agent
        )

    async def until_weight(self, weight: int, *, deadline_seconds: float = 30.0) -> None:
        async def there() -> bool:
            return await self.weight() == weight

        await until(
            there, f"weight {weight}", deadline_seconds=deadline_seconds, context=self.agent
        )

    async def until_held(self, *, deadline_seconds: float = 20.0) -> None:
        await until(
            self.held, "an alert holds it", deadline_seconds=deadline_seconds, context=self.agent
        )

    async def until_announced(self, *transitions: str, deadline_seconds: float = 20.0) -> None:
        async def there() -> bool:
            return all(self.told.of_type(name, self.name) for name in transitions)

        try:
            await until(
                there,
                f"announced: {transitions}",
                deadline_seconds=deadline_seconds,
                context=self.agent,
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\ntold: {self.told.told_once(self.name)}") from None

    async def until_quiet(self, *, deadline_seconds: float = 20.0) -> None:
        """Wait until the outbox is empty, and all that was in it has arrived."""

        async def there() -> bool:
            conditions = (await self.status()).get("conditions") or ()
            return not any(item["type"] == "SerinusOutbox" for item in conditions)

        await until(
            there, "the outbox is empty", deadline_seconds=deadline_seconds, context=self.agent
        )
        await self.told.until_caught_up()
