"""From Istio objects to Envoy configuration, by the rules that istiod follows. PURE.

Rules in order, the first match wins, one without a match ends the list. One destination becomes a plain
cluster, whatever its weight says. Of several, those of weight 0 are left out and the rest go over
unchanged. Clusters are `outbound|PORT|SUBSET|FQDN`; short hosts resolve in the VirtualService's namespace.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agent.api.meta import Object
from agent.errors import Refused

STAT_PREFIX = "ingress"
ROUTE_CONFIG = "rc"
CONFIG_HEADER = "x-config"
"""Header of every answer: the version of the configuration that routed it."""
SUBSET_HEADER = "x-subset"
DEFAULT_PORT = 80
METRIC = "envoy_istio_requests_total"
"""Name of the counter on Envoy's /stats/prometheus; Prometheus renames it to istio_requests_total."""
_TYPES = "type.googleapis.com/envoy"
_PROTOCOLS = f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions"
_ROUTE_TYPE = f"{_TYPES}.config.route.v3.RouteConfiguration"
_ENDPOINT_TYPE = f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment"
_RETRY = {"retry_on": "connect-failure,refused-stream,unavailable,cancelled", "num_retries": 2}


class Endpoint(msgspec.Struct, frozen=True, order=True):
    """Where pods of one version listen; `pods` (> 0) is their share inside a cluster."""

    host: str
    port: int
    version: str
    pods: int = 1


class Cluster(msgspec.Struct, frozen=True):
    """An Envoy cluster for a subset of a service."""

    fqdn: str
    subset: str
    port: int = DEFAULT_PORT

    @property
    def name(self) -> str:
        return f"outbound|{self.port}|{self.subset}|{self.fqdn}"

    @property
    def stat(self) -> str:
        """Name in statistics; dots would cut it in two."""
        return f"{self.fqdn.split('.', 1)[0]}_{self.subset or 'all'}".replace("-", "_")


def fully_qualified(host: str, namespace: str) -> str:
    """A host as istiod sees it from a VirtualService of `namespace`."""
    return host if "." in host else f"{host}.{namespace}.svc.cluster.local"


def route_configuration(service: Object, version: str) -> dict[str, Any]:
    """The http routes of a VirtualService as an Envoy RouteConfiguration.

    Raises Refused for matches and actions that the demo's data plane does not know.
    """
    namespace = (service.get("metadata") or {}).get("namespace") or "default"
    routes: list[dict[str, Any]] = []
    for rule in service["spec"].get("http") or []:
        built = _routes(rule, namespace)
        routes += built
        if any(route["match"] == {"prefix": "/"} for route in built):
            break
    return {
        "name": ROUTE_CONFIG,
        "validate_clusters": False,
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        "response_headers_to_add": [_header(CONFIG_HEADER, version)],
    }


def clusters_of(service: Object) -> tuple[Cluster, ...]:
    """The clusters that the http routes of a VirtualService may lead to, zero weights included."""
    namespace = (service.get("metadata") or {}).get("namespace") or "default"
    return tuple(
        dict.fromkeys(
            _cluster(item["destination"], namespace)
            for rule in service["spec"].get("http") or []
            for item in rule.get("route") or []
        )
    )


def share(service: Object, subset: str) -> int:
    """The percent of calls that the first rule sends to a subset."""
    items = service["spec"]["http"][0].get("route") or []
    weights = {item["destination"].get("subset", ""): item.get("weight") or 0 for item in items}
    if len(items) == 1:
        return 100 if subset in weights else 0
    total = sum(weights.values())
    return round(100 * weights.get(subset, 0) / total) if total else 0


