"""`serinus analyze` as its user sees it, against a server of the test's."""

import http.server
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from typer.testing import CliRunner

from agent.cli.root import app
from tests.simulation.manifests import rollout

DEADLINE_SECONDS: Final = 50.0


class Answers:
    """A server whose answers a test chooses; keeps the paths that were asked for."""

    def __init__(self) -> None:
        self.bodies: list[Any] = [{"result": 0.99}]
        self.asked: list[str] = []
        answers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers.asked.append(self.path)
                body = answers.bodies.pop(0) if len(answers.bodies) > 1 else answers.bodies[0]
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def answers() -> Iterator[Answers]:
    made = Answers()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(10)


def template(answers: Answers, path: str = "{{args.service}}", **metric: Any) -> str:
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "rate"},
        "spec": {
            "args": [{"name": "service"}],
            "metrics": [
                {
                    "name": "rate",
                    "successCondition": "result >= 0.95",
                    "provider": {"web": {"url": f"{answers.url}/{path}", "jsonPath": "{$.result}"}},
                    **metric,
                }
            ],
        },
    }
    return yaml.safe_dump(body)


def serinus(*arguments: str | Path, text: str = "") -> tuple[int, str, str]:
    made = CliRunner().invoke(app, ["analyze", *(str(item) for item in arguments)], input=text)
    return made.exit_code, made.stdout, made.stderr


def test_a_line_a_measurement_and_the_verdict(answers: Answers) -> None:
    code, said, trouble = serinus("-", "--arg", "service=shop", text=template(answers))
    assert code == 0, said + trouble
    lines = said.splitlines()
    assert lines[:3] == [
        "rate: web, once",
        f"  query: {answers.url}/shop",
        "  successCondition: result >= 0.95",
    ]
    assert lines[3][9:] == (
        "rate Successful  0.99  result >= 0.95 holds  1 of 1 measured, 0 failed (limit 0)"
    )
    assert lines[4:] == ["Successful"]
    assert answers.asked == ["/shop"]


@pytest.mark.parametrize(
    ("body", "metric", "code", "words"),
    [
        pytest.param({"result": 0.5}, {}, 1, "result >= 0.95 does not hold", id="failed"),
        pytest.param({"result": 0.5}, {"failureCondition": "result < 0.1"}, 3, "neither result >= 0.95", id="inconclusive"),
        pytest.param({"other": 1}, {}, 4, "Error", id="error"),
    ],
)  # fmt: skip
def test_the_exit_code_is_the_verdict(
    answers: Answers, body: Any, metric: Any, code: int, words: str
) -> None:
    answers.bodies = [body]
    text = template(answers, **metric)
    got, said, trouble = serinus("-", "--once", "--arg", "service=x", text=text)
    assert (got, words in said) == (code, True), said + trouble


def test_missing_data_is_said_to_be_missing(answers: Answers) -> None:
    answers.bodies = [{"result": []}]
    text = template(answers, successCondition="all(result, # > 0.9)")
    code, said, _ = serinus("-", "--once", "--arg", "service=x", text=text)
    assert (code, "missing: no data" in said) == (4, True)
    code, said, _ = serinus("-", "--once", "--arg", "service=x", "--compat", "argo", text=text)
    assert (code, "missing" in said) == (0, False)


def test_json_is_one_object_a_line(answers: Answers) -> None:
    answers.bodies = [{"result": 0.99}, {"result": 0.2}]
    text = template(answers, interval="1s", count=2, failureLimit=1)
    code, said, _ = serinus("-", "--arg", "service=x", "--format", "json", text=text)
    one, other, verdict = map(json.loads, said.splitlines())
    assert (one["phase"], other["phase"], verdict["phase"]) == (
        "Successful",
        "Failed",
        "Successful",
    )
    assert other["counters"]["failed"] == 1
    assert (code, verdict["type"]) == (0, "verdict")


def test_arguments_may_come_from_a_file(answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "args.yaml").write_text("service: from-file\n")
    (tmp_path / "t.yaml").write_text(template(answers))
    args = tmp_path / "args.yaml"
    assert serinus(tmp_path / "t.yaml", "--arg-from", args)[0] == 0
    assert serinus(tmp_path / "t.yaml", "--arg-from", args, "--arg", "service=x")[0] == 0
    assert answers.asked == ["/from-file", "/x"]


