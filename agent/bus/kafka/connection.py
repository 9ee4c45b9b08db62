"""How brokers are reached: what aiokafka's clients are given, and what their failures mean."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from agent.errors import Refused, SerinusError, Unavailable
from agent.settings import BusSettings, secret

log = structlog.get_logger(__name__)

START_SECONDS: Final = 10.0
"""For a client to have connected; joining a group has a longer deadline of its own."""
STOP_SECONDS: Final = 2.0
"""For a client to have stopped: without brokers aiokafka's may hang for ever (its issues 1101, 773)."""
DIAGNOSIS_SECONDS: Final = 3.0
CANCELLATIONS: Final = 4
ISOLATION: Final = "read_committed"
"""Records of a transaction come when it is committed, and never when it is aborted."""


def client_options(
    settings: BusSettings, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What every aiokafka client is given. Raises Refused for files that cannot be used."""
    options: dict[str, Any] = {
        "bootstrap_servers": list(settings.brokers),
        "client_id": settings.client_id,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _ssl_context(settings, environment)
    if settings.security_protocol.startswith("SASL_"):
        options["sasl_mechanism"] = settings.mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = secret(
            file=settings.password_file,
            env=settings.password_env,
            environment=environment,
            field="bus.password_file" if settings.password_file else "bus.password_env",
        )
    return options


def _ssl_context(settings: BusSettings, environment: Mapping[str, str] | None) -> ssl.SSLContext:
    field, path = "bus.ca_file", settings.ca_file
    try:
        context = ssl.create_default_context(cafile=path or None)
        if settings.cert_file:
            field, path = "bus.cert_file", settings.cert_file
            phrase = secret(
                file=settings.key_password_file,
                environment=environment,
                field="bus.key_password_file",
            )
            # A callback, so that a key with a pass phrase never asks on the terminal.
            context.load_cert_chain(path, settings.key_file, password=lambda: phrase)
    except OSError as error:
        # ssl.SSLError is one, too.
        raise Refused(
            f"{path} cannot be used: {error.strerror or error}; it must be PEM", field=field
        ) from error
    return context


async def explained(
    error: BaseException, settings: BusSettings, options: Mapping[str, Any]
) -> SerinusError:
    """What a client's failure means, and what to look at.

    aiokafka says "Unable to bootstrap" whatever the reason is, so one connection is made by hand.
    """
    brokers = ", ".join(settings.brokers)
    if isinstance(error, TopicAuthorizationFailedError | GroupAuthorizationFailedError):
        return Unavailable(f'the brokers do not allow it: {error} (docs/kafka.md, "Rights")')
    if not isinstance(error, KafkaConnectionError | TimeoutError | OSError):
        return Unavailable(f"Kafka at {brokers}: {_text(error)}")
    reason = await _diagnosis(settings, options)
    if reason is None:
        return Unavailable(f"Kafka at {brokers} did not do it in time: {_text(error)}")
    hint = "check bus.brokers, and that bus.security_protocol is what that listener speaks"
    if isinstance(
        reason, SaslAuthenticationFailed | UnsupportedSaslMechanismError | IllegalSaslStateError
    ):
        hint = "check bus.username, its password and bus.mechanism"
    elif isinstance(reason, ssl.SSLError) or isinstance(
        getattr(reason, "__cause__", None), ssl.SSLError
    ):
        hint = "check bus.ca_file, and that the certificate names the host in bus.brokers"
    return Unavailable(f"cannot reach Kafka at {brokers}: {_text(reason)}; {hint}")


async def _diagnosis(settings: BusSettings, options: Mapping[str, Any]) -> BaseException | None:
    """Why the first broker does not let us in; None when it does."""
    host, _, port = settings.brokers[0].rpartition(":")
    chosen = {
        name: value
        for name, value in options.items()
        if name.startswith(("ssl", "sasl", "security", "client"))
    }
    try:
        async with asyncio.timeout(DIAGNOSIS_SECONDS):
            connection = await create_conn(
                host.strip("[]"),
                int(port),
                request_timeout_ms=int(DIAGNOSIS_SECONDS * 1000),
                **chosen,
            )
    except (KafkaError, OSError, TimeoutError) as error:
        return error
    connection.close()
    return None


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


@asynccontextmanager
async def disconnecting(client: AIOKafkaClient) -> AsyncIterator[None]:
    """Have the client stopped in the block; nothing of it is left afterwards. Bounded.

    The task that keeps its metadata fresh may miss its cancellation while no broker answers (wait_for of
    Python 3.11 loses some), and would go on connecting for ever.
    """
    refresher = client._sync_task  # noqa: SLF001 - it has no public handle
    try:
        yield
    finally:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await client.close()
        except (KafkaError, TimeoutError) as error:
            log.debug("bus.stop_failed", error=repr(error))
        for _ in range(CANCELLATIONS):
            if refresher is None or refresher.done():
                break
            refresher.cancel()
            await asyncio.wait({refresher}, timeout=STOP_SECONDS / CANCELLATIONS)
