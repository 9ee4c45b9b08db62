"""Settings: the file, the environment, and what is wrong with them."""

import os
from pathlib import Path

import msgspec
import pytest

from agent import settings as settings_module
from agent.composition.doors import RAW_DOORS
from agent.errors import Refused
from agent.settings import Settings, load, secret


def written(directory: Path, text: str) -> Path:
    path = directory / "serinus.yaml"
    path.write_text(text)
    return path


def refusal(text: str, directory: Path, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(Refused) as refused:
        load(written(directory, text), environment or {})
    return str(refused.value)


def test_nothing_given_is_safe() -> None:
    settings = load(None, {})
    assert settings == Settings()
    assert settings.sink.host == "127.0.0.1"
    assert settings.engine.compat == "safe"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "sink: {port: 9000, host: '::1'}\nengine: {frozen: true}\n")
    environment = {
        "SERINUS_SINK__PORT": "9001",
        "SERINUS_CLUSTER__NAMESPACES": "shop, pay",
        "SERINUS_ENGINE__DRAIN_SECONDS": "1.5",
        "SERINUS_ENGINE__FROZEN": "false",
        "SERINUS_HOME": "no setting: it has no section",
        "PATH": "/bin",
    }
    settings = load(path, environment)
    assert (settings.sink.port, settings.sink.host) == (9001, "::1")
    assert settings.cluster.namespaces == ("shop", "pay")
    assert (settings.engine.drain_seconds, settings.engine.frozen) == (1.5, False)


