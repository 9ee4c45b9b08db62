"""Rollouts in a Telegram chat."""

from handlers.telegram.client import Client
from handlers.telegram.handler import TelegramHandler

__all__ = ["Client", "TelegramHandler"]
