"""docs/sequential.md: what it shows can be used, and it names every setting with its default."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from agent.analysis.sequential.settings import Settings, settings_of, template_problem
from agent.api.analysis import Metric
from agent.api.decode import read
from agent.api.names import SEQUENTIAL

PAGE = (Path(__file__).parents[3] / "docs/sequential.md").read_text()
SHOWN: list[str] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_template_is_one() -> None:
    template = yaml.safe_load(SHOWN[0])
    (raw,) = template["spec"]["metrics"]
    metric = read(Metric, raw)
    assert template_problem(metric) == ""
    broken: dict[str, Any] = {**raw, "successCondition": "result < 1"}
    assert "successCondition" in template_problem(read(Metric, broken))


def test_the_latency_settings_are_settings() -> None:
    plugin = {"plugin": {SEQUENTIAL: yaml.safe_load(SHOWN[1])}}
    settings = settings_of(read(Metric, {"name": "latency", "count": 10, "provider": plugin}))
    assert settings.comparisons == 3


@pytest.mark.parametrize("field", msgspec.structs.fields(Settings), ids=lambda field: field.name)
def test_the_table_names_each_setting_and_its_default(field: msgspec.structs.FieldInfo) -> None:
    name = field.encode_name
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `")]
    row = next((row for row in rows if f"`{name}" in row[1]), None)
    assert row is not None, f"{name} is not in the table"
    if field.default not in (msgspec.NODEFAULT, None, "", ()):
        shown = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        assert shown in row[2]
