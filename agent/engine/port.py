"""What the doors (handlers) may ask of the engine: wakes, intents, evidence, and a look at the rollouts."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from agent.api.holds import Hold
from agent.api.meta import Key, Object
from agent.events.catalogue import Cause, Command, Deployment, Expect


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One rollout as the cache shows it, with what matching and policy need.

    Attributes:
        in_progress: current revision differs from stable, not aborted, steps not finished.
        exposed: users can reach the new version now (design section 8: "Exposed").
        created: when the current revision's ReplicaSet was created; None when it has none yet.
        first_exposed: when they first could; None when unknown or never.
        current_hash, stable_hash: pod-template hashes.
        canary_weight: weight of the canary, the highest of live route and recorded one.
        why: what the rollout waits for, from its last decision; "" before the first.
    """

    key: Key
    rollout: Object
    in_progress: bool = False
    exposed: bool = False
    aborted: bool = False
    created: datetime | None = None
    first_exposed: datetime | None = None
    current_hash: str = ""
    stable_hash: str = ""
    revision: str = ""
    canary_weight: int = 0
    why: str = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an intent. `refused` and `unchanged` say why in `message`."""

    result: Literal["done", "unchanged", "refused"]
    message: str = ""


class Engine(Protocol):
    """All calls are bounded in time. Unavailable: the dependency is down, the event must not be acknowledged."""

    def wake(self, key: Key, cause: str) -> None:
        """Look at this rollout soon. Never waits, never fails; unknown keys are ignored."""
        ...

    def wake_due(self) -> None:
        """Sweep: look at everything that is due or quiet for too long, outboxes included."""
        ...

    def views(self, namespace: str | None = None) -> Iterable[View]:
        """Rollouts from the cache (of one namespace, or all)."""
        ...

    def rollouts(self, namespace: str | None = None) -> Iterable[Object]:
        """The same without the looks that a View costs: the Rollouts as they are."""
        ...

    def view(self, key: Key) -> View | None: ...

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """Another object from the cache (Service, ReplicaSet, VirtualService, Deployment…)."""
        ...

    def replica_sets(self, key: Key) -> Iterable[Object]:
        """The ReplicaSets that this rollout controls, from the cache."""
        ...

    async def abort(self, key: Key, cause: Cause, expect: Expect | None = None) -> Outcome:
        """The abort path (urgent). Idempotent; returns once the intent is on the object, or it is not as expected."""
        ...

    async def hold(self, key: Key, hold: Hold, cause: Cause) -> Outcome:
        """Add one alert to the holds of the rollout."""
        ...

    async def release(self, key: Key, fingerprint: str, starts_at: str) -> Outcome:
        """Take one alert off the holds of the rollout."""
        ...

    async def command(
        self,
        key: Key,
        command: Command,
        *,
        expect: Expect | None = None,
        cause: Cause,
        skip: bool = False,
        options: dict[str, Any] | None = None,
    ) -> Outcome:
        """A person's or program's intent, as Argo's own tools would write it, by compare-and-swap.

        `options`: `toRevision` (undo), `restartAt` (restart).
        """
        ...

    async def set_images(
        self, key: Key, images: dict[str, str], *, expect_revision: str, cause: Cause
    ) -> Outcome: ...

    async def note_deployment(self, key: Key, deployment: Deployment) -> Outcome:
        """Keep the evidence of a deployment on the Rollout, then wake it."""
        ...

    async def annotate(
        self, key: Key, annotations: dict[str, str | None], *, revision: bool
    ) -> Outcome:
        """Set our own annotations on the Rollout, or (`revision`) on the current revision's ReplicaSet."""
        ...
