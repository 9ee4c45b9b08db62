"""Labels, annotations, condition types and reasons: the contract with Argo's tools, and our own names."""

from typing import Final

GROUP: Final = "argoproj.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# Argo Rollouts' names (reference: its utils/defaults, pkg/apis/rollouts/v1alpha1).
POD_TEMPLATE_HASH: Final = "rollouts-pod-template-hash"
REVISION: Final = "rollout.argoproj.io/revision"
DESIRED_REPLICAS: Final = "rollout.argoproj.io/desired-replicas"
WORKLOAD_GENERATION: Final = "rollout.argoproj.io/workload-generation"
EPHEMERAL_METADATA: Final = "rollout.argoproj.io/ephemeral-metadata"
SCALE_DOWN_DEADLINE: Final = "scale-down-deadline"
MANAGED_BY: Final = "argo-rollouts.argoproj.io/managed-by-rollouts"
INSTANCE_ID: Final = "argo-rollouts.argoproj.io/controller-instance-id"
ROLLOUT_TYPE: Final = "rollout-type"
STEP_INDEX: Final = "step-index"

# Condition types of a Rollout.
INVALID_SPEC: Final = "InvalidSpec"
AVAILABLE: Final = "Available"
PROGRESSING: Final = "Progressing"
REPLICA_FAILURE: Final = "ReplicaFailure"
PAUSED: Final = "Paused"
COMPLETED: Final = "Completed"
HEALTHY: Final = "Healthy"

# Pause reasons.
PAUSE_STEP: Final = "CanaryPauseStep"
PAUSE_BLUE_GREEN: Final = "BlueGreenPause"
PAUSE_INCONCLUSIVE_ANALYSIS: Final = "InconclusiveAnalysisRun"
PAUSE_INCONCLUSIVE_EXPERIMENT: Final = "InconclusiveExperiment"

# Ours. Argo's CRD prunes unknown status fields, so what we add travels where its schema allows.
PREFIX: Final = "serinus.dev"
OUTBOX_CONDITION: Final = "SerinusOutbox"
"""Exists only while announcements wait; compact JSON in `message` (docs/architecture.md, "Outbox")."""
PAUSE_HOLD: Final = "AlertHold"
"""Pause condition that lasts while alerts hold the rollout (annotation HOLDS)."""
HOLDS: Final = f"{PREFIX}/holds"
"""On the Rollout: JSON list of agent.api.holds.Hold."""
ON_ALERT: Final = f"{PREFIX}/on-alert"
ABORT_ON: Final = f"{PREFIX}/abort-on"
ALLOW_IMAGES: Final = f"{PREFIX}/allow-images"
DEPLOYMENT: Final = f"{PREFIX}/deployment"
"""On the Rollout until its ReplicaSet exists, then on the ReplicaSet: JSON of catalogue.Deployment."""
FIRST_EXPOSED: Final = f"{PREFIX}/first-exposed"
"""On the revision's ReplicaSet, RFC 3339 with milliseconds; written before the first raise."""
TELEGRAM_MESSAGE: Final = f"{PREFIX}/telegram-message"
COMPAT: Final = f"{PREFIX}/compat"
FREEZE: Final = f"{PREFIX}/freeze"
CONCLUDED: Final = f"{PREFIX}/concluded"
"""On the aborted revision's ReplicaSet: JSON of the cause, kept as evidence after the outbox is empty."""