def test_secrets_are_sent_and_never_shown(answers: Answers, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush-hush\n")
    made = yaml.safe_load(template(answers))
    made["spec"]["args"] = [
        {"name": "service", "valueFrom": {"secretKeyRef": {"name": "api", "key": "token"}}}
    ]
    text = yaml.safe_dump(made)
    secret = f"api/token={tmp_path / 'token'}"
    for output in ("text", "json"):
        code, said, trouble = serinus("-", "--secret", secret, "--format", output, text=text)
        assert (code, "hush" in said + trouble) == (0, False), said + trouble
    assert answers.asked == ["/hush-hush"] * 2
    code, _, trouble = serinus("-", text=text)
    assert (code, "give --secret api/token=FILE" in trouble) == (2, True)


def test_the_analysis_of_a_rollouts_step(answers: Answers, tmp_path: Path) -> None:
    analysis = {
        "templates": [{"templateName": "rate"}],
        "args": [{"name": "service", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    }
    manifest = tmp_path / "rollout.yaml"
    manifest.write_text(yaml.safe_dump(rollout([{"setWeight": 5}, {"analysis": analysis}])))
    code, said, trouble = serinus("-", "--rollout", manifest, "--step", "2", text=template(answers))
    assert code == 0, said + trouble
    assert answers.asked == ["/web"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give it a value with --arg service="),
        (["--arg", "service"], "is not name=value"),
        (["--arg", "service=x", "--arg", "other=y"], "no template declares 'other'"),
        (["--arg", "service=x", "--template", "other"], "no template 'other'"),
        (["--arg", "service=x", "--step", "1"], "--step: needs --rollout"),
        (["--arg", "service=x", "--once", "--watch"], "--once: goes with neither"),
        (["--arg", "service=x", "--watch", "--count", "3"], "--watch: does not go with --count"),
        (["--arg", "service=x", "--secret", "token=f"], "is not name/key=FILE"),
        (["--arg", "service=x", "--secret", "a/b=/no/such"], "/no/such"),
        (["--arg-from", "/no/such"], "/no/such"),
    ],
)
def test_a_wrong_use_is_said_and_nothing_is_asked(
    answers: Answers, arguments: list[str], words: str
) -> None:
    code, _, trouble = serinus("-", *arguments, text=template(answers))
    assert (code, words in " ".join(trouble.split())) == (2, True), trouble
    assert answers.asked == []


def test_a_job_needs_a_cluster() -> None:
    made = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "job"},
        "spec": {"metrics": [{"name": "j", "provider": {"job": {"spec": {}}}}]},
    }
    code, _, trouble = serinus("-", text=yaml.safe_dump(made))
    assert (code, "a Job runs in a cluster" in trouble) == (2, True)


def test_help_has_examples() -> None:
    code, said, _ = serinus("--help")
    assert (code, "serinus analyze templates/ --rollout rollout.yaml --step 3" in said) == (0, True)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.02)


@pytest.mark.parametrize("on_terminal", [False, True], ids=["piped", "on a terminal"])
def test_ctrl_c_ends_a_watch_with_the_verdict_so_far(
    answers: Answers, tmp_path: Path, on_terminal: bool
) -> None:
    """The shipped command in a process of its own: signals and terminals are those of a user."""
    (tmp_path / "t.yaml").write_text(template(answers))
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "analyze", str(tmp_path / "t.yaml"), "--watch",
         "--arg", "service=x", "--interval", "1s"],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.STDOUT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
    )  # fmt: skip
    os.close(theirs)
    said = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:
                return
            if not data:
                return
            said.extend(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        until(lambda: b"2 measured" in said)
        child.send_signal(signal.SIGINT)
        assert child.wait(DEADLINE_SECONDS) == 0
    finally:
        child.kill()
        child.wait()
        reader.join(10)
        os.close(ours)
    assert b"Successful: Run Terminated" in said
    assert (b"METRIC" in said) == on_terminal
    assert b"Traceback" not in said
