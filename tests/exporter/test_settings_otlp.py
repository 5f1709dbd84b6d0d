"""The OTLP export in the agent's settings: what it means, and where it says a fault lies."""

from pathlib import Path

import pytest

from exporter.model import InputError
from exporter.settings import load
from exporter.settings_otlp import OtlpSettings


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text)
    return path


def test_it_is_off_unless_given(tmp_path: Path):
    assert load(write(tmp_path, "gpu: none\n")).otlp is None


def test_every_setting(tmp_path: Path):
    text = """
otlp:
  endpoint: https://collector:4318/v1/metrics
  interval: 1m
  headers_file: /run/headers
  ca_file: /run/ca.pem
"""
    assert load(write(tmp_path, text)).otlp == OtlpSettings(
        endpoint="https://collector:4318/v1/metrics",
        interval_seconds=60.0,
        headers_file="/run/headers",
        ca_file="/run/ca.pem",
    )


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("otlp: {}\n", 1, "otlp has no 'endpoint': add it"),
        ("otlp:\n  endpoint: collector:4318\n", 2, "write it with its path, as in http://127.0.0.1:4318/v1/metrics"),
        ("otlp:\n  endpoint: http://collector:4318\n", 2, "`http://collector:4318` is not the URL of a receiver"),
        (
            "otlp:\n  endpoint: http://me:secret@collector/v1/metrics\n",
            2,
            "write an Authorization line into a headers_f",
        ),
        ("otlp:\n  endpoint: http://a/v1/metrics\n  ca_file: a\n", 3, "ca_file is of no use without TLS"),
        ("otlp:\n  endpoint: http://a/v1/metrics\n  interval: 10ms\n", 3, "`interval` is too short; write 1s or more"),
        (
            "otlp:\n  endpoint: http://a/v1/metrics\n  url: b\n",
            3,
            "unknown key 'url' in otlp: known are ca_file, endpoint, headers_file, interval",
        ),
    ],
)
def test_faults_name_their_line(tmp_path: Path, text: str, line: int, told: str):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}:{line}: ")
    assert told in str(raised.value)
    assert "secret" not in str(raised.value)
