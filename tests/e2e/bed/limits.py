"""The time limit of a test, which does not run while servers are fetched, built or started for it.

Whoever asks first pays for everybody, and how long that takes is no property of the test. Each of those steps
has a deadline of its own.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def off_the_clock() -> Iterator[None]:
    """Stop the timer of the test that runs (pytest-timeout's, if there is one) for the time of the block.

    May be nested, and entered by other threads than the test's.
    """
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    whose = signal.getsignal(signal.SIGALRM)
    try:
        yield
    finally:
        # A thread may outlive its test: the next one's timer, or none at all, is not to be touched.
        if left and signal.getsignal(signal.SIGALRM) is whose:
            signal.setitimer(signal.ITIMER_REAL, left)
