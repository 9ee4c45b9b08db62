"""The bed of one run of pytest: shared by all its workers, begun when a test asks, ended with the run.

A plugin; with SERINUS_BED_DIR set (`make bed` prints it), the tests use that bed and leave it running.
"""

import os
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.bed.guardian import REGISTER, owned_directory
from tests.e2e.bed.run import Run, sweep

OWN: Final = pytest.StashKey[Run]()


def pytest_configure(config: pytest.Config) -> None:
    """Workers inherit the directory from the process that starts them."""
    if REGISTER not in os.environ:
        sweep()
        run = config.stash[OWN] = Run(owned_directory())
        os.environ[REGISTER] = str(run.directory)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Also after Ctrl-C; what a killed run leaves, its guardian ends."""
    run = config.stash.get(OWN, None)
    if run is not None:
        run.end()
        del os.environ[REGISTER]


@pytest.fixture(scope="session")
def bed() -> Run:
    """The shared parts: `bed.part("kafka")["bootstrap"]`."""
    return Run(Path(os.environ[REGISTER]))
