"""What all tests need."""

import asyncio

# pytest-asyncio saves "the current event loop" around each test, and Python 3.11 makes one for whoever asks
# first; nobody would close that one, and its ResourceWarning would fail some later, innocent test. Once a
# loop was set, be it None, none is made.
asyncio.set_event_loop(None)
