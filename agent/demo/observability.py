"""Metrics and alerts for the demo: the real programs where they are installed, else the proxy's counters.

One place decides, and `notice` says which it is and how to get the real ones.
"""

import contextlib
from collections.abc import AsyncIterator

import msgspec

from agent.api.meta import Object
from agent.clock import Clock
from agent.demo import alertmanager, prometheus
from agent.demo.counters import Rule, counting, watching
from agent.demo.envoy import Envoy
from agent.demo.manifests import Setup, complete, with_web_provider

WINDOW_SECONDS = 4


class Observability(msgspec.Struct, frozen=True):
    """What is measured by what.

    Attributes:
        notice: a sentence for the person who watches.
        analysis_template: the page's, with the address it can measure at; `hasten` it like the Rollout.
        alertmanager_url: "" when alerts come from the rule on the counters.
    """

    notice: str
    analysis_template: Object
    alertmanager_url: str = ""


@contextlib.asynccontextmanager
async def observing(
    envoy: Envoy, clock: Clock, setup: Setup, *, webhook_url: str, token: str
) -> AsyncIterator[Observability]:
    """Measure the proxy and post alerts about its canary to `webhook_url` while the context is open."""
    rollout = f"{setup.namespace}/{setup.name}"
    if prometheus.binary() and alertmanager.binary():
        async with (
            alertmanager.alertmanager_running(webhook_url=webhook_url, token=token) as url,
            prometheus.prometheus_running(
                admin_url=envoy.admin_url,
                rollout=rollout,
                alertmanager_url=url,
                window=f"{WINDOW_SECONDS}s",
            ) as real,
        ):
            here = msgspec.structs.replace(setup, prometheus=real.url)
            yield Observability(
                f"Prometheus at {real.url} scrapes Envoy every second, Alertmanager at {url}",
                complete(here).analysis_template,
                url,
            )
        return
    rule = Rule(rollout)
    async with (
        counting(envoy, clock, seconds=WINDOW_SECONDS) as counters,
        watching(counters, clock, rule, webhook_url=webhook_url, token=token),
    ):
        yield Observability(
            "Prometheus and Alertmanager are not installed "
            f"({prometheus.INSTALL_LINE}): Envoy's own counters and one rule on them take their place",
            with_web_provider(complete(setup).analysis_template, counters.url),
        )
