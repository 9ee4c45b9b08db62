"""Deployments over the real engine: evidence that reaches its rollout, and images that a rollout takes."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from agent.api.names import ALLOW_IMAGES, DEPLOYMENT
from agent.cluster.port import KINDS
from agent.errors import Refused
from agent.events.catalogue import DEPLOYMENT_REQUESTED, DEPLOYMENT_SYNCED
from agent.events.event import Event
from handlers.deployment import INSTANCE_LABEL, TRACKING_ID, DeploymentHandler, translate
from tests.engine.shop import annotations, new_set, shop
from tests.simulation.manifests import KEY
from tests.simulation.virtual import run
from tests.simulation.world import World

TRACKED = "shop-app:argoproj.io/Rollout:shop/web"
SYNC = {
    "application": "shop-app",
    "applicationNamespace": "argocd",
    "phase": "Succeeded",
    "destinationServer": "https://kubernetes.default.svc",
    "destinationNamespace": "shop",
    "gitRevision": "4f0c2d1e",
    "actor": "ann",
    "finishedAt": "2026-05-01T10:00:12Z",
}


class Given:
    """A handler in a shop, and what it counted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counted: list[str] = []
        self.handler = DeploymentHandler(world.engine, counted=self.counted.append)

    def event(self, type_: str, data: dict[str, Any]) -> Event:
        return Event(
            id="d-1",
            source="/argocd",
            type=type_,
            time=self.world.clock.now(),
            data=msgspec.json.encode(data),
        )

    async def synced(self, **changes: Any) -> None:
        await self.handler.synced(self.event(DEPLOYMENT_SYNCED, {**SYNC, **changes}))

    async def requested(self, **changes: Any) -> None:
        data = {"namespace": "shop", "name": "web", "images": {"web": "reg.example/web:9"}}
        await self.handler.requested(self.event(DEPLOYMENT_REQUESTED, {**data, **changes}))
        self.world.checker.remember()

    async def labelled(self, **meta: dict[str, str]) -> None:
        """Labels and annotations of the Rollout, as the cache shows them."""
        await self.world.store.merge_patch(KINDS["Rollout"], *KEY, {"metadata": meta})
        self.world.checker.remember()
        await self.world.clock.sleep(1)

    def kept(self) -> dict[str, Any] | None:
        """The evidence on the Rollout or on its new ReplicaSet."""
        of_set = new_set(self.world)["metadata"].get("annotations") or {}
        text = annotations(self.world).get(DEPLOYMENT) or of_set.get(DEPLOYMENT)
        found: dict[str, Any] | None = msgspec.json.decode(text) if text else None
        return found

    def image(self) -> str:
        spec = self.world.rollout()["spec"]["template"]["spec"]
        return str(spec["containers"][0]["image"])


def in_shop(test: Callable[[Given], Awaitable[None]]) -> None:
    async def main() -> None:
        async with shop() as world:
            await test(Given(world))
            world.checker.violations.clear()  # specs change by the user's own wish here

    run(main())


@pytest.mark.parametrize(
    ("meta", "sync"),
    [
        ({"annotations": {TRACKING_ID: TRACKED}}, {}),
        ({"annotations": {TRACKING_ID: f"argocd_{TRACKED}"}}, {}),
        ({"labels": {INSTANCE_LABEL: "shop-app"}}, {}),
        ({}, {"resources": [{"group": "argoproj.io", "kind": "Rollout", "name": "web"}]}),
        (
            {},
            {
                "destinationNamespace": "",
                "resources": [
                    {"group": "argoproj.io", "kind": "Rollout", "namespace": "shop", "name": "web"}
                ],
            },
        ),
    ],
    ids=[
        "by its tracking id", "by a tracking id with a namespace", "by its instance label",
        "by the sync's resources", "by a resource with its namespace",
    ],
)  # fmt: skip
def test_a_sync_is_kept_with_the_rollouts_of_its_application(
    meta: dict[str, dict[str, str]], sync: dict[str, Any]
) -> None:
    async def test(given: Given) -> None:
        await given.labelled(**meta)
        await given.synced(**sync)
        await given.synced(**sync)
        assert given.counted == ["synced", "synced"]
        kept = given.kept()
        assert kept is not None
        assert (kept["application"], kept["gitRevision"], kept["actor"], kept["syncedAt"]) == (
            "shop-app", "4f0c2d1e", "ann", "2026-05-01T10:00:12Z"
        )  # fmt: skip

    in_shop(test)


