"""Settings: a YAML file, then environment variables `SERINUS_<SECTION>__<FIELD>`; the later one wins.

Every field has its meaning beside it (`serinus settings explain` prints this). Lists in the environment are
comma-separated. Secrets are never values: they are read from files or named environment variables.
"""

from agent.settings.explanation import explain
from agent.settings.loading import load, secret
from agent.settings.sections import (
    DOORS,
    AlertSettings,
    BusSettings,
    ClusterSettings,
    CommandSettings,
    DeploymentSettings,
    EngineSettings,
    LogSettings,
    OutletSettings,
    OwnershipSettings,
    PrometheusSettings,
    Settings,
    SinkSettings,
    TelegramSettings,
    TokenSettings,
)

__all__ = [
    "DOORS",
    "AlertSettings",
    "BusSettings",
    "ClusterSettings",
    "CommandSettings",
    "DeploymentSettings",
    "EngineSettings",
    "LogSettings",
    "OutletSettings",
    "OwnershipSettings",
    "PrometheusSettings",
    "Settings",
    "SinkSettings",
    "TelegramSettings",
    "TokenSettings",
    "explain",
    "load",
    "secret",
]
