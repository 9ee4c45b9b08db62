"""Everything that a run of the linter looks at: the objects of all files, and what the cluster has beside them. PURE."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

from agent.analysis import composition
from agent.analysis.providers.port import Provider
from agent.api.analysis import AnalysisTemplate, TemplateRef
from agent.api.decode import read
from agent.api.experiment import Experiment
from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout, RolloutAnalysis
from agent.errors import Refused
from agent.lint.finding import Finding, Level
from agent.lint.source import Document, Source
from agent.rollout import references, shapes, validation
from agent.rollout.references import Use
from agent.rollout.workloads import kind_problem, with_workload, workload_of
from agent.traffic.routers import ROUTERS
from agent.traffic.types import FieldError, Router

_GROUPS: Final[Mapping[str, frozenset[str]]] = {
    "argoproj.io": frozenset(
        {
            "Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun", "Experiment",
            "Application",
        }
    ),
    "networking.istio.io": frozenset({"VirtualService", "DestinationRule"}),
    "gateway.networking.k8s.io": frozenset({"HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"}),
    "apps": frozenset({"Deployment", "ReplicaSet"}),
    "": frozenset({"Service", "PodTemplate"}),
    "serving.knative.dev": frozenset({"Service"}),
}  # fmt: skip
"""Kinds that are looked at; all others are nobody's business here."""
KNATIVE_SERVICE: Final = "KnativeService"
"""Knative's own kind is called Service, too."""
CLUSTER_SCOPED: Final = ("ClusterAnalysisTemplate",)


class Item(NamedTuple):
    """One object of the manifests."""

    ref: Ref
    obj: Object
    source: Source
    document: Document

    @property
    def shown(self) -> str:
        return str(self.ref) if self.ref.name else f"{self.ref.kind} without a name"


class Code(NamedTuple):
    """What a finding means.

    Attributes:
        title: a few words.
        why: what happens when it is left so.
        fix: what to do, in general.
    """

    id: str
    level: Level
    title: str
    why: str
    fix: str

    def at(
        self, item: Item, field: str, message: str, *, fix: str = "", within: str = ""
    ) -> Finding:
        """A finding of this code; `field` is where it stands, `within` the part of its text that is meant."""
        place = (
            item.document.place_of(within, field, item.source.lines)
            if within
            else item.document.place(field)
        )
        return Finding(
            code=self.id,
            level=self.level,
            message=message,
            fix=fix or self.fix,
            field=field,
            object=item.shown,
            file=item.source.name,
            line=place.line,
            column=place.column,
        )


class OneRollout(NamedTuple):
    """A Rollout that can be read.

    Attributes:
        rollout: with the template of the workload that it refers to, when that is at hand.
        errors: what Argo's rules say against its own spec.
        pods: the object in whose text the pods' template stands, the Rollout itself when that is in no text.
        is_resolved: the template is that of a workload.
        template_errors: what the rules say against that.
    """

    item: Item
    rollout: Rollout
    errors: tuple[FieldError, ...]
    pods: Item
    is_resolved: bool = False
    template_errors: tuple[FieldError, ...] = ()


class OneExperiment(NamedTuple):
    """An Experiment that can be read."""

    item: Item
    experiment: Experiment


class OneUse(NamedTuple):
    """One place where a Rollout or an Experiment names analysis templates."""

    item: Item
    use: Use

    @property
    def namespace(self) -> str:
        return self.item.ref.namespace


class OneTemplate(NamedTuple):
    """A template that can be read; an AnalysisRun is one whose arguments are given."""

    item: Item
    template: AnalysisTemplate


