"""The doors: what comes in through each, and who takes it."""

from typing import Final

from agent.bus.inbox import Handle
from agent.composition.around import Around
from agent.engine.port import Engine
from agent.events.catalogue import (
    ALERT_FIRING,
    ALERT_RESOLVED,
    DEPLOYMENT_REQUESTED,
    DEPLOYMENT_SYNCED,
)
from agent.settings import secret
from agent.sink import RawDoor, Token
from handlers.alert import AlertHandler, ConfigMapLedger, Rules
from handlers.alert import translate as alertmanager_webhook
from handlers.alert.alertmanager import AlertmanagerSource
from handlers.command import BY_TYPE, CommandHandler
from handlers.deployment import DeploymentHandler
from handlers.deployment import translate as argocd_webhook
from handlers.kubernetes import TYPES as KUBERNETES_TYPES
from handlers.kubernetes import KubernetesHandler
from handlers.telegram import Client, TelegramHandler
from handlers.timer import PING, TimerHandler

RAW_DOORS: Final = (
    RawDoor("/webhooks/alertmanager", "alertmanager", alertmanager_webhook),
    RawDoor("/webhooks/argocd", "argocd", argocd_webhook),
)


def tokens(around: Around) -> list[Token]:
    """Who may enter."""
    return [
        Token(
            token.name,
            secret(file=token.file, env=token.env, field=f"sink.tokens[{index}]"),
            token.doors,
        )
        for index, token in enumerate(around.settings.sink.tokens)
    ]


def alert_handler(around: Around, engine: Engine) -> AlertHandler:
    """What alerts do, by the settings."""
    alerts = around.settings.alerts
    source = (
        AlertmanagerSource(around.http, alerts.alertmanager)
        if alerts.alertmanager
        else ConfigMapLedger(around.cluster, namespace=alerts.ledger_namespace)
    )
    rules = Rules(
        namespace_labels=tuple(alerts.namespace_labels),
        default_namespace=alerts.default_namespace,
        extra_labels=tuple(alerts.extra_labels),
    )
    return AlertHandler(
        engine,
        source,
        around.clock,
        rules=rules,
        slack_seconds=alerts.slack_seconds,
        counted=lambda outcome: around.metrics.alerts.labels(outcome).inc(),
    )


def telegram_handler(around: Around, engine: Engine) -> TelegramHandler | None:
    """The chat, when one is set."""
    telegram = around.settings.telegram
    if not telegram.chat_id:
        return None
    token = secret(file=telegram.token_file, env=telegram.token_env, field="telegram.token_file")
    client = Client(
        around.http.post,
        token=token,
        chat_id=telegram.chat_id,
        thread_id=telegram.thread_id,
        base_url=telegram.base_url,
    )
    return TelegramHandler(
        engine,
        client,
        around.clock,
        counted=lambda kind, outcome: around.metrics.telegram.labels(kind, outcome).inc(),
    )


def table(around: Around, engine: Engine, alerts: AlertHandler) -> dict[str, Handle]:
    """Event types and their handlers: a new source is a handler and a line here."""
    settings, metrics = around.settings, around.metrics
    deployments = DeploymentHandler(
        engine,
        destinations=settings.deployments.destinations,
        counted=lambda outcome: metrics.deployments.labels(outcome).inc(),
    )
    commands = CommandHandler(
        engine,
        around.clock,
        allowed_sources=settings.commands.allowed_sources,
        counted=lambda command, outcome: metrics.commands.labels(command, outcome).inc(),
    )
    kubernetes, timer = KubernetesHandler(engine), TimerHandler(engine)
    return {
        ALERT_FIRING: alerts.firing,
        ALERT_RESOLVED: alerts.resolved,
        DEPLOYMENT_SYNCED: deployments.synced,
        DEPLOYMENT_REQUESTED: deployments.requested,
        **dict.fromkeys(BY_TYPE, commands.handle),
        **dict.fromkeys(KUBERNETES_TYPES, kubernetes.changed),
        PING: timer.tick,
    }
