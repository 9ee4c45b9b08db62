"""Which offset of a partition may be committed when its records are done out of order. Pure."""


class LowWater:
    """The records of one partition that were taken and are not done.

    Offsets are taken in ascending order; gaps (compaction, markers of transactions, aborted records) are nobody's.
    """

    def __init__(self) -> None:
        self._open: dict[int, None] = {}
        self._next: int | None = None

    def taken(self, offset: int) -> None:
        """This record is under way now. Raises ValueError when it is not behind all taken before."""
        if self._next is not None and offset < self._next:
            raise ValueError(f"offset {offset} was taken before: the next one is {self._next}")
        self._open[offset] = None
        self._next = offset + 1

    def done(self, offset: int) -> None:
        """This record need not come again. Raises KeyError when it is not under way."""
        del self._open[offset]

    def passed(self, offset: int) -> None:
        """What is before this offset and was not taken, is nobody's."""
        self._next = offset if self._next is None else max(self._next, offset)

    @property
    def mark(self) -> int | None:
        """What may be committed: every record before it is done. None before any was taken or passed."""
        return next(iter(self._open), self._next)

    @property
    def under_way(self) -> int:
        """How many were taken and are not done."""
        return len(self._open)
