"""What all tests need."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.e2e.bed.session", "tests.e2e.figures", "tests.e2e.schedule"]

# pytest-asyncio saves "the current event loop" around each test, and Python 3.11 makes one for whoever asks
# first; nobody would close that one, and its ResourceWarning would fail some later, innocent test. Once a
# loop was set, be it None, none is made.
asyncio.set_event_loop(None)

# How fast a machine is, is no property of ours: on a fresh checkout the first text() alone takes seconds.
# The examples are the same in each run, so that no change is refused for what another one did: others are drawn by
# `make soak` (--hypothesis-profile soak).
COMMON: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("serinus", max_examples=60, derandomize=True, **COMMON)
settings.register_profile("soak", max_examples=1_000, **COMMON)
settings.load_profile("serinus")
