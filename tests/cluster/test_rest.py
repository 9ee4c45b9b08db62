"""The facade's words: what a client of the Kubernetes API reads byte for byte."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import pytest

from agent.clock import SystemClock
from agent.cluster.local.requests import MAX_BODY
from agent.cluster.local.rest import Facade
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.errors import Unavailable
from agent.http_server import serving

TOKEN = "secret"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
ROLLOUTS = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts"
ROUTES = "/apis/networking.istio.io/{}/namespaces/default/virtualservices"
MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture
def store() -> LocalCluster:
    return LocalCluster(SystemClock())


@pytest.fixture
async def client(store: LocalCluster) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Facade(store, token=TOKEN).app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://local", headers=BEARER
    ) as made:
        yield made


def a_config_map(name: str = "a", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "data": {"x": "1"}}


def a_rollout() -> dict[str, Any]:
    return {"metadata": {"name": "r"}, "spec": {"replicas": 2, "selector": {"matchLabels": {}}}}


async def send(
    client: httpx.AsyncClient, method: str, path: str, body: Any = None, media: str = ""
) -> httpx.Response:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body) if body else b""
    headers = {"Content-Type": media} if media else {}
    return await client.request(method, path, content=content, headers=headers)


@pytest.mark.parametrize(
    ("method", "path", "body", "media", "code", "reason"),
    [
        pytest.param("GET", f"{CONFIG_MAPS}/no", None, "", 404, "NotFound", id="no such object"),
        pytest.param("GET", "/api/v1/nope", None, "", 404, "NotFound", id="no such kind"),
        pytest.param("GET", "/nope", None, "", 404, "NotFound", id="no such path"),
        pytest.param("GET", "/apis/none/v1", None, "", 404, "NotFound", id="no such group"),
        pytest.param("GET", "/apis/apps/v9", None, "", 404, "NotFound", id="no such version"),
        pytest.param("GET", f"{CONFIG_MAPS}/a/status", None, "", 404, "NotFound", id="no status"),
        pytest.param("GET", f"{CONFIG_MAPS}/a/scale", None, "", 404, "NotFound", id="no scale"),
        pytest.param("GET", "/api/v1/pods/a", None, "", 404, "NotFound", id="no namespace"),
        pytest.param(
            "GET", "/api/v1/namespaces/x/namespaces/a", None, "", 404, "NotFound", id="no such scope"
        ),
        pytest.param("POST", CONFIG_MAPS, a_config_map(), "", 409, "AlreadyExists", id="taken"),
        pytest.param("POST", CONFIG_MAPS, b"{", "", 400, "BadRequest", id="broken JSON"),
        pytest.param("POST", CONFIG_MAPS, b"[]", "", 400, "BadRequest", id="no object"),
        pytest.param(
            "POST", CONFIG_MAPS, b"k8s\0", "application/vnd.kubernetes.protobuf", 415,
            "UnsupportedMediaType", id="protobuf",
        ),
        pytest.param(
            "POST", CONFIG_MAPS, b" " * (MAX_BODY + 1), "", 413, "RequestEntityTooLarge",
            id="too long",
        ),
        pytest.param(
            "POST", CONFIG_MAPS, a_config_map("A_b"), "", 422, "Invalid", id="a bad name"
        ),
        pytest.param(
            "POST", CONFIG_MAPS, a_config_map("b", namespace="other"), "", 400, "BadRequest",
            id="another namespace than the path's",
        ),
        pytest.param(
            "POST", "/api/v1/configmaps", a_config_map("b"), "", 405, "MethodNotAllowed",
            id="a create outside a namespace",
        ),
        pytest.param("DELETE", CONFIG_MAPS, None, "", 405, "MethodNotAllowed", id="delete of all"),
        pytest.param(
            "PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"resourceVersion": "1"}}, MERGE, 409,
            "Conflict", id="a stale version",
        ),
        pytest.param(
            "PATCH", f"{CONFIG_MAPS}/a", {"x": 1}, "application/json", 415, "UnsupportedMediaType",
            id="a patch without its type",
        ),
        pytest.param(
            "PATCH", f"{ROLLOUTS}/r", {"x": 1}, STRATEGIC, 415, "UnsupportedMediaType",
            id="a strategic patch of a custom resource",
        ),
        pytest.param(
            "PUT", f"{ROLLOUTS}/r", a_rollout(), "", 422, "Invalid",
            id="an update of a custom resource without its version",
        ),
        pytest.param(
            "DELETE", f"{CONFIG_MAPS}/a", {"preconditions": {"uid": "x"}}, "", 409, "Conflict",
            id="a delete of another uid",
        ),
        pytest.param(
            "POST", f"{CONFIG_MAPS}?dryRun=All", a_config_map("b"), "", 400, "BadRequest",
            id="a dry run",
        ),
        pytest.param(
            "GET", f"{CONFIG_MAPS}?labelSelector=a~b", None, "", 400, "BadRequest", id="a bad selector"
        ),
        pytest.param(
            "GET", f"{CONFIG_MAPS}?limit=x", None, "", 400, "BadRequest", id="a bad number"
        ),
        pytest.param(
            "GET", f"{CONFIG_MAPS}?limit=1&continue=zz", None, "", 400, "BadRequest",
            id="a bad continue token",
        ),
    ],
)  # fmt: skip
async def test_what_is_refused_is_a_status_with_its_reason(
    store: LocalCluster,
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: Any,
    media: str,
    code: int,
    reason: str,
) -> None:
    await store.create(KINDS["ConfigMap"], a_config_map())
    await store.create(KINDS["Rollout"], a_rollout())
    version = store.now_version()
    answer = await send(client, method, path, body, media)
    said = answer.json()
    assert (answer.status_code, said["kind"], said["code"]) == (code, "Status", code)
    assert (said["status"], said["reason"]) == ("Failure", reason)
    assert said["message"]
    assert store.now_version() == version


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param({"op": "test", "path": "/data/x", "value": "2"}, id="a failed test"),
        pytest.param({"op": "remove", "path": "/data/none"}, id="a place that is not there"),
    ],
)
async def test_a_json_patch_that_does_not_apply_says_as_little_as_a_real_api_server(
    store: LocalCluster, client: httpx.AsyncClient, operation: dict[str, Any]
) -> None:
    await store.create(KINDS["ConfigMap"], a_config_map())
    answer = (await send(client, "PATCH", f"{CONFIG_MAPS}/a", [operation], PATCH)).json()
    assert (answer["code"], answer["reason"], answer["details"]) == (422, "Invalid", {})
    assert answer["message"] == "the server rejected our request due to an error in our request"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}],
    ids=["no token", "a wrong token", "no bearer"],
)
async def test_nothing_is_told_without_the_token(
    store: LocalCluster, headers: dict[str, str]
) -> None:
    transport = httpx.ASGITransport(Facade(store, token=TOKEN).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
        for path in ("/version", CONFIG_MAPS, "/nope", "/token/wrong/version", "/token/secretx"):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")
        assert (await client.get("/healthz")).text == "ok"
        assert (await client.get("/token/secret/version")).json()["major"] == "1"


async def test_discovery_names_what_there_is(client: httpx.AsyncClient) -> None:
    groups = {group["name"]: group for group in (await client.get("/apis")).json()["groups"]}
    assert [v["version"] for v in groups["networking.istio.io"]["versions"]][:2] == [
        "v1",
        "v1beta1",
    ]
    listed = (await client.get("/apis/argoproj.io/v1alpha1")).json()["resources"]
    names = {resource["name"] for resource in listed}
    assert {"rollouts", "rollouts/status", "rollouts/scale", "analysisruns"} <= names
    assert "analysisruns/status" not in names
    for path in (await client.get("/openapi/v3")).json()["paths"].values():
        document = (await client.get(path["serverRelativeURL"])).json()
        assert document["openapi"] == "3.0.0"


async def test_one_object_is_served_in_every_version_of_istio(client: httpx.AsyncClient) -> None:
    made = await send(
        client, "POST", ROUTES.format("v1alpha3"), {"metadata": {"name": "v"}, "spec": {}}
    )
    assert (made.status_code, made.json()["apiVersion"]) == (201, "networking.istio.io/v1alpha3")
    for version in ("v1", "v1beta1", "v1alpha3"):
        found = (await client.get(f"{ROUTES.format(version)}/v")).json()
        assert found["apiVersion"] == f"networking.istio.io/{version}"
        assert found["metadata"] == made.json()["metadata"]


async def test_pages_of_a_list_belong_to_its_first_version(
    store: LocalCluster, client: httpx.AsyncClient
) -> None:
    for name in ("a", "b", "c"):
        await store.create(KINDS["ConfigMap"], a_config_map(name))
    first = (await client.get(CONFIG_MAPS, params={"limit": 2})).json()
    assert first["metadata"]["remainingItemCount"] == 1
    await store.delete(KINDS["ConfigMap"], "default", "a")
    await store.create(KINDS["ConfigMap"], a_config_map("bb"))
    token = first["metadata"]["continue"]
    rest = (await client.get(CONFIG_MAPS, params={"limit": 2, "continue": token})).json()
    names = [item["metadata"]["name"] for page in (first, rest) for item in page["items"]]
    assert names == ["a", "b", "bb", "c"]
    # A watch from here tells of the deletion that the first page missed.
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert "continue" not in rest["metadata"]


async def test_a_page_of_a_list_that_is_too_old_has_expired() -> None:
    store = LocalCluster(SystemClock(), history=2)
    transport = httpx.ASGITransport(Facade(store, token=TOKEN).app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://local", headers=BEARER
    ) as client:
        for name in ("a", "b"):
            await store.create(KINDS["ConfigMap"], a_config_map(name))
        token = (await client.get(CONFIG_MAPS, params={"limit": 1})).json()["metadata"]["continue"]
        for name in ("c", "d", "e"):
            await store.create(KINDS["ConfigMap"], a_config_map(name))
        answer = await client.get(CONFIG_MAPS, params={"limit": 1, "continue": token})
        assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("method", "body", "media"),
    [
        ("PUT", {"spec": {"replicas": 5}}, ""),
        ("PATCH", {"spec": {"replicas": 5}}, MERGE),
        ("PATCH", [{"op": "replace", "path": "/spec/replicas", "value": 5}], PATCH),
    ],
)
async def test_scale_is_one_number_of_the_object(
    store: LocalCluster, client: httpx.AsyncClient, method: str, body: Any, media: str
) -> None:
    await store.create(KINDS["Rollout"], a_rollout())
    assert (await client.get(f"{ROLLOUTS}/r/scale")).json()["spec"] == {"replicas": 2}
    answer = await send(client, method, f"{ROLLOUTS}/r/scale", body, media)
    assert (answer.json()["kind"], answer.json()["spec"]) == ("Scale", {"replicas": 5})
    found = store.peek("Rollout", "default", "r")
    assert found is not None
    assert found["spec"]["replicas"] == 5
    refused = await send(client, "PUT", f"{ROLLOUTS}/r/scale", {"spec": {"replicas": -1}})
    assert refused.status_code == 422


async def test_when_the_store_cannot_write_the_client_is_told_when_to_come_again(
    store: LocalCluster, client: httpx.AsyncClient
) -> None:
    def fault(*_: str) -> None:
        raise Unavailable("the disk is full", retry_after_seconds=7)

    store.fault = fault
    answer = await send(client, "POST", CONFIG_MAPS, a_config_map())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.json()["reason"] == "ServiceUnavailable"


async def watched(
    client: httpx.AsyncClient, store: LocalCluster, count: int, **params: Any
) -> list[dict[str, Any]]:
    """The first events of a watch, or all until it ends."""
    lines: list[dict[str, Any]] = []
    async with (
        asyncio.timeout(10),
        client.stream("GET", CONFIG_MAPS, params={"watch": "1", **params}) as answer,
    ):
        assert answer.headers["content-type"] == "application/json"
        async for line in answer.aiter_lines():
            lines.append(msgspec.json.decode(line))
            if len(lines) == count:
                break
    return lines


async def test_watches_end_by_themselves_by_the_server_and_by_the_client(
    store: LocalCluster,
) -> None:
    facade = Facade(store, token=TOKEN)
    await store.create(KINDS["ConfigMap"], a_config_map())
    async with (
        serving(facade.app, host="127.0.0.1", port=0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=BEARER) as client,
    ):
        params: dict[str, Any] = {"sendInitialEvents": "true", "allowWatchBookmarks": "true"}
        added, mark = await watched(client, store, 2, **params)
        assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "a")
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        chosen = {"timeoutSeconds": 1, "fieldSelector": "metadata.name=b"}
        assert await watched(client, store, 0, **chosen) == []
        (gone,) = await watched(client, store, 1, resourceVersion="0099")
        assert (gone["type"], gone["object"]["code"]) == ("ERROR", 410)
        # Closed by the client above, the store must not keep their wakers.
        await until(lambda: not store._history._wakers)
        endless = asyncio.create_task(watched(client, store, 0, resourceVersion="2"))
        await until(lambda: bool(store._history._wakers))
        facade.close()
        assert await endless == []


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)
