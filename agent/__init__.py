"""Serinus: an event-driven progressive-delivery agent for the Argo Rollouts API."""

__version__ = "0.1.0"
