"""The demo's two acts, on the building blocks beside it."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.api.decode import read
from agent.api.meta import Key, Object
from agent.api.rollout import Step
from agent.api.times import parse_time
from agent.app import Agent, running
from agent.bus.memory import MemoryBus
from agent.bus.topics import ROLLOUTS
from agent.clock import SystemClock
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.local.rest import Facade
from agent.cluster.local.store import LocalCluster
from agent.cluster.local.workloads import Workloads
from agent.cluster.port import KINDS
from agent.demo import manifests
from agent.demo.load import Load, Tally
from agent.demo.manifests import Setup
from agent.demo.mesh import Mesh, Names, mesh_running
from agent.demo.observability import Observability, observing
from agent.demo.telegram_stand_in import Telegram, telegram_running
from agent.demo.translate import Endpoint
from agent.demo.upstream import Upstream
from agent.demo.view import Frame, View, open_view
from agent.engine.port import View as RolloutView
from agent.errors import Unavailable
from agent.http_server import serving
from agent.rollout.steps import describe
from agent.settings import (
    ClusterSettings,
    EngineSettings,
    Settings,
    SinkSettings,
    TelegramSettings,
    TokenSettings,
)

ACT_SECONDS: Final = 120.0
FRAME_SECONDS: Final = 0.2
READY_SECONDS: Final = 0.5
PROXY_SECONDS: Final = 10.0
BOT_TOKEN: Final = "42:demo"  # noqa: S105  # of the stand-in on this machine
BAD_SHARE: Final = 0.9


class Show:
    """The stage: cluster, agent, proxy, application, observability, chat."""

    def __init__(self, directory: Path, *, speed: float, rate: float, plain: bool) -> None:
        self._directory = directory
        self._speed = speed
        self._rate = rate
        self._plain = plain
        self._clock = SystemClock()
        self._setup = Setup()
        self._versions = [Upstream("v1"), Upstream("v2"), Upstream("v3", failing=BAD_SHARE)]
        self._act = "curtain"
        self._said = 0
        self._load: Load | None = None
        self._cluster: KubernetesCluster
        self._agent: Agent
        self._mesh: Mesh
        self._telegram: Telegram
        self._rollout: Object
        self._envoy_host, self._envoy_port = "", 0

    async def run(self) -> int:
        """Set up, play, sum up, take down. 0 when everything went as promised."""
        with open_view(self._clock.monotonic, plain=self._plain) as view:
            async with AsyncExitStack() as stage:
                await self._set_up(stage, view)
                async with asyncio.TaskGroup() as group:
                    frames = group.create_task(self._draw(view), name="view")
                    await self._first_version(view)
                    load = Load(
                        self._envoy_host,
                        self._envoy_port,
                        rate=self._rate,
                        authority=self._setup.name,
                    )
                    self._load = load
                    async with load.generating():
                        await load.until_total(50, within_seconds=PROXY_SECONDS)
                        good = await self._good_version(view)
                        bad = await self._bad_version(view)
                    frames.cancel()
                chat, events = self._telegram.transcript(), self._events()
        return self._sum_up(chat, events, load.tally(), good=good, bad=bad)

    async def _set_up(self, stage: AsyncExitStack, view: View) -> None:
        view.say(f"pauses and intervals of the page are shortened by {self._speed:g}")
        self._cluster = await self._start_cluster(stage)
        for upstream in self._versions:
            await stage.enter_async_context(upstream.running())
        made = manifests.complete(self._setup)
        for obj in (made.service, made.destination_rule, made.virtual_service):
            await self._create(obj)
        names = Names(self._setup.namespace, self._setup.name, self._setup.name)
        application = {
            f"{self._setup.name}:{up.version}": Endpoint(up.host, up.port, up.version)
            for up in self._versions
        }
        self._mesh, envoy = await stage.enter_async_context(
            mesh_running(self._cluster, self._clock, names, application)
        )
        self._envoy_host, self._envoy_port = "127.0.0.1", envoy.port
        self._telegram = await stage.enter_async_context(telegram_running(BOT_TOKEN))
        self._agent = await stage.enter_async_context(running(self._settings()))
        token = (self._directory / "alertmanager-token").read_text()
        url = f"http://127.0.0.1:{self._agent.port}/webhooks/alertmanager"
        observed: Observability = await stage.enter_async_context(
            observing(envoy, self._clock, self._setup, webhook_url=url, token=token)
        )
        view.say(observed.notice)
        template, shortened = manifests.hasten(observed.analysis_template, self._speed)
        await self._create(template)
        self._rollout, more = manifests.hasten(made.rollout, self._speed)
        for change in (*shortened, *more):
            view.say(f"{change.path}: {change.before} -> {change.after}")

    async def _start_cluster(self, stage: AsyncExitStack) -> KubernetesCluster:
        """The local cluster behind its REST API: agent and demo are ordinary clients of it."""
        store = LocalCluster(self._clock)
        workloads = asyncio.create_task(
            Workloads(store, self._clock, ready_seconds=READY_SECONDS).run(), name="workloads"
        )
        stage.push_async_callback(_cancelled, workloads)
        token = secrets.token_urlsafe(16)
        facade = Facade(store, token=token)
        port = await stage.enter_async_context(serving(facade.app, host="127.0.0.1", port=0))
        stage.callback(facade.close)
        write_kubeconfig(self._kubeconfig, server=f"http://127.0.0.1:{port}", token=token)
        cluster = await connect(self._clock, kubeconfig=self._kubeconfig)
        stage.push_async_callback(cluster.aclose)
        return cluster

    @property
    def _kubeconfig(self) -> Path:
        return self._directory / "kubeconfig"

    def _settings(self) -> Settings:
        for name, secret in (
            ("alertmanager-token", secrets.token_urlsafe(16)),
            ("bot-token", BOT_TOKEN),
        ):
            (self._directory / name).write_text(secret)
        tokens = (
            TokenSettings(name="alertmanager", file=str(self._directory / "alertmanager-token")),
        )
        return Settings(
            cluster=ClusterSettings(kubeconfig=str(self._kubeconfig)),
            sink=SinkSettings(port=0, tokens=tokens),
            engine=EngineSettings(drain_seconds=1.0),
            telegram=TelegramSettings(
                chat_id="1",
                token_file=str(self._directory / "bot-token"),
                base_url=self._telegram.base_url,
            ),
        )

    # The acts.

    async def _first_version(self, view: View) -> None:
        self._act = "first version"
        view.say("deploying v1")
        await self._create(self._rollout)
        await self._until(lambda seen: _phase(seen) == "Healthy", "v1 is Healthy")
        await self._mesh.until_weight(0, within_seconds=PROXY_SECONDS)

    async def _good_version(self, view: View) -> bool:
        self._act = "act 1: a good version"
        view.say("act 1: v2 is good; it goes 10 -> 30 -> 50 -> 100")
        before = len(self._mesh.history)
        await self._deploy("v2")
        await self._until(
            lambda seen: _phase(seen) == "Healthy" and seen.stable_hash == seen.current_hash,
            "v2 is Healthy",
        )
        await self._mesh.until_weight(0, within_seconds=PROXY_SECONDS)
        await self._chat_shows("Healthy")
        seen = list(dict.fromkeys(entry.weight for entry in self._mesh.history[before:]))
        view.say(f"v2 is stable; weights in the proxy: {' -> '.join(map(str, seen))}")
        return [weight for weight in seen if weight] == [10, 30, 50, 100]

    async def _bad_version(self, view: View) -> bool:
        self._act = "act 2: a bad version"
        view.say(f"act 2: v3 fails {BAD_SHARE:.0%} of its calls")
        await self._deploy("v3")
        await self._until(lambda seen: seen.canary_weight > 0, "v3 takes traffic")
        await self._until(lambda seen: seen.aborted, "an alert takes v3 off")
        await self._mesh.until_weight(0, within_seconds=PROXY_SECONDS)
        await self._until(lambda seen: _phase(seen) == "Degraded", "the rollout is Degraded")
        await self._wait(lambda: self._found("rolledback") is not None, "the rollback is announced")
        await self._chat_shows("Rollback")
        await self._chat_shows("Degraded")
        view.say("v3 is taken off, v2 serves everybody")
        return True

    async def _deploy(self, version: str) -> None:
        patch = manifests.with_image(self._rollout, f"{self._setup.name}:{version}")
        await self._cluster.merge_patch(
            KINDS["Rollout"], self._setup.namespace, self._setup.name, patch
        )
        stored = await self._cluster.get(KINDS["Rollout"], self._setup.namespace, self._setup.name)
        generation = str(stored["metadata"]["generation"])
        await self._until(
            lambda seen: (seen.rollout.get("status") or {}).get("observedGeneration") == generation,
            f"{version} is seen",
        )

    async def _create(self, obj: Object) -> None:
        await self._cluster.create(KINDS[obj["kind"]], obj)

    async def _until(self, condition: Callable[[RolloutView], bool], what: str) -> None:
        await self._wait(lambda: (seen := self._seen()) is not None and condition(seen), what)

    async def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(ACT_SECONDS):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            seen = self._seen()
            status = (seen.rollout.get("status") or {}) if seen else {}
            shown = f"{status.get('phase')}: {status.get('message')}; {seen.why if seen else ''}"
            raise Unavailable(f"not within {ACT_SECONDS:g} s: {what} ({shown})") from None

    async def _chat_shows(self, words: str) -> None:
        """Wait until the newest messages say so: Telegram takes one call a second."""
        await self._wait(
            lambda: any(words in message.text for message in self._telegram.messages[-2:]),
            f"the chat shows {words}",
        )

    def _seen(self) -> RolloutView | None:
        return self._agent.engine.view(Key(self._setup.namespace, self._setup.name))

    # What is shown.

    async def _draw(self, view: View) -> None:
        while True:
            self._tell_events(view)
            seen = self._seen()
            if seen is not None:
                view.show(self._frame(seen))
            await asyncio.sleep(FRAME_SECONDS)

    def _frame(self, seen: RolloutView) -> Frame:
        tally = self._load.tally() if self._load is not None else Tally({}, {})
        return Frame(
            act=self._act,
            phase=_phase(seen),
            weight=self._mesh.weight,
            why=seen.why,
            step=_step(seen),
            analysis=self._measured(),
            answers={up.version: tally.of_version(up.version) for up in self._versions},
            failed_by_switch=tally.failed_by_switch,
        )

    def _measured(self) -> str:
        """The newest measurement of the newest AnalysisRun."""
        runs = sorted(
            self._agent.cache.list("AnalysisRun", self._setup.namespace),
            key=lambda run: int(run["metadata"]["resourceVersion"]),
        )
        for result in ((runs[-1].get("status") or {}).get("metricResults") or ()) if runs else ():
            for made in reversed(result.get("measurements") or ()):
                count = f"{result.get('count', 0)} measured"
                return f"{result['name']} = {made.get('value', '')}: {made['phase']} ({count})"
        return ""

    def _tell_events(self, view: View) -> None:
        events = self._events()
        for event in events[self._said :]:
            data = event["data"]
            kind = event["type"].split(".")[-2]
            extra = (
                (data.get("cause") or {}).get("summary")
                or (data.get("step") or {}).get("text")
                or ""
            )
            if kind == "weight":
                extra = f"{data['weights'].get('before', 0)} -> {data['weights'].get('after', 0)}"
            view.say(f"event {kind}{': ' if extra else ''}{extra}")
        self._said = len(events)

    def _events(self) -> list[dict[str, Any]]:
        bus = self._agent.bus
        records = bus.kept[ROLLOUTS] if isinstance(bus, MemoryBus) else ()
        return [msgspec.json.decode(record.value or b"{}") for record in records]

    def _found(self, transition: str) -> dict[str, Any] | None:
        wanted = f"dev.serinus.rollout.{transition}.v1"
        return next((event for event in self._events() if event["type"] == wanted), None)

    def _sum_up(
        self, chat: str, events: list[dict[str, Any]], tally: Tally, *, good: bool, bad: bool
    ) -> int:
        rolled_back = next((e for e in events if e["type"].endswith("rolledback.v1")), None)
        timings = ((rolled_back or {}).get("data") or {}).get("timings") or {}
        received = timings.get("receivedAt")
        lines = ["", "the chat:", *(f"  {line}" for line in chat.splitlines()), "", "summary"]
        lines.append(f"  requests sent                       {tally.total}")
        lines.append(f"  failed by the switch                {tally.failed_by_switch}")
        for up in self._versions:
            calls, failed = tally.of_version(up.version)
            lines.append(
                f"  answered by {up.version}                      {calls} ({failed} with 5xx)"
            )
        if received and timings.get("routeWrittenAt"):
            lines.append(
                f"  alert webhook -> weight 0 on route  {_milliseconds(received, timings['routeWrittenAt'])}"
            )
            off = self._taken_off(parse_time(received).timestamp())
            lines.append(f"  alert webhook -> weight 0 in Envoy  {off}")
        kinds: dict[str, int] = {}
        for event in events:
            kind = event["type"].split(".")[-2]
            kinds[kind] = kinds.get(kind, 0) + 1
        shown = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        lines.append(f"  events emitted                      {len(events)} ({shown})")
        kept = good and bad and tally.failed_by_switch == 0 and rolled_back is not None
        lines.append(
            f"  result                              {'as promised' if kept else 'NOT as promised'}"
        )
        print("\n".join(lines))
        return 0 if kept else 1

    def _taken_off(self, received: float) -> str:
        for entry in self._mesh.history:
            at = entry.at.timestamp()
            if entry.weight == 0 and at > received:
                return f"{(at - received) * 1000:.1f} ms"
        return "not seen"


def _step(seen: RolloutView) -> str:
    """`2/7 pause: 6s` for the second of seven."""
    steps = seen.rollout["spec"]["strategy"]["canary"].get("steps") or ()
    index = (seen.rollout.get("status") or {}).get("currentStepIndex")
    if not seen.in_progress or index is None or index >= len(steps):
        return ""
    return f"{index + 1}/{len(steps)} {describe(read(Step, steps[index]))}"


def _phase(seen: RolloutView) -> str:
    return str((seen.rollout.get("status") or {}).get("phase", ""))


def _milliseconds(start: str, end: str) -> str:
    return f"{(parse_time(end) - parse_time(start)).total_seconds() * 1000:.0f} ms"


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
