"""Changes of Kubernetes objects as events (Knative's ApiServerSource) wake the rollouts they concern.

The daemon has watches of its own; these events serve the serverless form and are harmless besides it.
The event is never trusted to carry the truth: the rollout is looked at again, that is all.
"""

from typing import Any, Final

from agent.api.decode import parse_json
from agent.api.meta import Key
from agent.api.names import GROUP
from agent.engine.port import Engine
from agent.errors import Refused
from agent.events.event import Event

PREFIX: Final = "dev.knative.apiserver."
TYPES: Final = tuple(
    f"{PREFIX}{form}.{change}"
    for form in ("resource", "ref")
    for change in ("add", "update", "delete")
)


class KubernetesHandler:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def changed(self, event: Event) -> None:
        """Wake the object's rollout, or every rollout of its namespace when that cannot be told.

        Raises Refused when the data is no object or reference.
        """
        kind, namespace, name, owner = _subject(event)
        if kind == "Rollout":
            self._engine.wake(Key(namespace, name), event.type)
        elif owner:
            self._engine.wake(Key(namespace, owner), event.type)
        else:
            for view in self._engine.views(namespace or None):
                self._engine.wake(view.key, event.type)


def _subject(event: Event) -> tuple[str, str, str, str]:
    """Kind, namespace, name and, for what a Rollout controls, the name of that Rollout."""
    data: Any = parse_json(event.data)
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        raise Refused("expected a Kubernetes object or a reference to one", field="data.kind")
    meta = data.get("metadata")
    # `ref` events carry an ObjectReference: its name and namespace stand at the top.
    where = meta if isinstance(meta, dict) else data
    owners = where.get("ownerReferences")
    owner = next(
        (
            str(reference.get("name", ""))
            for reference in (owners if isinstance(owners, list) else ())
            if isinstance(reference, dict)
            and reference.get("kind") == "Rollout"
            and str(reference.get("apiVersion", "")).startswith(f"{GROUP}/")
        ),
        "",
    )
    return data["kind"], str(where.get("namespace") or ""), str(where.get("name") or ""), owner
