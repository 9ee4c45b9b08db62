"""Settings of the engine."""

from pathlib import Path

import msgspec

from agent.rollout.types import Policy


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the engine.

    Attributes:
        source: CloudEvents `source` of what is announced.
        topic: topic of outgoing events.
        parallel: passes under way at the same time.
        dump_directory: where dumps of failures go; None writes none.
        shutdown_seconds: how long stopping may take before tasks are cancelled.
        seed: of the jitter; None draws one.
    """

    source: str = "serinus"
    topic: str = "serinus.rollouts"
    policy: Policy = Policy()
    parallel: int = 64
    dump_directory: Path | None = None
    shutdown_seconds: float = 10.0
    seed: int | None = None