@pytest.mark.parametrize(
    ("meta", "sync", "outcome"),
    [
        ({"annotations": {TRACKING_ID: TRACKED}}, {"destinationServer": "https://x"}, "foreign"),
        ({"annotations": {TRACKING_ID: TRACKED}}, {"application": "other"}, "unmatched"),
        ({"annotations": {TRACKING_ID: f"team_{TRACKED}"}}, {}, "unmatched"),
        (
            {"annotations": {TRACKING_ID: "other:x"}, "labels": {INSTANCE_LABEL: "shop-app"}},
            {},
            "unmatched",
        ),
        ({}, {"resources": [{"group": "apps", "kind": "Deployment", "name": "web"}]}, "unmatched"),
        (
            {},
            {"resources": [{"group": "argoproj.io", "kind": "Rollout", "name": "api"}]},
            "unmatched",
        ),
    ],
    ids=[
        "another cluster", "another application", "an application of another namespace",
        "a tracking id counts more than a label", "no rollout", "a rollout that is not here",
    ],
)  # fmt: skip
def test_a_sync_of_something_else_is_counted_and_over(
    meta: dict[str, dict[str, str]], sync: dict[str, Any], outcome: str
) -> None:
    async def test(given: Given) -> None:
        await given.labelled(**meta)
        await given.synced(**sync)
        assert (given.counted, given.kept()) == ([outcome], None)

    in_shop(test)


def test_what_argo_cd_sends_reaches_the_rollout() -> None:
    app = {
        "metadata": {"name": "shop-app", "namespace": "argocd", "uid": "u-1"},
        "spec": {"destination": {"name": "in-cluster", "namespace": "shop"}},
        "status": {
            "operationState": {
                "phase": "Succeeded",
                "startedAt": "2026-05-01T10:00:00Z",
                "operation": {"initiatedBy": {"automated": True}},
                "syncResult": {"revisions": ["a1", "b2"]},
            }
        },
    }

    async def test(given: Given) -> None:
        await given.labelled(annotations={TRACKING_ID: TRACKED})
        (event,) = translate(msgspec.json.encode(app), {}, given.world.clock.now())
        await given.handler.synced(event)
        kept = given.kept()
        assert kept is not None
        assert (kept["gitRevision"], kept["actor"]) == ("a1,b2", "automated")
        assert kept["syncedAt"] == "2026-05-01T10:00:00Z"

    in_shop(test)


ALLOWED = {ALLOW_IMAGES: "reg.example/web:*, reg.example/web@sha256:*"}


def test_images_are_set_where_the_rollout_allows_it() -> None:
    async def test(given: Given) -> None:
        await given.labelled(annotations=ALLOWED)
        await given.requested(expectRevision="2")
        assert given.image() == "reg.example/web:9"
        await given.requested()
        assert given.counted == ["requested-done", "requested-unchanged"]

    in_shop(test)


def test_images_for_a_revision_that_is_gone_are_not_set() -> None:
    async def test(given: Given) -> None:
        await given.labelled(annotations=ALLOWED)
        await given.requested(expectRevision="1")
        assert (given.image(), given.counted) == ("web:2", ["requested-refused"])

    in_shop(test)


@pytest.mark.parametrize(
    ("meta", "changes", "says"),
    [
        ({}, {}, "data.images: shop/web does not take images from events; set its annotation"),
        ({ALLOW_IMAGES: " , "}, {}, "data.images: shop/web does not take"),
        ({ALLOW_IMAGES: "reg.example/api:*"}, {}, "data.images.web: 'reg.example/web:9' matches"),
        ({**ALLOWED, TRACKING_ID: TRACKED}, {}, "data.force: shop/web is tracked by Argo CD"),
        (ALLOWED, {"name": "nobody"}, "data.name: no rollout shop/nobody"),
        (ALLOWED, {"images": ["web"]}, "data.images: "),
        (ALLOWED, {"images": {}}, "data.images: must name at least one container"),
    ],
    ids=[
        "not allowed at all", "an empty annotation", "another image", "tracked by Argo CD",
        "no such rollout", "a list", "nothing",
    ],
)  # fmt: skip
def test_images_that_a_rollout_does_not_take_are_refused_with_the_fix(
    meta: dict[str, str], changes: dict[str, Any], says: str
) -> None:
    async def test(given: Given) -> None:
        await given.labelled(annotations=meta)
        with pytest.raises(Refused) as refused:
            await given.requested(**changes)
        assert str(refused.value).startswith(says)
        assert given.image() == "web:2"

    in_shop(test)


def test_force_sets_images_although_argo_cd_tracks_them() -> None:
    async def test(given: Given) -> None:
        await given.labelled(annotations={**ALLOWED, TRACKING_ID: TRACKED})
        await given.requested(force=True)
        assert given.image() == "reg.example/web:9"

    in_shop(test)
