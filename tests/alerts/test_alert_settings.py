"""Settings of alerts: every fault has its line; what is refused would have gone wrong at night."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.settings import Settings
from alerts.settings_file import load
from exporter.model import InputError


def test_no_file_and_an_empty_one_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text("")
    assert load(tmp_path / "alerts.yaml") == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("severities: {tickt: low}", "1: 'tickt' is no severity of ours: did you mean 'ticket'?"),
        ("severities: {page: high, ticket: high}", "1: severities would be high, high, info: give each its own word"),
        ("severities: {page: ticket}", "1: severities would be ticket, ticket, info"),
        ("labels: {slo_id: x}", "1: alerts have a label 'slo_id' of their own"),
        ("labels: {a-b: x}", "1: 'a-b' is not a label name"),
        ("labels:\n  ok: x\n  severity: x", "3: alerts have a label 'severity' of their own"),
        ("team_label: a b", "1: 'a b' is not a label name"),
        ("pagerduty_url: example.org", "1: 'example.org' is not a URL"),
        ("links:\n  page: slo.example.org", "2: 'slo.example.org' is not a URL"),
        ("timing: {group_wait: soon}", "1: 'soon' is not a duration"),
        ("timing: {group_wait: 0s}", "1: '0s' is not a duration"),
        ("operator: {name: A_B}", "1: not a name that Kubernetes takes"),
        ("receivers: {page: {webhook: {url: http://a}}}", "1: no receiver 'ticket': add it"),
        ("receivers:\n  page: {}\n  ticket: {webhook: {url: http://a}}", "2: receiver 'page' sends nowhere"),
        ("receivers:\n  nobody: {webhook: {url: http://a}}", "2: 'nobody' is where info goes"),
        ("receivers:\n  page: {webhook: {url: a}}", "2: not a URL"),
        ("receivers:\n  page: {email: {to: a, from: b, smarthost: mail}}", "2: not a mail server"),
        ("receivers:\n  page: {email: {to: a, smarthost: 'mail:25'}}", "2: email has no 'from': add it"),
        ("receivers:\n  page: {pager: {}}", "2: unknown key 'pager' in receivers.page: did you mean 'pagerduty'?"),
        ("teams:\n  a: {page: pag}", "2: team 'a' has no receiver 'pag' to go to: did you mean 'page'?"),
        ("office_hours: {times: []}", "1: no times"),
        ("office_hours:\n  times:\n    - '17:00-09:00'", "3: '17:00-09:00' is no span of a day"),
        ("office_hours:\n  times: ['09:00-17:00']\n  weekdays: [moonday]", "3: 'moonday' is no weekday"),
        (
            "office_hours:\n  times: ['09:00-17:00']\n  weekdays: ['saturday:sunday']",
            "3: 'saturday:sunday': a week begins",
        ),
        ("office_hours:\n  times: ['09:00-17:00']\n  time_zone: Mars/North", "3: 'Mars/North' is no time zone"),
        ("cluster: a\n---\ncluster: b", "3: a second document"),
        ("recievers: {}", "1: unknown key 'recievers' in the file: did you mean 'receivers'?"),
        ("cluster: [", "not valid YAML"),
        ("- a", "1: the file must be a mapping"),
    ],
)
def test_a_fault_is_told_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text(text + "\n")
    with pytest.raises(InputError) as error:
        load(path)
    assert any(line.startswith(f"{path}:") and told in line for line in str(error.value).splitlines()), error.value


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text("labels: {le: x}\nteam_label: ''\ntiming: {repeat_interval: x}\n")
    with pytest.raises(InputError) as error:
        load(path)
    assert [line.split(":")[1] for line in str(error.value).splitlines()] == ["1", "2", "3"]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.yaml")
