"""An API server on loopback that answers by a script."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent.clock import Clock, SystemClock
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.http_server import serving

Answer = Callable[[Request], Awaitable[Response]]
OBJECT = {"metadata": {"name": "a", "resourceVersion": "5"}}


def answer(code: int = 200, body: Any = None, **headers: str) -> Answer:
    async def give(_request: Request) -> Response:
        return JSONResponse(OBJECT if body is None else body, code, headers=headers)

    return give


async def silence(request: Request) -> Response:
    """No answer while the client waits for one."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()


class Server:
    """Gives scripted answers in order (the last one again and again) to all but discovery.

    Attributes:
        reached: the answer to who asks whether it is as far as a version.
    """

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.seen: list[Request] = []
        self.bodies: list[bytes] = []
        self.token = "t"
        self.reached = answer(200, {"items": []})

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if scope["path"].endswith("/api/v1"):
            resources = [{"name": "configmaps"}, {"name": "pods"}]
            await JSONResponse({"resources": resources})(scope, receive, send)
            return
        if "resourceVersionMatch" in request.query_params:
            await (await self.reached(request))(scope, receive, send)
            return
        self.bodies.append(await request.body())
        self.seen.append(request)
        give = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        await (await give(request))(scope, receive, send)

    @property
    def ports(self) -> list[int]:
        """The client's port of each request: one a connection."""
        return [request.client.port for request in self.seen if request.client]

    @asynccontextmanager
    async def connected(
        self, path: Path, clock: Clock | None = None
    ) -> AsyncIterator[KubernetesCluster]:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

        async with serving(app, host="127.0.0.1", port=0) as port:
            write_kubeconfig(path / "k", server=f"http://127.0.0.1:{port}", token="t")
            cluster = await connect(clock or SystemClock(), kubeconfig=path / "k")
            try:
                yield cluster
            finally:
                await cluster.aclose()
