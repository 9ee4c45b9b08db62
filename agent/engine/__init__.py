"""Lanes, observe, act, announce, abort, timers: decisions become writes."""
