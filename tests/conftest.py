"""What all tests need."""

import asyncio

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.e2e.bed.session", "tests.e2e.figures", "tests.e2e.schedule"]

# pytest-asyncio saves "the current event loop" around each test, and Python 3.11 makes one for whoever asks
# first; nobody would close that one, and its ResourceWarning would fail some later, innocent test. Once a
# loop was set, be it None, none is made.
asyncio.set_event_loop(None)

# How fast a machine is, is no property of ours: on a fresh checkout the first text() alone takes seconds.
# Each run draws other examples than the last one: fewer a run are as many a week.
settings.register_profile(
    "serinus", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("serinus")
