"""How `make e2e` shares its tests out: what shares servers stays together, and what takes long comes first.

A plugin. Not xdist's loadgroup: with pytest 9.2 it groups nothing, and does not say so (pytest-xdist issue 1386).
"""

from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # xdist has no types

DIST: Final = "loadscope"
"""The `--dist` that this stands for. Tests of other commands are scheduled as they ask."""
SHARED: Final = ('scope="module"', "brokers.of_module")
TESTS: Final = Path(__file__).parent


def stays_together(module: Path) -> bool:
    """Whether the module has servers of its own, which each worker that gets one of its tests would start."""
    text = module.read_text()
    return any(shared in text for shared in SHARED)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Modules with servers of their own are one unit, of others each test is one."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._whole = {module.name for module in TESTS.glob("test_*.py") if stays_together(module)}

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return path if Path(path).name in self._whole else nodeid


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Ours for `--dist loadscope`."""
    if config.getoption("dist") != DIST:
        return None
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """By the time that each may take, which is the only thing said about it: what is long must not begin last."""

    def seconds(item: pytest.Item) -> float:
        mark = item.get_closest_marker("timeout")
        is_e2e = item.get_closest_marker("e2e") is not None
        return float(mark.args[0]) if is_e2e and mark and mark.args else 0.0

    items.sort(key=seconds, reverse=True)