def test_an_empty_file_is_no_settings(tmp_path: Path) -> None:
    assert load(written(tmp_path, ""), {}) == Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sink: {prot: 1}", ("prot", "sink")),
        ("snik: {}", ("snik",)),
        ("sink: {port: high}", ("sink.port", "int")),
        ("sink: {port: 70000}", ("sink.port", "65535")),
        ("engine: {compat: loose}", ("engine.compat", "loose")),
        ("sink: [", ("not YAML",)),
        ("- 1", ("mapping of sections",)),
        ("sink: {host: 0.0.0.0}", ("sink.host", "sink.tokens")),
        ("sink: {host: serinus.example}", ("sink.host",)),
        ("sink: {tokens: [{name: a}]}", ("sink.tokens[0]", "exactly one")),
        ("sink: {tokens: [{name: a, file: f, env: E}]}", ("sink.tokens[0]", "exactly one")),
        ("telegram: {chat_id: '1'}", ("telegram", "token_file")),
        ("outlet: {url: ftp://x}", ("outlet.url", "http")),
        ("outlet: {url: 'http://'}", ("outlet.url", "http")),
        ("alerts: {alertmanager: 'http://a:x'}", ("alerts.alertmanager", "http")),
        ("prometheus: {address: 'prometheus:9090'}", ("prometheus.address", "http")),
        ("engine: {drain_seconds: .inf}", ("engine.drain_seconds", "finite")),
        ("engine: {drain_seconds: .nan}", ("engine.drain_seconds", ">= 0")),
        ("sink: {tokens: [{name: a, env: A, doors: [argo]}]}", ("sink.tokens[0].doors", "argocd")),
        ("sink: {tokens: [{name: a, token: hunter2}]}", ("sink.tokens[0]", "`token`")),
        ("engine: {mode: pilot}", ("engine.mode", "pilot")),
        ("engine: {argo_leases: [Not/A/Lease]}", ("engine.argo_leases[0]", "namespace/name")),
        ("engine: {argo_quiet_seconds: 1}", ("engine.argo_quiet_seconds", "5")),
        ("engine: {marks_namespace: ''}", ("engine.marks_namespace", "namespace")),
        ("bus: {kind: rabbit}", ("bus.kind", "rabbit")),
        ("bus: {kind: kafka}", ("bus.brokers", "host:port")),
        ("bus: {kind: kafka, brokers: [a]}", ("bus.brokers[0]", "'a'", "host:port")),
        ("bus: {kind: kafka, brokers: ['a:b']}", ("bus.brokers[0]", "host:port")),
        ("bus: {kind: kafka, brokers: ['kafka://a:1']}", ("bus.brokers[0]", "host:port")),
        ("bus: {kind: kafka, brokers: ['a:1'], prefix: a b}", ("bus.prefix", "letters")),
        ("bus: {kind: kafka, brokers: ['a:1'], group: ''}", ("bus.group", "letters")),
        (
            "bus: {kind: kafka, brokers: ['a:1'], replication_factor: 0}",
            ("bus.replication_factor",),
        ),
        (
            "bus: {kind: kafka, brokers: ['a:1'], heartbeat_seconds: 3}",
            ("bus.heartbeat_seconds", "session_timeout_seconds (6)"),
        ),
        ("bus: {kind: kafka, brokers: ['a:1'], username: u}", ("bus.username", "SASL_SSL")),
        (
            "bus: {kind: kafka, brokers: ['a:1'], security_protocol: SASL_SSL}",
            ("bus.username", "SASL_SSL needs"),
        ),
        (
            "bus: {kind: kafka, brokers: ['a:1'], security_protocol: SASL_SSL, username: u}",
            ("bus", "exactly one of password_file and password_env"),
        ),
        ("bus: {kind: kafka, brokers: ['a:1'], ca_file: f}", ("bus.ca_file", "SSL or SASL_SSL")),
        (
            "bus: {kind: kafka, brokers: ['a:1'], security_protocol: SSL, key_file: f}",
            ("bus.key_file", "bus.cert_file"),
        ),
        (
            "bus: {kind: kafka, brokers: ['a:1'], security_protocol: SSL, cert_file: f}",
            ("bus.cert_file", "bus.key_file"),
        ),
        ("ownership: {kind: kafka}", ("ownership.kind", "kafka")),
        (
            "{ownership: {kind: lease}, bus: {kind: kafka, brokers: ['a:1']}}",
            ("ownership.kind", "partitions", "auto"),
        ),
        (
            "{ownership: {kind: none}, bus: {kind: kafka, brokers: ['a:1']}}",
            ("ownership.kind", "partitions", "auto"),
        ),
        ("ownership: {name: Serinus}", ("ownership.name", "lower-case")),
        ("ownership: {name: a..b}", ("ownership.name", "lower-case")),
        ("ownership: {namespace: a.b}", ("ownership.namespace", "lower-case")),
        ("ownership: {duration_seconds: 0}", ("ownership.duration_seconds", ">= 1")),
        ("ownership: {renew_seconds: 15}", ("ownership.renew_seconds", "duration_seconds (15)")),
        ("ownership: {retry_seconds: 6}", ("ownership.retry_seconds", "renew_seconds (10)")),
        ("ownership: {renew_seconds: .nan}", ("ownership.renew_seconds", "> 0")),
        ("sink: 5", ("sink", "object")),
        ("sink: {1: 2}", ("sink", "names of fields are text")),
        ("1: 2", ("--config", "names of fields are text")),
        ("a: 1\n---\nb: 2", ("not YAML", "single document")),
        ("a: !!python/object:os.system x", ("not YAML",)),
    ],
)
def test_a_mistake_names_the_field(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    said = refusal(text, tmp_path)
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SERINUS_SINK__PROT", "1", "is no setting"),
        ("SERINUS_SNIK__PORT", "1", "is no setting"),
        ("SERINUS_SINK__PORT", "high", "int"),
        ("SERINUS_SINK__TOKENS", "a", "only stand in the file"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    variable: str, value: str, words: str, tmp_path: Path
) -> None:
    said = refusal("", tmp_path, {variable: value})
    assert variable in said
    assert words in said


def test_a_section_that_is_no_mapping_is_named_whatever_the_environment_says(
    tmp_path: Path,
) -> None:
    said = refusal("sink: 5", tmp_path, {"SERINUS_SINK__PORT": "1"})
    assert said == "sink: must be a mapping of fields"


def test_a_section_whose_fields_are_commented_out_is_an_empty_one(tmp_path: Path) -> None:
    path = written(tmp_path, "sink:\n#  port: 1\nlog:\n")
    assert load(path, {}) == Settings()
    assert load(path, {"SERINUS_SINK__PORT": "1"}).sink.port == 1


def test_every_door_is_known_by_its_name() -> None:
    assert {door.name for door in RAW_DOORS} < set(settings_module.DOORS)


def test_a_secret_is_in_no_text_about_settings(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("hunter2")
    said = refusal("sink: {tokens: [{name: a, token: hunter2}]}", tmp_path)
    assert "hunter2" not in said
    text = f"sink: {{tokens: [{{name: a, file: {path}}}, {{name: b, env: TOKEN}}]}}"
    settings = load(written(tmp_path, text), {"TOKEN": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert secret(file=settings.sink.tokens[0].file, field="f") == "hunter2"
    path.write_bytes(b"\xff")
    with pytest.raises(Refused, match="no text"):
        secret(file=str(path), field="f")


def test_every_field_can_come_from_the_environment_or_says_that_it_cannot() -> None:
    for section in Settings.__struct_fields__:
        for name, value in msgspec.to_builtins(getattr(Settings(), section)).items():
            variable = f"SERINUS_{section.upper()}__{name.upper()}"
            text = ",".join(value) if isinstance(value, list | tuple) else str(value)
            text = text.lower() if isinstance(value, bool) else text
            if (section, name) != ("sink", "tokens"):
                assert load(None, {variable: text}) == Settings(), variable


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml", {})


def test_a_door_to_the_network_needs_tokens(tmp_path: Path) -> None:
    text = "sink: {host: 0.0.0.0, tokens: [{name: a, env: TOKEN}]}"
    assert load(written(tmp_path, text), {}).sink.tokens[0].name == "a"


def test_a_secret_is_read_where_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, " s3cret\n")
    assert secret(file=str(path), field="f") == "s3cret"
    assert secret(env="TOKEN", environment={"TOKEN": "t"}, field="f") == "t"
    assert secret(field="f") == ""


def test_a_secret_that_is_not_there_names_its_field(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"telegram\.token_env"):
        secret(env="TOKEN", environment={}, field="telegram.token_env")
    with pytest.raises(Refused, match="empty"):
        secret(file=os.devnull, field="f")
    with pytest.raises(Refused, match="cannot read"):
        secret(file=str(tmp_path / "gone"), field="f")
