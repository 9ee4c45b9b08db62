"""The frame of the test bed: what is kept is whole, what is started ends, what is missing is named."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.bed import tools
from tests.e2e.bed.cache import Artefact, locked
from tests.e2e.bed.errors import BedError
from tests.e2e.bed.guardian import REGISTER, owned_directory, runs
from tests.e2e.bed.identity import Identity, identity, wait_for
from tests.e2e.bed.limits import off_the_clock
from tests.e2e.bed.run import sweep
from tests.e2e.bed.servers import Server, broken, end_registered, running

STRAYS: list[int] = []
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(REGISTER, str(tmp_path / "run"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that does not listen to TERM."""
    made = Server("stubborn", [sys.executable, "-c", STUBBORN], directory=tmp_path)
    yield made
    made.kill()


def is_up(server: Server) -> bool:
    return "up" in server.tail()


def test_what_is_built_is_kept_by_its_sources() -> None:
    builds: list[str] = []

    def made(source: str) -> Artefact:
        def build(directory: Path) -> None:
            builds.append(source)
            (directory / "it").write_text(source)

        return Artefact("thing", [source.encode()], build)

    assert not made("a").built
    for source in ("a", "a", "b", "a"):
        assert (made(source).get() / "it").read_text() == source
    assert builds == ["a", "b"]
    assert made("a").built


def test_sources_that_only_join_alike_are_others() -> None:
    def build(_directory: Path) -> None: ...

    one, two = (Artefact("x", parts, build) for parts in ([b"ab", b"c"], [b"a", b"bc"]))
    assert one.directory != two.directory


def test_a_build_that_failed_or_was_killed_leaves_nothing_that_counts() -> None:
    def fails(directory: Path) -> None:
        (directory / "half").touch()
        raise BedError("no")

    def works(directory: Path) -> None:
        assert not list(directory.iterdir())

    with pytest.raises(BedError):
        Artefact("thing", [b"x"], fails).get()
    assert not Artefact("thing", [b"x"], works).built
    assert Artefact("thing", [b"x"], works).get().is_dir()


