"""The Alertmanager door: webhooks become events, events become aborts and holds."""

from handlers.alert.handler import AlertHandler
from handlers.alert.ledger import ConfigMapLedger
from handlers.alert.matching import Rules
from handlers.alert.webhook import translate

__all__ = ["AlertHandler", "ConfigMapLedger", "Rules", "translate"]
