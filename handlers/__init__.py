"""The doors: each turns one outside vocabulary into wakes and intents, or our events into effects."""
