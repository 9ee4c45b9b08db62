"""The sections of the settings: every field with its default and, beside it, its meaning."""

from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    dataclass_transform,
    get_args,
    get_origin,
)

import msgspec

DOORS: Final = ("cloudevents", "alertmanager", "argocd", "metrics")
Doc = msgspec.Meta


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections: unknown fields are errors, a typo must not be a default."""


class ClusterSettings(Section):
    kubeconfig: Annotated[
        str, Doc(description="path of a kubeconfig; empty: the pod's service account")
    ] = ""
    context: Annotated[
        str, Doc(description="context of the kubeconfig; empty: the current one")
    ] = ""
    namespaces: Annotated[tuple[str, ...], Doc(description="namespaces to drive; empty: all")] = ()


class TokenSettings(Section):
    name: Annotated[str, Doc(description="who uses it, for logs")]
    file: Annotated[str, Doc(description="file with the token")] = ""
    env: Annotated[str, Doc(description="environment variable with the token")] = ""
    doors: Annotated[
        tuple[str, ...],
        Doc(description="doors it opens: cloudevents, alertmanager, argocd, metrics, or * for all"),
    ] = ("*",)


class SinkSettings(Section):
    host: Annotated[str, Doc(description="address to listen on; without tokens only loopback")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Doc(description="port to listen on; 0: a free one", ge=0, le=65535)] = 8080
    tokens: Annotated[tuple[TokenSettings, ...], Doc(description="who may enter")] = ()
    max_body_bytes: Annotated[int, Doc(description="longest body that is read", ge=1024)] = (
        1024 * 1024
    )


class BusSettings(Section):
    kind: Annotated[
        Literal["memory", "kafka"],
        Doc(
            description="memory: one replica drives, events are durable on the objects; kafka: replicas share the work"
        ),
    ] = "memory"
    brokers: Annotated[
        tuple[str, ...], Doc(description="host:port of one or more Kafka brokers to begin with")
    ] = ()
    prefix: Annotated[
        str, Doc(description="topics are <prefix>.inbox, .urgent and .rollouts, and .dlq of each")
    ] = "serinus"
    group: Annotated[
        str,
        Doc(description="consumer groups are <group>.inbox and <group>.urgent; one for a cluster"),
    ] = "serinus"
    client_id: Annotated[str, Doc(description="how brokers name us in logs and quotas")] = "serinus"
    create_topics: Annotated[
        bool, Doc(description="create missing topics at the start; else: `serinus kafka init`")
    ] = False
    partitions: Annotated[
        int,
        Doc(
            description="partitions of a topic that is created: most replicas that can share work",
            ge=1,
        ),
    ] = 12
    replication_factor: Annotated[
        int, Doc(description="replicas of a topic that is created; -1: the brokers' default", ge=-1)
    ] = -1
    publish_seconds: Annotated[
        float, Doc(description="deadline for a record to be acknowledged", gt=0, le=60)
    ] = 5.0
    session_timeout_seconds: Annotated[
        float, Doc(description="a replica that is silent for so long loses its rollouts", ge=1)
    ] = 6.0
    heartbeat_seconds: Annotated[
        float, Doc(description="how often a replica says that it lives", gt=0)
    ] = 0.5
    static_member: Annotated[
        bool,
        Doc(
            description="keep the partitions over a restart of a StatefulSet's pod (POD_NAME must be set)"
        ),
    ] = False
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
        Doc(description="what the brokers' listener speaks"),
    ] = "PLAINTEXT"
    mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Doc(description="SASL mechanism")
    ] = "SCRAM-SHA-512"
    username: Annotated[str, Doc(description="SASL user")] = ""
    password_file: Annotated[str, Doc(description="file with the password of this user")] = ""
    password_env: Annotated[str, Doc(description="environment variable with the password")] = ""
    ca_file: Annotated[
        str, Doc(description="PEM of the authorities that are trusted; empty: the system's")
    ] = ""
    cert_file: Annotated[str, Doc(description="PEM of our certificate, for mutual TLS")] = ""
    key_file: Annotated[str, Doc(description="PEM of the certificate's private key")] = ""
    key_password_file: Annotated[
        str, Doc(description="file with the pass phrase of this key, if it has one")
    ] = ""


class OwnershipSettings(Section):
    kind: Annotated[
        Literal["auto", "lease", "none"],
        Doc(
            description="who drives; auto: Kafka's partitions, else a lease, but none on a local cluster; lease: one elected replica drives all; none: this process does"
        ),
    ] = "auto"
    name: Annotated[str, Doc(description="name of the Lease; one for a cluster")] = "serinus"
    namespace: Annotated[
        str,
        Doc(
            description="namespace of the Lease; empty: POD_NAMESPACE, else the service account's, else default"
        ),
    ] = ""
    duration_seconds: Annotated[
        int,
        Doc(description="another replica takes over when the owner was silent for so long", ge=1),
    ] = 15
    renew_seconds: Annotated[
        float, Doc(description="the owner stops driving when it could not renew for so long", gt=0)
    ] = 10.0
    retry_seconds: Annotated[
        float, Doc(description="how often the owner renews, and others look", gt=0)
    ] = 2.0


class EngineSettings(Section):
    mode: Annotated[
        Literal["drive", "companion"],
        Doc(
            description="drive: move the rollouts, as long as no Argo Rollouts controller lives; companion: leave that to it"
        ),
    ] = "drive"
    argo_leases: Annotated[
        tuple[str, ...],
        Doc(
            description="Leases that a living Argo Rollouts controller holds, each name or namespace/name; empty: only its writes show it"
        ),
    ] = ("argo-rollouts-controller-lock",)
    argo_quiet_seconds: Annotated[
        float,
        Doc(description="how long after its last sign such a controller counts as living", ge=5),
    ] = 60.0
    marks_namespace: Annotated[
        str,
        Doc(description="namespace of ConfigMap serinus-marks: what a companion has announced"),
    ] = "default"
    source: Annotated[str, Doc(description="CloudEvents source of our events")] = "serinus"
    drain_seconds: Annotated[
        float,
        Doc(description="how long pods and names stay after the last weight was read back", ge=0),
    ] = 3.0
    correction_seconds: Annotated[
        float,
        Doc(
            description="a weight that somebody else lowered is raised again at most this often; lowering is never delayed",
            ge=0,
        ),
    ] = 30.0
    listener_seconds: Annotated[
        float,
        Doc(
            description="distance of two raises where each replaces listeners of the proxies (waypoints); lowering is never delayed",
            ge=0,
        ),
    ] = 1.0
    route_status: Annotated[
        Literal["required", "ignored"],
        Doc(
            description="required: nothing is raised until a Gateway API route's status confirms what was written; ignored: being written is enough"
        ),
    ] = "required"
    hold_timeout_seconds: Annotated[
        float, Doc(description="after this a hold waits for a person", gt=0)
    ] = 1800.0
    compat: Annotated[
        Literal["safe", "argo"],
        Doc(
            description="argo: verdicts exactly as Argo's; safe: missing data is never success, failed beats inconclusive"
        ),
    ] = "safe"
    missing_data: Annotated[
        Literal["error", "inconclusive", "ignore"],
        Doc(
            description="what a measurement without data is when compat is safe; ignore: it does not count, and is made again"
        ),
    ] = "error"
    frozen: Annotated[bool, Doc(description="nothing is raised; rollback works")] = False
    shutdown_seconds: Annotated[
        float, Doc(description="how long an orderly stop may take", gt=0)
    ] = 10.0
    dump_directory: Annotated[
        str, Doc(description="where dumps of failures go; empty: none are written")
    ] = ""


class AlertSettings(Section):
    namespace_labels: Annotated[
        tuple[str, ...], Doc(description="labels that may name the namespace, in order")
    ] = (
        "namespace",
        "kubernetes_namespace",
        "exported_namespace",
        "destination_service_namespace",
        "destination_workload_namespace",
    )
    default_namespace: Annotated[
        str, Doc(description="namespace of alerts without such a label; empty: none")
    ] = ""
    extra_labels: Annotated[
        tuple[str, ...],
        Doc(description="further labels that name a Service or workload, such as app or job"),
    ] = ()
    slack_seconds: Annotated[
        float,
        Doc(
            description="an alert this long before first exposure still counts against the new version",
            ge=0,
        ),
    ] = 5.0
    alertmanager: Annotated[
        str, Doc(description="URL of Alertmanager, for the level check; empty: a ledger")
    ] = ""
    ledger_namespace: Annotated[str, Doc(description="namespace of the ledger's ConfigMap")] = (
        "default"
    )


class CommandSettings(Section):
    allowed_sources: Annotated[
        tuple[str, ...],
        Doc(description="patterns of event sources that may do more than abort, such as /ci/*"),
    ] = ()


class DeploymentSettings(Section):
    destinations: Annotated[tuple[str, ...], Doc(description="how Argo CD names this cluster")] = (
        "https://kubernetes.default.svc",
        "in-cluster",
        "",
    )


class TelegramSettings(Section):
    chat_id: Annotated[str, Doc(description="chat to write to; empty: Telegram is off")] = ""
    thread_id: Annotated[int, Doc(description="topic of a forum; 0: none", ge=0)] = 0
    token_file: Annotated[str, Doc(description="file with the bot's token")] = ""
    token_env: Annotated[str, Doc(description="environment variable with the bot's token")] = ""
    base_url: Annotated[str, Doc(description="Bot API")] = "https://api.telegram.org"


class PrometheusSettings(Section):
    address: Annotated[str, Doc(description="default address of metrics that name none")] = ""
    check_freshness: Annotated[
        bool,
        Doc(
            description="with compat safe, ask also whether the series behind a query's ranges are live"
        ),
    ] = True
    confirm_requests: Annotated[
        int,
        Doc(
            description="requests that must be seen before their shares confirm a weight (annotation serinus.dev/confirm-shares)",
            ge=100,
            le=1_000_000,
        ),
    ] = 500


class HttpSettings(Section):
    ca_file: Annotated[
        str,
        Doc(
            description="PEM of authorities that are trusted besides the usual ones by metric providers and other HTTP clients"
        ),
    ] = ""


class OutletSettings(Section):
    url: Annotated[
        str, Doc(description="URL that gets our events as CloudEvents; empty: none (K_SINK counts)")
    ] = ""
    token_file: Annotated[str, Doc(description="file with a bearer token for it")] = ""


class LogSettings(Section):
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Doc(description="least level")
    ] = "info"
    format: Annotated[
        Literal["json", "console"], Doc(description="json for machines, console for people")
    ] = "json"


class Settings(Section):
    cluster: ClusterSettings = ClusterSettings()
    sink: SinkSettings = SinkSettings()
    bus: BusSettings = BusSettings()
    ownership: OwnershipSettings = OwnershipSettings()
    engine: EngineSettings = EngineSettings()
    alerts: AlertSettings = AlertSettings()
    commands: CommandSettings = CommandSettings()
    deployments: DeploymentSettings = DeploymentSettings()
    telegram: TelegramSettings = TelegramSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    http: HttpSettings = HttpSettings()
    outlet: OutletSettings = OutletSettings()
    log: LogSettings = LogSettings()


def element_of(kind: Any) -> type[Any] | None:
    """The struct of a list of structs."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    arguments = get_args(bare)
    if arguments and isinstance(arguments[0], type) and issubclass(arguments[0], Section):
        found: type[Any] = arguments[0]
        return found
    return None