def test_two_builders_build_once() -> None:
    entered, go_on = threading.Event(), threading.Event()
    builds: list[int] = []

    def build(directory: Path) -> None:
        builds.append(1)
        entered.set()
        assert go_on.wait(20)

    made = Artefact("thing", [b"x"], build)
    threads = [threading.Thread(target=made.get) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.wait(20)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert builds == [1]


def test_a_lock_is_waited_for_with_a_deadline(tmp_path: Path) -> None:
    again = locked(tmp_path / "a.lock", 0)
    with locked(tmp_path / "a.lock", 1), pytest.raises(BedError, match="was held"), again:
        pass


def test_a_server_is_killed_and_started_again_in_place(server: Server, tmp_path: Path) -> None:
    server.start()
    server.until(lambda: is_up(server), "up", 20)
    assert running(tmp_path / "run") == ["stubborn"]
    server.kill()
    assert not server.running()
    assert running(tmp_path / "run") == []
    server.start()
    assert server.running()
    assert running(tmp_path / "run") == ["stubborn"]


def test_who_does_not_listen_is_made_to_end(server: Server) -> None:
    server.start()
    server.until(lambda: is_up(server), "up", 20)
    server.stop(within_seconds=0.1)
    assert not server.running()


def test_one_that_ends_early_says_why(tmp_path: Path) -> None:
    server = Server("short", [sys.executable, "-c", "print('no port for me')"], directory=tmp_path)
    server.start()
    with pytest.raises(BedError, match=r"(?s)short ended before it was ready.*no port for me"):
        server.until(lambda: False, "ready", 20)
    server.stop()


def test_one_that_is_not_ready_in_time_says_so(server: Server) -> None:
    server.start()
    with pytest.raises(BedError, match="not ready within 0 s"):
        server.until(lambda: False, "ready", 0)


def test_another_process_ends_what_a_dead_one_left(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from tests.e2e.bed.servers import Server;"
        f"s = Server('left', [sys.executable, '-c', {STUBBORN!r}], directory=Path({str(tmp_path)!r}));"
        "s.start(); s.until(lambda: 'up' in s.tail(), 'up', 20); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False, cwd=tools.ROOT, timeout=60)
    assert running(tmp_path / "run") == ["left"]
    assert end_registered(tmp_path / "run", within_seconds=0.1) == ["left"]
    assert end_registered(tmp_path / "run") == []


def test_a_server_that_was_killed_by_somebody_else_is_seen(server: Server, tmp_path: Path) -> None:
    server.start()
    assert broken(tmp_path / "run") == []
    (file,) = (tmp_path / "run" / "servers").iterdir()
    os.kill(int(file.name.rpartition("-")[2]), signal.SIGKILL)
    assert wait_for(lambda: broken(tmp_path / "run") == ["stubborn"], 20)


def killed_owner(*before: str) -> Path:
    """The directory of a run whose owner starts a server and a stray, and is killed -9."""
    script = "; ".join([
        "import os, subprocess, sys; from tests.e2e.bed.guardian import owned_directory",
        "run = owned_directory(); run.mkdir(parents=True); os.environ['SERINUS_BED_DIR'] = str(run)",
        *before,
        "from tests.e2e.bed.servers import Server",
        f"stubborn = [sys.executable, '-c', {STUBBORN!r}]",
        "s = Server('left', stubborn, directory=run); s.start()",
        "s.until(lambda: 'up' in s.tail(), 'up', 20)",
        "stray = subprocess.Popen(stubborn, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)",
        "stray.stdout.readline()",
        "print(run, stray.pid, flush=True); os.kill(os.getpid(), 9)",
    ])  # fmt: skip
    told = subprocess.run(
        [sys.executable, "-c", script], check=False, cwd=tools.ROOT, timeout=60, capture_output=True
    )
    run, stray = told.stdout.decode().split()
    STRAYS.append(int(stray))
    return Path(run)


def test_what_a_killed_owner_left_ends_by_itself_and_nothing_else_does() -> None:
    mine = owned_directory()
    mine.mkdir(parents=True)
    left = killed_owner()
    assert wait_for(lambda: not left.exists(), 30)
    assert is_gone(STRAYS.pop())
    assert list(runs().iterdir()) == [mine]


def test_what_a_killed_owner_and_its_guardian_left_is_swept_up() -> None:
    left = killed_owner("(run / 'guarded').touch()")
    assert running(left) == ["left"]
    assert sweep(within_seconds=0.1) == ["left"]
    assert not left.exists()
    assert is_gone(STRAYS.pop())


def test_a_run_that_belongs_to_nobody_has_no_guardian(server: Server, tmp_path: Path) -> None:
    server.start()
    assert running(tmp_path / "run") == ["stubborn"]
    assert not (tmp_path / "run" / "guarded").exists()


def is_gone(pid: int) -> bool:
    def gone() -> bool:
        found = identity(pid)
        return found is None or not found.alive()

    return wait_for(gone, 20)


def test_a_pid_that_was_given_to_another_process_is_left_alone() -> None:
    mine = identity(os.getpid())
    assert mine is not None
    stranger = Identity(mine.pid, mine.started - 1)
    assert mine.alive()
    assert not stranger.alive()
    stranger.end()
    stranger.kill()


def test_a_missing_program_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BedError, match=r"missing: mvn.*apt-get install maven"):
        tools.program("mvn")
    with pytest.raises(BedError, match=r"missing: prometheus .*apt-get install"):
        tools.installed("prometheus")


@pytest.mark.parametrize("without", ["kafka", "kubernetes, kafka"])
def test_a_part_that_is_left_out_skips_its_tests(
    without: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tools.WITHOUT, without)
    with pytest.raises(pytest.skip.Exception, match="kafka is left out by SERINUS_BED_WITHOUT"):
        tools.include("kafka")
    assert not tools.excluded("prometheus")


def test_a_command_that_fails_or_hangs_says_so() -> None:
    with pytest.raises(BedError, match=r"(?s)ended with 3:.*why"):
        tools.run([sys.executable, "-c", "print('why'); raise SystemExit(3)"], 20)
    with pytest.raises(BedError, match="took longer than 0 s"):
        tools.run([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)


# The limit of a test.


def left() -> float:
    """Seconds that this test has."""
    return signal.getitimer(signal.ITIMER_REAL)[0]


@pytest.mark.timeout(100, method="signal")
def test_a_start_does_not_count_into_the_limit_of_the_test_that_asks_first(
    server: Server,
) -> None:
    before, seen = left(), []

    def ready() -> bool:
        seen.append(left())
        return is_up(server)

    server.start()
    server.until(ready, "up", 20)
    assert set(seen) == {0.0}, "the limit does not run meanwhile"
    assert 0 < left() <= before

    def build(_directory: Path) -> None:
        seen.append(left())
        tools.run([sys.executable, "-c", ""], 20)
        seen.append(left())

    Artefact("limit", [b"a"], build).get()
    assert set(seen) == {0.0}
    assert 0 < left() <= before, "and goes on afterwards"


@pytest.mark.timeout(100, method="signal")
def test_a_start_in_another_thread_does_not_count_either() -> None:
    inside, leave = threading.Event(), threading.Event()

    def start() -> None:
        with off_the_clock():
            inside.set()
            leave.wait(20)

    before = left()
    thread = threading.Thread(target=start)
    thread.start()
    assert inside.wait(20)
    assert left() == 0
    leave.set()
    thread.join()
    assert 0 < left() <= before


@pytest.mark.timeout(100, method="signal")
def test_a_start_that_outlives_its_test_leaves_the_next_one_alone() -> None:
    limit = signal.getsignal(signal.SIGALRM)
    try:
        with off_the_clock():
            # As the next test does.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        assert left() == 0
    finally:
        signal.signal(signal.SIGALRM, limit)
