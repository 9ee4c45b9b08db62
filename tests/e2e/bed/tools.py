"""Programs of this machine that the bed needs: found, or named with what to install."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.bed.errors import BedError
from tests.e2e.bed.limits import off_the_clock

INSTALL: Final = {
    "apt-get": "this is not a Debian; install what is named by hand",
    "go": "Go 1.21 or newer from https://go.dev/dl (it fetches the version that go.mod names)",
    "java": "apt-get install default-jre-headless",
    "mvn": "apt-get install maven",
    "openssl": "apt-get install openssl",
    "prometheus": "apt-get install --no-install-recommends prometheus",
    "prometheus-alertmanager": "apt-get install --no-install-recommends prometheus-alertmanager",
}
"""Program and how to get it."""
WITHOUT: Final = "SERINUS_BED_WITHOUT"
APT_SECONDS: Final = 300.0
ROOT: Final = Path(__file__).resolve().parents[3]


def program(name: str) -> str:
    """Path of a program of INSTALL. Raises BedError that says how to install it."""
    found = shutil.which(name)
    if found is None:
        raise BedError(f"missing: {name} ({INSTALL[name]})")
    return found


def installed(name: str) -> str:
    """As `program`, but a missing one is installed from Debian when that is allowed (root)."""
    if shutil.which(name) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        # A missing package list is the usual state of a fresh image.
        lists = Path("/var/lib/apt/lists")
        if not any(lists.glob("*Packages*")):
            run(["apt-get", "update", "-q"], APT_SECONDS)
        run(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", name],
            APT_SECONDS,
            DEBIAN_FRONTEND="noninteractive",
        )
    return program(name)


def run(
    command: list[str | os.PathLike[str]],
    seconds: float,
    *,
    directory: Path | None = None,
    **environment: str,
) -> str:
    """What a command printed. Raises BedError with the end of its output."""
    words = " ".join(str(word) for word in command[:3])
    try:
        with off_the_clock():
            done = subprocess.run(
                command,
                cwd=directory,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise BedError(f"{words} … took longer than {seconds:.0f} s") from None
    if done.returncode:
        raise BedError(f"{words} … ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def excluded(part: str) -> str:
    """Why a part is left out, "" when it is not: SERINUS_BED_WITHOUT names some with commas between."""
    without = os.environ.get(WITHOUT, "")
    named = part in [name.strip() for name in without.split(",")]
    return f"{part} is left out by {WITHOUT}={without}" if named else ""


def include(part: str) -> None:
    """Skips the test that asks for a part which is left out."""
    reason = excluded(part)
    if reason:
        pytest.skip(reason)
