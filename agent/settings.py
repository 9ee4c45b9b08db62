"""Settings: a YAML file, then environment variables `SERINUS_<SECTION>__<FIELD>`; the later one wins.

Every field has its meaning beside it (`serinus settings explain` prints this). Lists in the environment are
comma-separated. Secrets are never values: they are read from files or named environment variables.
"""

import ipaddress
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import urlsplit

import msgspec

from agent.errors import Refused

PREFIX: Final = "SERINUS_"
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


class EngineSettings(Section):
    source: Annotated[str, Doc(description="CloudEvents source of our events")] = "serinus"
    drain_seconds: Annotated[
        float,
        Doc(description="how long pods and names stay after the last weight was read back", ge=0),
    ] = 3.0
    hold_timeout_seconds: Annotated[
        float, Doc(description="after this a hold waits for a person", gt=0)
    ] = 1800.0
    compat: Annotated[
        Literal["safe", "argo"],
        Doc(
            description="argo: verdicts exactly as Argo's; safe: that nothing fails is no success without data"
        ),
    ] = "safe"
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
    engine: EngineSettings = EngineSettings()
    alerts: AlertSettings = AlertSettings()
    commands: CommandSettings = CommandSettings()
    deployments: DeploymentSettings = DeploymentSettings()
    telegram: TelegramSettings = TelegramSettings()
    prometheus: PrometheusSettings = PrometheusSettings()
    outlet: OutletSettings = OutletSettings()
    log: LogSettings = LogSettings()


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in force. Raises Refused with the field and the fix."""
    environment = os.environ if environment is None else environment
    raw = _overlaid(_file(path), environment)
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        detail, _, where = str(error).partition(" - at `")
        if where.startswith("key` in `"):
            detail, where = "names of fields are text", where.removeprefix("key` in `")
        raise Refused(
            f"{detail} (see `serinus settings explain`)",
            field=where.strip("`").removeprefix("$").strip(".") or "--config",
        ) from error
    _check(settings)
    return settings


def secret(
    *, file: str = "", env: str = "", environment: Mapping[str, str] | None = None, field: str
) -> str:
    """A secret by the file or the variable that holds it; "" when neither is named.

    Raises Refused when it cannot be read or is empty.
    """
    environment = os.environ if environment is None else environment
    if file:
        try:
            value = Path(file).read_text().strip()
        except OSError as error:
            raise Refused(f"cannot read {file}: {error.strerror or error}", field=field) from error
        except UnicodeDecodeError as error:
            raise Refused(f"{file} is no text", field=field) from error
    elif env:
        value = environment.get(env, "").strip()
    else:
        return ""
    if not value:
        raise Refused(f"{file or f'environment variable {env}'} is empty", field=field)
    return value


def explain() -> str:
    """All settings with defaults and meanings, as Markdown; docs/settings.md is this text."""
    lines = [
        "# Settings",
        "",
        "A YAML file (`serinus run --config FILE`), then environment variables `SERINUS_<SECTION>__<FIELD>`;",
        "the later one wins. Lists in the environment are comma-separated. Secrets are read from files or from",
        "the environment variables that are named here.",
    ]
    for section in Settings.__struct_fields__:
        lines += ["", f"## {section}", "", "| field | default | meaning |", "|---|---|---|"]
        lines += _rows(get_type_hints(Settings)[section])
    return "\n".join(lines) + "\n"


def _rows(kind: type[Any]) -> list[str]:
    rows = []
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        meaning = next(
            m.description for m in hints[field.name].__metadata__ if isinstance(m, msgspec.Meta)
        )
        default = "" if field.default is msgspec.NODEFAULT else field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        shown = (
            f"`{msgspec.json.encode(default).decode()}`" if default not in ("", (), None) else ""
        )
        rows.append(f"| `{field.name}` | {shown} | {meaning} |")
        nested = _element(field.type)
        if nested is not None:
            rows += [row.replace("| `", f"| `{field.name}[].", 1) for row in _rows(nested)]
    return rows


def _element(kind: Any) -> type[Any] | None:
    """The struct of a list of structs."""
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    arguments = get_args(bare)
    if arguments and isinstance(arguments[0], type) and issubclass(arguments[0], Section):
        found: type[Any] = arguments[0]
        return found
    return None


def _file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        raw = msgspec.yaml.decode(path.read_bytes())
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror or error}", field="--config") from error
    except msgspec.DecodeError as error:
        raise Refused(f"{path} is not YAML: {error}", field="--config") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise Refused(f"{path} must be a mapping of sections", field="--config")
    return raw


def _overlaid(raw: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    # A section whose fields are all commented out is null in YAML.
    result = {
        name: dict(value or {}) if isinstance(value, dict | None) else value
        for name, value in raw.items()
    }
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        section, _, field = variable.removeprefix(PREFIX).lower().partition("__")
        kind = get_type_hints(Settings).get(section)
        known = {} if kind is None else get_type_hints(kind)
        if field not in known:
            raise Refused("is no setting (see `serinus settings explain`)", field=variable)
        if not isinstance(result.setdefault(section, {}), dict):
            raise Refused("must be a mapping of fields", field=section)
        result[section][field] = _parsed(text, known[field], variable)
    return result


def _parsed(text: str, kind: Any, variable: str) -> Any:
    if kind is str or get_origin(kind) is Literal:
        return text
    if get_origin(kind) is tuple:
        if _element(kind) is not None:
            raise Refused("a list of objects can only stand in the file", field=variable)
        return [item.strip() for item in text.split(",")] if text else []
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(str(error), field=variable) from error


def _check(settings: Settings) -> None:
    sink = settings.sink
    if not sink.tokens and not _is_loopback(sink.host):
        raise Refused(
            f"{sink.host} is not loopback, and there are no sink.tokens: set tokens, or host 127.0.0.1",
            field="sink.host",
        )
    for index, token in enumerate(sink.tokens):
        if bool(token.file) == bool(token.env):
            raise Refused("set exactly one of file and env", field=f"sink.tokens[{index}]")
        for door in token.doors:
            if door not in ("*", *DOORS):
                raise Refused(
                    f"{door!r} is no door; there are {', '.join(DOORS)}, and * for all",
                    field=f"sink.tokens[{index}].doors",
                )
    telegram = settings.telegram
    if telegram.chat_id and bool(telegram.token_file) == bool(telegram.token_env):
        raise Refused("set exactly one of token_file and token_env", field="telegram")
    for field, url in (
        ("alerts.alertmanager", settings.alerts.alertmanager),
        ("outlet.url", settings.outlet.url),
        ("prometheus.address", settings.prometheus.address),
        ("telegram.base_url", telegram.base_url),
    ):
        if url and not _is_url(url):
            raise Refused(f"{url!r} is no http(s) URL", field=field)
    for section, values in msgspec.to_builtins(settings).items():
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise Refused("must be a finite number of seconds", field=f"{section}.{name}")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
