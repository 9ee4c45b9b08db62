"""Our event types and their data: the vocabulary on the bus. PURE.

Schemas (`serinus events schema`) and documentation are generated from these types.
"""

from typing import Any, Final, Literal

from agent.api.meta import Struct

PREFIX: Final = "dev.serinus"


class Deployment(Struct):
    """Evidence of a deployment: which sync brought a revision. Times are RFC 3339."""

    application: str = ""
    git_revision: str = ""
    actor: str = ""
    images: list[str] | None = None
    synced_at: str | None = None


class Cause(Struct):
    """Why something was done to a rollout, with its evidence.

    Attributes:
        kind: what decided.
        summary: one sentence for people, e.g. `alert HighErrorRate (critical): 5xx above 5 %`.
        evidence: alert labels and annotations, metric values, the verdict's numbers; bounded to 2 KiB.
        actor: who (a person, an application), "" when nobody.
        event_id: id of the event that caused it.
        started_at: when the cause itself happened (an alert's startsAt).
        received_at: when it reached us.
    """

    kind: Literal[
        "alert", "analysis", "command", "deadline", "deployment", "foreign", "step", "spec"
    ]
    summary: str = ""
    evidence: dict[str, Any] | None = None
    actor: str = ""
    event_id: str = ""
    started_at: str | None = None
    received_at: str | None = None


class Timings(Struct):
    """When things happened, RFC 3339 with milliseconds: startsAt -> received -> decided -> route written."""

    cause_started_at: str | None = None
    received_at: str | None = None
    decided_at: str | None = None
    route_written_at: str | None = None


class Weights(Struct):
    """Canary weight in percent before and after."""

    before: int = 0
    after: int = 0


class RevisionInfo(Struct):
    """One side of the rollout: revision number (text), pod-template hash, images, its deployment."""

    revision: str = ""
    hash: str = ""
    images: list[str] | None = None
    deployment: Deployment | None = None


class StepInfo(Struct):
    """Step `index` of `count`, zero-based; `text` describes it as Argo's clients do."""

    index: int = 0
    count: int = 0
    text: str = ""


class RolloutEvent(Struct):
    """Data of every `dev.serinus.rollout.*.v1` event. Absent members do not apply to the type."""

    namespace: str
    name: str
    uid: str = ""
    phase: str = ""
    message: str = ""
    new: RevisionInfo | None = None
    old: RevisionInfo | None = None
    step: StepInfo | None = None
    weights: Weights | None = None
    cause: Cause | None = None
    timings: Timings | None = None


ROLLOUT_TRANSITIONS: Final = (
    "started", "step", "weight", "paused", "resumed", "analysis", "promoted", "completed", "aborted",
    "rolledback", "held", "released", "degraded", "invalid", "drifted", "unheeded",
)  # fmt: skip

Transition = Literal[
    "started", "step", "weight", "paused", "resumed", "analysis", "promoted", "completed", "aborted",
    "rolledback", "held", "released", "degraded", "invalid", "drifted", "unheeded",
]  # fmt: skip


def rollout_event_type(transition: Transition) -> str:
    """`dev.serinus.rollout.<transition>.v1`."""
    return f"{PREFIX}.rollout.{transition}.v1"


AGENT_MODE: Final = f"{PREFIX}.agent.mode.v1"


class AgentMode(Struct):
    """Data of `dev.serinus.agent.mode.v1`: what one process does from `since` (RFC 3339, milliseconds) on.

    Attributes:
        mode: `drive`, or `companion` because another engine lives.
        reason: what shows that it does (or ceased to).
        instance: the process: its pod's name, or its host's.
    """

    mode: Literal["drive", "companion"]
    reason: str = ""
    instance: str = ""
    since: str = ""


ALERT_FIRING: Final = f"{PREFIX}.alert.firing.v1"
ALERT_RESOLVED: Final = f"{PREFIX}.alert.resolved.v1"
DEPLOYMENT_SYNCED: Final = f"{PREFIX}.deployment.synced.v1"
DEPLOYMENT_REQUESTED: Final = f"{PREFIX}.deployment.requested.v1"
COMMANDS: Final = (
    "promote",
    "promote-full",
    "abort",
    "retry",
    "pause",
    "resume",
    "restart",
    "undo",
)
Command = Literal["promote", "promote-full", "abort", "retry", "pause", "resume", "restart", "undo"]


def command_type(command: Command) -> str:
    """`dev.serinus.command.<command>.v1`."""
    return f"{PREFIX}.command.{command}.v1"


class Alert(Struct):
    """Data of `dev.serinus.alert.{firing,resolved}.v1`: one alert of an Alertmanager webhook."""

    fingerprint: str
    starts_at: str
    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    ends_at: str | None = None
    generator_url: str = ""
    receiver: str = ""
    external_url: str = ""
    group_key: str = ""


class SyncedResource(Struct):
    group: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""


class DeploymentSynced(Struct):
    """Data of `dev.serinus.deployment.synced.v1`: what an Argo CD sync operation did."""

    application: str
    application_namespace: str = ""
    phase: str = ""
    destination_server: str = ""
    destination_name: str = ""
    destination_namespace: str = ""
    git_revision: str = ""
    images: list[str] | None = None
    actor: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    resources: list[SyncedResource] | None = None


class DeploymentRequested(Struct):
    """Data of `dev.serinus.deployment.requested.v1`: set images (container name to image) of a rollout."""

    namespace: str
    name: str
    images: dict[str, str]
    actor: str = ""
    expect_revision: str = ""
    force: bool = False


class Expect(Struct):
    """What the sender of a command saw; checked in the same compare-and-swap."""

    revision: str = ""
    step_index: int | None = None
    pause_start_time: str = ""


class CommandRequest(Struct):
    """Data of `dev.serinus.command.*.v1`."""

    namespace: str
    name: str
    actor: str = ""
    expect: Expect | None = None
    skip: bool = False
    """Only for promote: skip a step that is not a pause."""
    to_revision: str = ""
    """Only for undo; "" is the previous revision."""
    restart_at: str | None = None
    reason: str = ""
