"""Settings: the file, the environment, and what is wrong with them."""

import os
from pathlib import Path

import pytest

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
