"""YAML as Kubernetes reads it: only what JSON has, so a time stays a text. PURE."""

from typing import Any, Final

import yaml

RESOLVERS: Final[dict[str, list[tuple[str, Any]]]] = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
"""`yaml_implicit_resolvers` of a loader."""


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with these rules."""


Loader.yaml_implicit_resolvers = RESOLVERS
