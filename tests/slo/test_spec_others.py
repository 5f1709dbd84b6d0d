"""Published files of Sloth, Pyrra and OpenSLO: all load, all that can be counted become rules, nothing is dropped."""

import copy
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.rules import render
from slo.model import Location
from slo.spec import load, reports_of

SPECS = Path(__file__).parents[1] / "captures" / "specs"
FILES = {  # usable and unsupported SLOs
    "openslo/alert_policies.yaml": (0, 0),
    "openslo/data_sources.yaml": (0, 0),
    "openslo/occurences-slo.yaml": (0, 1),
    "openslo/ratio-timeslices.yaml": (0, 1),
    "openslo/services.yaml": (0, 0),
    "openslo/slis.yaml": (0, 0),
    "openslo/slos.yaml": (1, 0),
    "openslo/timeslices-slo.yaml": (0, 2),
    "openslo/v1_slos.yaml": (1, 0),
    "pyrra/caddy-response-latency.yaml": (1, 0),
    "pyrra/nginx.yaml": (2, 0),
    "pyrra/parca-grpc-queryrange-errors.yaml": (1, 0),
    "pyrra/prometheus-http.yaml": (1, 0),
    "pyrra/prometheus-probe-success.yaml": (1, 0),
    "pyrra/pyrra-connect-errors.yaml": (1, 0),
    "pyrra/pyrra-connect-latency.yaml": (1, 0),
    "pyrra/pyrra-filesystem-errors.yaml": (1, 0),
    "pyrra/slo-apiserver-read-resource-latency.yaml": (1, 0),
    "pyrra/slo-prometheus-operator-reconcile-errors.yaml": (1, 0),
    "pyrra/slo-prometheus-sd-kubernetes-errors.yaml": (1, 0),
    "sloth/contrib-denominator-corrected.yaml": (1, 0),
    "sloth/getting-started.yml": (1, 0),
    "sloth/good-aa.yaml": (2, 0),
    "sloth/home-wifi.yml": (2, 0),
    "sloth/k8s-home-wifi.yml": (2, 0),
    "sloth/k8s-multifile.yml": (2, 0),
    "sloth/kubernetes-apiserver.yml": (2, 0),
    "sloth/no-alerts.yml": (1, 0),
    "sloth/plugin-k8s-getting-started.yml": (0, 1),
    "sloth/raw-home-wifi.yml": (1, 0),
    "sloth/slo-plugin-getting-started.yml": (1, 0),
    "sloth/victoria-metrics.yml": (0, 2),
}
UNSAID = ("indicator.metadata.name", "labels.category", "timeWindow.0.isRolling")
"""The name of what stands in its place; a label that its file sets twice, to the same value; what a calendar is."""


def test_every_published_file_is_in_the_table():
    assert {str(path.relative_to(SPECS)) for path in SPECS.rglob("*.y*ml")} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_published_files_load(name):
    (report,) = reports_of([SPECS / name])
    assert report.problems == ()
    assert (len(report.slos), len(report.unsupported)) == FILES[name]
    lines = len((SPECS / name).read_text().splitlines())
    for told in (*report.unsupported, *report.notes):
        file, line, _ = told.split(":", 2)
        assert file == str(SPECS / name)
        assert 1 <= int(line) <= lines


def test_every_usable_one_becomes_rules_that_prometheus_takes(binary, tmp_path):
    slos = {slo.id: slo for name in FILES for slo in reports_of([SPECS / name])[0].slos}
    (tmp_path / "rules.yaml").write_text(render(list(slos.values())))
    done = subprocess.run(
        [binary("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def outcome(path: Path) -> tuple[Any, ...]:
    """What a file gives, without the lines, which move when something is taken out."""
    (report,) = reports_of([path])
    slos = [replace(slo, location=Location("", 0)) for slo in report.slos]
    return slos, *([told.split(":", 2)[2] for told in of] for of in (report.unsupported, report.problems, report.notes))


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every single value."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, (*path, key))
    elif node not in (None, ""):
        yield path


@pytest.mark.parametrize("name", [name for name in FILES if FILES[name][0]])
def test_nothing_that_a_usable_file_says_is_dropped_in_silence(name, tmp_path):
    """Taking any single value out changes an SLO, or what is told of the file."""
    documents = list(yaml.safe_load_all((SPECS / name).read_text()))
    file = tmp_path / "file.yaml"
    file.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    before = outcome(file)
    silent = []
    for path in leaves(documents):
        changed = copy.deepcopy(documents)
        node: Any = changed
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]
        file.write_text(yaml.safe_dump_all(changed, sort_keys=False))
        told = "\n".join(before[3])
        noted = any(isinstance(step, str) and f"{step} is not used" in told for step in path)
        if outcome(file) == before and not noted:
            silent.append(".".join(map(str, path)))
    assert [path for path in silent if not path.endswith(UNSAID)] == []


def test_references_are_found_in_the_other_files_of_a_directory(tmp_path):
    (tmp_path / "a.yaml").write_text(REFERRING)
    (tmp_path / "b.yaml").write_text(REFERRED)
    (slo,) = load([tmp_path])
    assert str(slo.indicator) == 'good http_total{code="200"} of total http_total'
    (report,) = reports_of([tmp_path / "a.yaml"])
    assert report.problems == (
        f"{tmp_path}/a.yaml:7: indicatorRef 'answered' is in none of the files: give the file with this SLI too",
    )


REFERRING = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: answers}
spec:
  service: web
  budgetingMethod: Occurrences
  indicatorRef: answered
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{target: 0.99}]
"""
REFERRED = """\
apiVersion: openslo/v1
kind: SLI
metadata: {name: answered}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {metricSourceRef: here, spec: {query: 'sum(http_total{code="200"})'}}}
    total: {metricSource: {metricSourceRef: here, spec: {query: sum(http_total)}}}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: here}
spec: {type: Prometheus}
"""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_broken_file_is_told_of_and_never_brings_a_traceback(tmp_path, data):
    """Published files with a piece cut out, and with YAML's and PromQL's own characters put in."""
    text = (SPECS / data.draw(st.sampled_from([name for name in FILES if sum(FILES[name])]))).read_text()
    at = data.draw(st.integers(0, len(text)))
    to = data.draw(st.integers(at, min(len(text), at + 30)))
    word = data.draw(st.text(st.sampled_from("[]{}:,#&*!|>'\"%@`- \n\tab019.?<=~()$\\"), max_size=6))
    file = tmp_path / "fuzz.yaml"
    file.write_text(text[:at] + word + text[to:])
    (report,) = reports_of([file])
    for told in (*report.problems, *report.unsupported, *report.notes):
        assert told.startswith(f"{file}:")
        assert "\n" not in told
    render(report.slos)
