"""Regular expressions of users: RE2, which cannot hang, and which does not print what it raises. PURE."""

from typing import Any

import re2

BadPattern = re2.error


def compile_pattern(pattern: str) -> Any:
    """The compiled pattern (RE2 caches them). Raises BadPattern."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
