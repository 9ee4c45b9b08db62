"""Processes of the demo end when they should, and say why when they should not."""

import sys
from pathlib import Path

import pytest

from agent.demo import processes
from agent.demo.processes import running
from agent.errors import Unavailable


async def never() -> bool:
    return False


async def test_an_early_end_is_told_with_the_last_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"]
    async with running("X", command, log=tmp_path / "x.log") as child:
        with pytest.raises(Unavailable, match="X ended with 3: no such port"):
            await child.until("not ready", never, within_seconds=10)


async def test_what_does_not_become_ready_is_told_in_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    async with running("X", command, log=tmp_path / "x.log") as child:
        with pytest.raises(Unavailable, match=r"X: not ready after 0\.05 s"):
            await child.until("not ready", never, within_seconds=0.05)
    assert child.process.returncode is not None


async def test_a_process_that_does_not_listen_is_made_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.1)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    async with running("X", [sys.executable, "-c", code], log=tmp_path / "x.log") as child:

        async def up() -> bool:
            return child.last_line() == "up"

        await child.until("not up", up, within_seconds=10)
    assert child.process.returncode == -9
