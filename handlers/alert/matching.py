"""Which rollouts an alert is about (design: matching levels). Pure.

The first level with a hit wins:

1. the label `rollout` (`name`, or `namespace/name`),
2. the rollout's own annotation `serinus.dev/abort-on`, in Alertmanager's matcher syntax,
3. labels that name a Service, host or workload of the rollout.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from agent.api.meta import Key
from agent.api.names import POD_TEMPLATE_HASH
from handlers.alert.matchers import Matcher

Level = Literal["rollout", "annotation", "label"]

NAMESPACE_LABELS: Final = (
    "namespace",
    "kubernetes_namespace",
    "exported_namespace",
    "destination_service_namespace",
    "destination_workload_namespace",
)
SERVICE_LABELS: Final = (
    "destination_service_name",
    "destination_service",
    "service",
    "service_name",
    "destination_canonical_service",
    "host",
)
WORKLOAD_LABELS: Final = ("destination_workload", "workload", "deployment", "workload_name")
# kube-prometheus-stack sets `pod`, which pins the revision too: its name starts with the ReplicaSet's.
REPLICA_SET_LABELS: Final = ("replicaset", "pod")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How alerts find rollouts.

    Attributes:
        namespace_labels: label keys that may name the namespace; the first one present counts.
        default_namespace: for alerts without any of them; "" means that only `rollout: ns/name` matches.
        extra_labels: further keys compared with names of Services and workloads, such as `app` or `job`.
    """

    namespace_labels: tuple[str, ...] = NAMESPACE_LABELS
    default_namespace: str = ""
    extra_labels: tuple[str, ...] = ()


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollout is known by.

    Attributes:
        services: names of its Services (short) and hosts of its routes (short where they are Services).
        workloads: its own name and that of its workloadRef.
        replica_sets: ReplicaSet name to pod-template hash.
        abort_on: matchers of the annotation; None when there is none (or it cannot be parsed).
    """

    key: Key
    services: frozenset[str] = frozenset()
    workloads: frozenset[str] = frozenset()
    replica_sets: Mapping[str, str] = {}
    abort_on: tuple[Matcher, ...] | None = None


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Rollouts an alert is about, in the order of the candidates; no keys: none.

    Attributes:
        pinned_hash: the alert is about this revision only; "" is any.
        why: the labels or the annotation that matched.
    """

    keys: tuple[Key, ...] = ()
    level: Level = "label"
    pinned_hash: str = ""
    why: str = ""


def match(labels: Mapping[str, str], candidates: Iterable[Candidate], rules: Rules) -> Match:
    """The rollouts that an alert with these labels is about."""
    pinned = labels.get(POD_TEMPLATE_HASH) or labels.get(POD_TEMPLATE_HASH.replace("-", "_"), "")
    named = labels.get("rollout", "")
    pool = tuple(candidates)
    if "/" in named:
        namespace, _, name = named.partition("/")
        keys = tuple(c.key for c in pool if c.key == Key(namespace, name))
        return Match(keys=keys, level="rollout", pinned_hash=pinned, why=f'rollout="{named}"')
    namespace = namespace_of(labels, rules)
    if not namespace:
        return Match()
    pool = tuple(c for c in pool if c.key.namespace == namespace)
    if named:
        keys = tuple(c.key for c in pool if c.key.name == named)
        if keys:
            return Match(keys=keys, level="rollout", pinned_hash=pinned, why=f'rollout="{named}"')
    keys = tuple(c.key for c in pool if c.abort_on and all(m.accepts(labels) for m in c.abort_on))
    if keys:
        return Match(keys=keys, level="annotation", pinned_hash=pinned, why="serinus.dev/abort-on")
    return _by_labels(labels, pool, namespace, rules, pinned)


def namespace_of(labels: Mapping[str, str], rules: Rules) -> str:
    """The namespace that an alert is about, "" when it does not tell."""
    return next(
        (labels[k] for k in rules.namespace_labels if labels.get(k)), rules.default_namespace
    )


def _by_labels(
    labels: Mapping[str, str],
    pool: tuple[Candidate, ...],
    namespace: str,
    rules: Rules,
    pinned: str,
) -> Match:
    keys: list[Key] = []
    reasons: list[str] = []
    for candidate in pool:
        hit = _hit(labels, candidate, namespace, rules)
        if hit:
            keys.append(candidate.key)
            label, revision = hit
            reasons.append(f'{label}="{labels[label]}"')
            pinned = pinned or revision
    return Match(
        keys=tuple(keys),
        level="label",
        # A revision read off a ReplicaSet's name belongs to one rollout; with several it says nothing.
        pinned_hash=pinned if len(keys) <= 1 else "",
        why=", ".join(dict.fromkeys(reasons)),
    )


def _hit(
    labels: Mapping[str, str], candidate: Candidate, namespace: str, rules: Rules
) -> tuple[str, str] | None:
    """The label that names this rollout, and the pod-template hash it implies ("" for any)."""
    for label in (*SERVICE_LABELS, *rules.extra_labels):
        value = labels.get(label, "")
        host = value.partition(":")[0]
        if host and (short_host(host, namespace) or host) in candidate.services:
            return label, ""
    for label in (*WORKLOAD_LABELS, *rules.extra_labels):
        if labels.get(label) in candidate.workloads:
            return label, ""
    for label in REPLICA_SET_LABELS:
        value = labels.get(label, "")
        for name, revision in candidate.replica_sets.items():
            if value == name or (label == "pod" and value.startswith(f"{name}-")):
                return label, revision
    return None


def short_host(host: str, namespace: str) -> str:
    """`reviews` for `reviews`, `reviews.shop`, `reviews.shop.svc.cluster.local` (in namespace shop), else ""."""
    name, _, rest = host.partition(".")
    if not rest or rest == namespace or rest.startswith(f"{namespace}.svc"):
        return name
    return ""
