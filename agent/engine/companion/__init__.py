"""Companion mode: alerts, commands, events and Telegram beside an engine that drives."""
