"""Providers of third parties, installed as packages are: the documented example works, and broken ones break nothing."""

import asyncio
import re
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.analysis.providers import third_party
from agent.analysis.providers.port import Asked, Provider
from agent.analysis.providers.registry import plugin_problems, provider_of, providers
from agent.analysis.providers.third_party import load
from agent.api.analysis import Measurement, Metric
from agent.api.decode import read
from agent.clock import SystemClock
from agent.engine.measuring import Measurer
from agent.errors import Refused
from agent.http import Http

DOC = Path(__file__).parents[2] / "docs" / "providers.md"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def example(name: str) -> str:
    """The code block of docs/providers.md that begins with the comment `# <name>`."""
    found = re.search(rf"```\w+\n# {re.escape(name)}\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert found, f"docs/providers.md has no example {name}"
    return found[1]


class Site:
    """A directory on sys.path into which packages are installed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.released = threading.Event()

    def install(self, module: str, code: str, *entries: str) -> None:
        (self.directory / f"{module}.py").write_text(code)
        info = self.directory / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"[{third_party.GROUP}]", *entries]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    made = Site(tmp_path)
    sys.modules["released_by_test"] = made  # type: ignore[assignment]
    yield made
    made.released.set()
    for name in set(sys.modules) - known:
        if name.startswith(("acme", "released")):
            del sys.modules[name]


def asked(name: str, condition: str = "", **settings: Any) -> Asked:
    obj = {"name": "m", "successCondition": condition, "provider": {"plugin": {name: settings}}}
    return Asked(metric=read(Metric, obj), now=NOW)


async def measured(known: dict[str, Provider], question: Asked) -> Measurement:
    """As the driver has it measured."""
    measurer = Measurer(known, SystemClock(), lambda _name, _phase: None)
    return (await measurer.measure({"m": question}))["m"]


async def test_the_example_of_the_documentation_works(site: Site) -> None:
    toml = example("pyproject.toml")
    (entry,) = re.findall(r'^"(acme/[\w-]+)" = "([\w:]+)"$', toml, re.MULTILINE)
    assert f'[project.entry-points."{third_party.GROUP}"]' in toml
    site.install("acme_serinus", example("acme_serinus.py"), f"{entry[0]} = {entry[1]}")
    known = providers(Http(), {})
    assert plugin_problems(known) == {entry[0]: ""}
    manifest = read(Metric, __import__("yaml").safe_load(example("metric"))[0])
    queue = site.directory / "queue.txt"
    config = {**(manifest.provider or {})["plugin"][entry[0]], "path": str(queue)}
    provider_of(manifest, known).check(manifest)
    queue.write_text("12\n")
    condition = manifest.success_condition
    assert (await measured(known, asked(entry[0], condition, **config))).phase == "Successful"
    queue.write_text("5000\n")
    got = await measured(known, asked(entry[0], condition, **config))
    assert (got.phase, got.value) == ("Failed", "5000")
    queue.unlink()
    got = await measured(known, asked(entry[0], condition, **config))
    assert (got.phase, "No such file" in got.message) == ("Error", True)
    with pytest.raises(Refused, match="path"):
        known[entry[0]].check(asked(entry[0]).metric)


BROKEN = {
    "acme/raises": "raise RuntimeError('no licence')",
    "acme/exits": "import sys; sys.exit(3)",
    "acme/hangs": "import released_by_test; released_by_test.released.wait()",
    "acme/empty": "",
    "acme/syntax": "def (",
    "acme/makes": "def Provider():\n    raise ValueError('no settings')",
    "acme/shape": "class Provider:\n    name = 'x'",
}
SAYS = {
    "acme/raises": "RuntimeError: no licence",
    "acme/exits": "SystemExit: 3",
    "acme/hangs": "did not load within 0.5 s",
    "acme/empty": "AttributeError: module 'acme_empty' has no attribute 'Provider'",
    "acme/syntax": "SyntaxError",
    "acme/makes": "ValueError: no settings",
    "acme/shape": "gave no provider: it has no check and measure",
}


async def test_one_that_does_not_load_costs_only_its_own_metrics(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(third_party, "LOAD_SECONDS", 0.5)
    for name, code in BROKEN.items():
        module = name.replace("/", "_")
        site.install(module, code, f"{name} = {module}:Provider")
    site.install("acme_fine", FINE, "acme/fine = acme_fine:Provider", "fine = acme_fine:Provider")
    site.install("acme_twin", FINE, "acme/twin = acme_twin:Provider")
    site.install("acme_twin2", FINE, "acme/twin = acme_twin2:Provider")
    known = providers(Http(), {})
    problems = plugin_problems(known)
    assert set(problems) == {*BROKEN, "acme/fine", "acme/twin", "fine"}
    for name, says in SAYS.items():
        assert says in problems[name], problems[name]
        got = await measured(known, asked(name))
        assert got.phase == "Error"
        assert got.message.startswith(f"provider.plugin[{name}]: cannot be used: ")
    assert "must be named vendor/name" in problems["fine"]
    assert problems["acme/twin"] == "2 installed packages have an entry point of that name"
    assert (await measured(known, asked("acme/fine"))).phase == "Successful"


FINE = """
import asyncio
import time

import released_by_test

from agent.analysis.providers.port import judged
from agent.errors import Refused


class Provider:
    name = "whatever"

    def check(self, metric):
        how = metric.provider["plugin"]["acme/fine"].get("check")
        if how == "refuse":
            raise Refused("no such queue", field="provider.plugin[acme/fine].queue")
        if how == "raise":
            raise KeyError("queue")
        if how == "hang":
            released_by_test.released.wait()

    async def measure(self, asked):
        how = asked.metric.provider["plugin"]["acme/fine"].get("how")
        if how == "raise":
            raise KeyError("queue")
        if how == "refuse":
            raise Refused("no such queue")
        if how == "exit":
            raise SystemExit(1)
        if how == "hang":
            await asyncio.Event().wait()
        if how == "block":
            released_by_test.released.wait()
        if how == "spin":
            while not released_by_test.released.is_set():
                pass
        if how == "deaf":
            while not released_by_test.released.is_set():
                try:
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:
                    pass
        if how == "nothing":
            return None
        if how == "nonsense":
            return {"phase": "Successful"}
        if how == "long":
            return judged(asked, 1.0, "float", "9" * 1_000_000)
        return judged(asked, 1.0, "float", "1")
"""


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", "provider acme/fine failed: KeyError: 'queue'"),
        ("refuse", "no such queue"),
        ("exit", "provider acme/fine failed: SystemExit: 1"),
        ("hang", "provider acme/fine did not answer within 0.3 s"),
        ("block", "provider acme/fine did not answer within 0.3 s"),
        ("spin", "provider acme/fine did not answer within 0.3 s"),
        ("deaf", "provider acme/fine did not answer within 0.3 s"),
        ("nothing", "provider acme/fine answered NoneType, not a measurement"),
        ("nonsense", "provider acme/fine answered dict, not a measurement"),
    ],
)
async def test_one_that_misbehaves_is_an_error_with_its_name_and_the_loop_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: str, says: str
) -> None:
    monkeypatch.setattr(third_party, "MEASURE_SECONDS", 0.3)
    site.install("acme_fine", FINE, "acme/fine = acme_fine:Provider")
    known = providers(Http(), {})
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    beside = asyncio.create_task(others())
    got = await measured(known, asked("acme/fine", how=how))
    beside.cancel()
    assert (got.phase, got.message) == ("Error", says)
    if "within" in says:
        assert turns > 5
    site.released.set()


async def test_one_that_always_hangs_gets_so_many_threads_and_no_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(third_party, "MEASURE_SECONDS", 0.2)
    monkeypatch.setattr(third_party, "MOST_AT_ONCE", 3)
    site.install("acme_fine", FINE, "acme/fine = acme_fine:Provider")
    known = providers(Http(), {})
    before = threading.active_count()
    found = [await measured(known, asked("acme/fine", how="block")) for _ in range(6)]
    assert threading.active_count() <= before + 3
    assert found[-1].message.endswith("within 0.2 s; 3 of its measurements hang")
    site.released.set()
    async with asyncio.timeout(10):
        while (await measured(known, asked("acme/fine"))).phase != "Successful":
            await asyncio.sleep(0.05)


async def test_what_it_answers_is_bounded(site: Site) -> None:
    site.install("acme_fine", FINE, "acme/fine = acme_fine:Provider")
    got = await measured(providers(Http(), {}), asked("acme/fine", how="long"))
    assert got.value.endswith("… (1000000 characters)")
    assert len(got.value) < 5000


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("refuse", "provider.plugin[acme/fine].queue: no such queue"),
        ("raise", "provider acme/fine failed: KeyError: 'queue'"),
        ("hang", "provider acme/fine did not check the metric in 0.3 s"),
    ],
)
def test_its_check_is_bounded_too(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: str, says: str
) -> None:
    site.install("acme_fine", FINE, "acme/fine = acme_fine:Provider")
    (provider,) = load()
    monkeypatch.setattr(third_party, "LOAD_SECONDS", 0.3)
    with pytest.raises(Refused) as error:
        provider.check(asked("acme/fine", check=how).metric)
    assert str(error.value) == says
    site.released.set()


def test_without_any_nothing_is_waited_for() -> None:
    began = time.monotonic()
    assert load([]) == []
    assert time.monotonic() - began < third_party.LOAD_SECONDS
