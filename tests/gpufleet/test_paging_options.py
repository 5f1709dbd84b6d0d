"""Who is told, and by which replica: options of `slo serve` and `up`."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from exporter.model import InputError
from gpufleet import paging
from gpufleet.cli import main
from tests.gpufleet.test_slo_serve import SLOS, get, serving

URL = "http://127.0.0.1:9093"


def said(*words: str) -> paging.Paging:
    parser = argparse.ArgumentParser()
    paging.configure(parser)
    return paging.paging_of(parser.parse_args(words))


def test_nobody_is_told_unless_somebody_is_named() -> None:
    assert not paging.tells(said())
    assert not paging.tells(said("--notify", "ordinal-0"))
    assert paging.tells(said("--alertmanager", URL))


@pytest.mark.parametrize(("name", "tells"), [("gpufleet-0", True), ("gpufleet-1", False), ("gpufleet-10", False)])
def test_of_several_replicas_the_first_tells(name: str, tells: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", name)
    assert paging.tells(said("--alertmanager", URL, "--notify", "ordinal-0")) is tells
    assert paging.tells(said("--alertmanager", URL))


def test_a_replica_without_a_number_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "gpufleet")
    with pytest.raises(InputError, match="'gpufleet' has no number at its end"):
        paging.tells(said("--alertmanager", URL, "--notify", "ordinal-0"))


@pytest.mark.parametrize(("key", "told"), [(None, "cannot be read"), ("  \n", "key:1: empty")])
def test_a_key_file_without_a_key_is_refused(key: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if key is not None:
        path.write_text(key)
    with pytest.raises(InputError, match=told):
        said("--pagerduty-key-file", str(path))


def test_faults_of_the_settings_end_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slos.yaml").write_text(SLOS)
    (tmp_path / "alerts.yml").write_text("clustr: a\n")
    command = ["slo", "serve", "--slos", str(tmp_path / "slos.yaml"), "--agent", "http://127.0.0.1:9"]
    assert main([*command, "--alertmanager", URL, "--alert-settings", str(tmp_path / "alerts.yml")]) == 1
    assert f"{tmp_path / 'alerts.yml'}:1: unknown key 'clustr'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "active"), [("gpufleet-0", 1), ("gpufleet-1", 0)])
def test_the_service_says_whether_it_is_the_one(
    name: str, active: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slos.yaml").write_text(SLOS)
    (tmp_path / "key").write_text("k" * 32)
    monkeypatch.setenv("POD_NAME", name)
    more = ("--pagerduty-key-file", str(tmp_path / "key"), "--pagerduty-url", "http://127.0.0.1:9/v2/enqueue")
    with serving(tmp_path, more=(*more, "--notify", "ordinal-0")) as (_process, url):
        status, page = get(f"{url}/metrics")
        assert (status, f"gpufleet_notifier_active {active:.1f}" in page) == (200, True)
        assert ("gpufleet_notifications_waiting" in page) is bool(active)
