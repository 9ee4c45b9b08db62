"""The CloudEvent as the agent sees it, and the strict decoder's result."""

from datetime import datetime

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvents 1.0 event that passed the strict decoder.

    Attributes:
        id, source, type: required, not empty; (source, id) identifies the event.
        time: required here, aware UTC (the specification leaves it optional; dedupe and evidence need it).
        subject: optional, "" when absent.
        extensions: attribute name to its canonical string form.
        datacontenttype: media type of `data`, lower case; "" when there is no data.
        data: the payload's bytes; b"" when there is none.
    """

    id: str
    source: str
    type: str
    time: datetime
    subject: str = ""
    datacontenttype: str = ""
    dataschema: str = ""
    extensions: dict[str, str] = {}
    data: bytes = b""