class World:
    """What the checks look at.

    Args:
        cluster: objects of the cluster that the manifests name, and that are not linted themselves.
        is_complete: whether `cluster` was asked, so that what is in neither does not exist.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        providers: Mapping[str, Provider],
        namespace: str = "default",
        cluster: Mapping[Ref, Object] | None = None,
        is_complete: bool = False,
        routers: Mapping[str, Router] = ROUTERS,
    ) -> None:
        self.sources = tuple(sources)
        self.providers = providers
        self.routers = routers
        self.is_complete = is_complete
        self.items = tuple(item for source in sources for item in _items(source, namespace))
        self.objects: dict[Ref, Object] = {
            **(cluster or {}),
            **{item.ref: item.obj for item in self.items},
        }

    def of(self, *kinds: str) -> Iterator[Item]:
        """The objects of these kinds, in their order."""
        return (item for item in self.items if item.ref.kind in kinds)

    def all_of(self, kind: str) -> dict[Ref, Object]:
        """The objects of a kind, those of the cluster included."""
        return {ref: obj for ref, obj in self.objects.items() if ref.kind == kind}

    def item(self, ref: Ref) -> Item | None:
        return next((item for item in self.items if item.ref == ref), None)

    @cached_property
    def rollouts(self) -> tuple[OneRollout, ...]:
        """The Rollouts that can be read."""
        found = []
        for item in self.of("Rollout"):
            try:
                shapes.check_rollout(item.obj)
                rollout = read(Rollout, item.obj)
            except Refused:
                continue
            errors = tuple(validation.validate(rollout))
            found.append(self._resolved(OneRollout(item, rollout, errors, pods=item)))
        return tuple(found)

    def _resolved(self, one: OneRollout) -> OneRollout:
        """With the template of its workload, if it has one that is at hand."""
        reference = one.rollout.spec.workload_ref
        if reference is None or one.errors or kind_problem(reference):
            return one
        ref = workload_of(reference, one.item.ref.namespace)
        if ref not in self.objects:
            return one
        obj = with_workload(one.item.obj, self.objects[ref])
        one = one._replace(is_resolved=True, pods=self.item(ref) or one.item)
        try:
            shapes.check_rollout(obj)
            rollout = read(Rollout, obj)
        except Refused as error:
            return one._replace(template_errors=(FieldError(error.field, error.detail),))
        errors = tuple(validation.validate(rollout, template_resolved=True))
        return one._replace(rollout=rollout, template_errors=errors)

    @cached_property
    def experiments(self) -> tuple[OneExperiment, ...]:
        """The Experiments that can be read."""
        found = []
        for item in self.of("Experiment"):
            try:
                found.append(OneExperiment(item, read(Experiment, item.obj)))
            except Refused:
                continue
        return tuple(found)

    @cached_property
    def uses(self) -> tuple[OneUse, ...]:
        """Every place that names analysis templates. What an Experiment does not wait for ends with it."""
        found = [
            OneUse(one.item, use)
            for one in self.rollouts
            for use in references.template_uses(one.rollout)
        ]
        for one in self.experiments:
            for index, analysis in enumerate(one.experiment.spec.analyses or ()):
                named = TemplateRef(
                    template_name=analysis.template_name, cluster_scope=analysis.cluster_scope
                )
                wanted = RolloutAnalysis(templates=[named], args=analysis.args)
                use = Use(
                    f"spec.analyses[{index}]",
                    wanted,
                    background=not analysis.required_for_completion,
                )
                found.append(OneUse(one.item, use))
        return tuple(found)

    @cached_property
    def templates(self) -> tuple[OneTemplate, ...]:
        """AnalysisTemplates, ClusterAnalysisTemplates and AnalysisRuns that can be read."""
        found = []
        for item in self.of("AnalysisTemplate", "ClusterAnalysisTemplate", "AnalysisRun"):
            try:
                found.append(OneTemplate(item, read(AnalysisTemplate, item.obj)))
            except Refused:
                continue
        return tuple(found)

    def try_analysis(self, namespace: str, analysis: RolloutAnalysis) -> None:
        """Put an analysis together as for a run in this namespace. Raises Refused as that would."""
        composition.analysis_run(
            read(Rollout, {"metadata": {"namespace": namespace}}),
            analysis,
            self.objects,
            stable_hash="s",
            latest_hash="n",
            kind="",
            infix="",
        )


def _items(source: Source, namespace: str) -> Iterable[Item]:
    for document in source.documents:
        kind = kind_of(document.obj)
        if not kind:
            continue
        meta = document.obj.get("metadata")
        meta = meta if isinstance(meta, dict) else {}
        space = "" if kind in CLUSTER_SCOPED else str(meta.get("namespace") or namespace)
        placed = {**meta, "namespace": space} if space else meta
        obj = {**document.obj, "metadata": placed}
        name = str(meta.get("name") or "")
        yield Item(Ref(kind, space, name), obj, source, document)


def kind_of(obj: object) -> str:
    """The kind of an object that is looked at; "" for any other."""
    if not isinstance(obj, dict):
        return ""
    kind, group = str(obj.get("kind")), str(obj.get("apiVersion") or "").rpartition("/")[0]
    if kind not in _GROUPS.get(group, ()):
        return ""
    return KNATIVE_SERVICE if group == "serving.knative.dev" else kind


def mapping(value: Any, *path: str) -> dict[str, Any]:
    """A mapping inside an object that nobody has checked; an empty one where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def listing(value: Any) -> list[dict[str, Any]]:
    """The mappings of a list that nobody has checked."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """The texts of a list that nobody has checked."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
