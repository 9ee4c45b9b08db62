"""What can be wrong with the bed."""


class BedError(Exception):
    """A part cannot be had or does not work; the message says which and what to do."""