def discovery_response(version: str, resources: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What Envoy reads from a watched file."""
    return {"version_info": version, "resources": list(resources)}


def route_resource(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {"@type": _ROUTE_TYPE, **configuration}


def endpoint_resource(cluster: Cluster, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The endpoints of a cluster. None of them is how a subset without ready pods looks: 503, flag UH."""
    return {
        "@type": _ENDPOINT_TYPE,
        "cluster_name": cluster.name,
        "endpoints": [{"lb_endpoints": [_endpoint(endpoint) for endpoint in endpoints]}],
    }


def bootstrap(
    clusters: Sequence[Cluster], *, routes_file: str, endpoint_files: Mapping[Cluster, str]
) -> dict[str, Any]:
    """Envoy's start configuration: one listener on a free loopback port, routes and endpoints from files."""
    return {
        "node": {"id": "serinus-demo", "cluster": "serinus-demo"},
        "admin": {"address": _address("127.0.0.1", 0)},
        "static_resources": {
            "listeners": [_listener(routes_file)],
            "clusters": [_static_cluster(cluster, endpoint_files[cluster]) for cluster in clusters],
        },
    }


def _routes(rule: Mapping[str, Any], namespace: str) -> list[dict[str, Any]]:
    name = rule.get("name") or ""
    action = _action(rule, namespace)
    return [
        {
            "name": ".".join(part for part in (name, match.get("name") or "") if part),
            "match": _match(match),
            **action,
        }
        for match in rule.get("match") or [{}]
    ]


def _match(match: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(key for key in match if key not in ("name", "uri", "headers", "method"))
    if unknown:
        raise Refused(f"the demo's proxy does not know the match '{unknown[0]}'", field="spec.http")
    built: dict[str, Any] = {"prefix": "/"}
    for kind, value in (match.get("uri") or {}).items():
        key = {"exact": "path", "prefix": "prefix", "regex": "safe_regex"}[kind]
        built = {key: {"regex": value} if kind == "regex" else value}
    headers = {**(match.get("headers") or {})}
    if match.get("method"):
        headers[":method"] = match["method"]
    if headers:
        built["headers"] = [
            {"name": header, "string_match": _string_match(condition)}
            for header, condition in sorted(headers.items())
        ]
    return built


def _string_match(condition: Mapping[str, str]) -> dict[str, Any]:
    ((kind, value),) = condition.items()
    return {"safe_regex": {"regex": value}} if kind == "regex" else {kind: value}


def _action(rule: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    items = rule.get("route")
    if not items:
        raise Refused("the demo's proxy only knows rules with a route", field="spec.http")
    if len(items) == 1:
        cluster = _cluster(items[0]["destination"], namespace)
        return {
            "route": {"cluster": cluster.name, "retry_policy": _RETRY},
            "response_headers_to_add": [_header(SUBSET_HEADER, cluster.subset)],
        }
    weighted = [
        {
            "name": cluster.name,
            "weight": int(item["weight"]),
            "response_headers_to_add": [_header(SUBSET_HEADER, cluster.subset)],
        }
        for item in items
        if item.get("weight")
        for cluster in (_cluster(item["destination"], namespace),)
    ]
    return {"route": {"weighted_clusters": {"clusters": weighted}, "retry_policy": _RETRY}}


def _cluster(destination: Mapping[str, Any], namespace: str) -> Cluster:
    port = (destination.get("port") or {}).get("number") or DEFAULT_PORT
    return Cluster(
        fully_qualified(destination["host"], namespace), destination.get("subset") or "", port
    )


def _header(name: str, value: str) -> dict[str, Any]:
    return {
        "header": {"key": name, "value": value or "-"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "endpoint": {"address": _address(endpoint.host, endpoint.port)},
        "load_balancing_weight": endpoint.pods,
        "metadata": {"filter_metadata": {"istio": {"version": endpoint.version}}},
    }


def _file(path: str) -> dict[str, Any]:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def _static_cluster(cluster: Cluster, endpoint_file: str) -> dict[str, Any]:
    service, namespace = (*cluster.fqdn.split("."), "default")[:2]
    return {
        "name": cluster.name,
        "alt_stat_name": cluster.stat,
        "type": "EDS",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "eds_cluster_config": {"service_name": cluster.name, "eds_config": _file(endpoint_file)},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _PROTOCOLS,
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
        "metadata": {
            "filter_metadata": {
                "istio": {
                    "host": cluster.fqdn,
                    "name": service,
                    "namespace": namespace,
                    "subset": cluster.subset,
                }
            }
        },
    }


def _listener(routes_file: str) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": _file(routes_file)},
        "http_filters": [router],
        "access_log": [_request_counter()],
    }
    return {
        "name": STAT_PREFIX,
        "address": _address("127.0.0.1", 0),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }


def _request_counter() -> dict[str, Any]:
    """Counts every answer with the labels that Istio's telemetry has: the page's query works as it is."""
    labels = {
        "reporter": "source",
        "destination_service": "%METADATA(CLUSTER:istio:host)%",
        "destination_service_name": "%METADATA(CLUSTER:istio:name)%",
        "destination_service_namespace": "%METADATA(CLUSTER:istio:namespace)%",
        "destination_subset": "%METADATA(CLUSTER:istio:subset)%",
        "destination_version": "%METADATA(UPSTREAM_HOST:istio:version)%",
        "response_code": "%RESPONSE_CODE%",
        "response_flags": "%RESPONSE_FLAGS%",
    }
    tags = [{"name": name, "value_format": value} for name, value in labels.items()]
    counter = {"stat": {"name": "requests_total", "tags": tags}, "value_fixed": 1}
    return {
        "name": "envoy.access_loggers.stats",
        "typed_config": {
            "@type": f"{_TYPES}.extensions.access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": "istio"},
            "counters": [counter],
        },
    }
