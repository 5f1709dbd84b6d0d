"""The native format: what a good file becomes, its JSON Schema, and that no bytes whatever bring a traceback."""

import json
from decimal import Decimal
from pathlib import Path

import jsonschema
import promql_parser
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exporter.model import InputError
from slo.model import Edge, Location, Method
from slo.spec import EXAMPLE, load, reports_of, schema

FULL = """\
# A comment, and every key.
apiVersion: gpufleet/v1
service: chat
selector:
  model_name: [llama-3.1-8b, qwen3]
  node: {regex: "gpu-.*", not: gpu-7}
  dp_rank: 010
slos:
  - name: ttft
    signal: ttft
    threshold: 1.5s
    objective: 99.90%
    window: 4w
    edge: lower
    group_by: [model_name, namespace]
    selector: {model_name: {not: [a.b, c]}, simulated: {not: true}}
    description: Most answers start at once.
    owner: search
    labels: {team: search, tier: 1}
    annotations: {docs: "https://example.org/x"}
    alerting:
      page: {labels: {pager: "on"}}
      ticket: {disable: true}
---
apiVersion: gpufleet/v1
service: batch
slos:
  - {name: up, signal: availability, objective: 0.95, window: 90d, max_error_ratio: 2%, scale_to_zero: true,
     start_grace: 30m}
  - {name: up-requests, signal: availability, method: occurrences, objective: "0.5", window: 7d}
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "full.yaml").write_text(FULL)
    return tmp_path


def test_every_key_reaches_the_slo(files):
    ttft, up, requests = load([files])
    assert (ttft.id, ttft.objective, ttft.budget_ratio) == ("chat-ttft", Decimal("0.999"), Decimal("0.001"))
    assert (ttft.threshold_seconds, ttft.window.text, ttft.window.seconds) == (Decimal("1.5"), "4w", 28 * 86400)
    assert (ttft.method, ttft.edge, ttft.group_by) == (Method.OCCURRENCES, Edge.LOWER, ("model_name", "namespace"))
    assert [str(matcher) for matcher in ttft.selector] == [
        'dp_rank="010"',
        r'model_name!~"a\\.b|c"',
        'node=~"gpu-.*"',
        'node!="gpu-7"',
        'simulated!="true"',
    ]
    assert (ttft.description, ttft.owner) == ("Most answers start at once.", "search")
    assert (ttft.labels, ttft.annotations) == ({"team": "search", "tier": "1"}, {"docs": "https://example.org/x"})
    assert (ttft.page.disabled, ttft.page.labels, ttft.ticket.disabled) == (False, {"pager": "on"}, True)
    assert ttft.location == Location(str(files / "full.yaml"), 9)

    assert (up.id, up.objective, up.method, up.selector) == ("batch-up", Decimal("0.95"), Method.TIMESLICES, ())
    assert (up.max_error_ratio, up.scale_to_zero, up.start_grace_seconds) == (Decimal("0.02"), True, 1800)
    assert (requests.method, requests.objective) == (Method.OCCURRENCES, Decimal("0.5"))
    assert (requests.max_error_ratio, requests.start_grace_seconds) == (Decimal("0.01"), 900)


def test_a_merged_selector_selects_what_it_says(files):
    ttft = load([files])[0]
    here = {"model_name": "llama-3.1-8b", "node": "gpu-1", "dp_rank": "010"}
    assert ttft.selects(here)
    for label, value in (("model_name", "a.b"), ("node", "gpu-7"), ("node", "x-gpu-1"), ("simulated", "true")):
        assert not ttft.selects(here | {label: value})
    assert ttft.selects(here | {"model_name": "axb"})  # a dot in a list is a dot


def test_a_directory_is_read_in_order_once_and_without_hidden_files(files):
    (files / "b.yml").write_text(FULL.replace("chat", "b").replace("batch", "b2"))
    (files / ".hidden.yaml").write_text("[")
    (files / "..data").mkdir()
    assert [slo.service for slo in load([files / "full.yaml", files])] == ["chat", "batch", "batch", "b", "b2", "b2"]
    assert [slo.service for slo in load([files])] == ["b", "b2", "b2", "chat", "batch", "batch"]


def test_reports_count_what_is_usable_beside_what_is_not(files):
    (files / "bad.yaml").write_text(FULL.replace("chat", "x").replace("batch", "y").replace("4w", "1h"))
    bad, full = reports_of([files])
    assert ([slo.id for slo in bad.slos], len(bad.problems), len(full.slos)) == (["y-up", "y-up-requests"], 1, 3)


def test_the_example_that_messages_show_is_a_good_file(tmp_path):
    (tmp_path / "example.yaml").write_text(EXAMPLE)
    assert [slo.id for slo in load([tmp_path])] == ["chat-ttft"]


def test_schema_is_up_to_date():
    written = schema.PATH.read_text(encoding="utf-8")
    assert written == schema.render(), "out of date: run python -m slo.spec.schema"


def test_schema_agrees_with_the_reader():
    validator = jsonschema.Draft202012Validator(json.loads(schema.render()))
    for document in yaml.safe_load_all(FULL):
        validator.validate(document)
    good = yaml.safe_load(FULL.split("---", maxsplit=1)[0])
    for key, value in (
        ("signal", "tftt"),
        ("objective", "most"),
        ("objektive", "1"),
        ("threshold", None),
        ("name", "A"),
    ):
        changed = {**good, "slos": [{**good["slos"][0], key: value}]}
        assert not validator.is_valid(changed), key
    presets = {key: value for key, value in good.items() if key != "slos"}
    assert not validator.is_valid(presets)
    assert validator.is_valid({**presets, "presets": [{"preset": "guidellm-chat", "window": "30d"}]})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@example(None)
def test_no_input_brings_anything_but_an_input_error(tmp_path, data):
    file = Path(tmp_path) / "fuzz.yaml"
    if data is None:
        body = FULL.encode().replace(b"4w", b"2001-99-99")  # looks like a date, is none
    else:
        body = data.draw(st.one_of(st.binary(max_size=200), _edited()))
    file.write_bytes(body)
    try:
        load([file])
    except InputError as error:
        for line in str(error).splitlines():
            assert line.startswith(f"{file}:")


@st.composite
def _edited(draw) -> bytes:
    """A good file with a piece cut out and YAML's own characters put in."""
    at = draw(st.integers(0, len(FULL)))
    to = draw(st.integers(at, min(len(FULL), at + 20)))
    word = draw(st.text(st.sampled_from("[]{}:,#&*!|>'\"%@`- \n\tab019.?<=~"), max_size=6))
    return (FULL[:at] + word + FULL[to:]).encode()


_VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_VALUES, min_size=1, max_size=4, unique=True), _VALUES)
def test_a_list_selects_its_values_and_nothing_else(tmp_path, values, other):
    """Whatever characters they have: dots, pipes and brackets stand for themselves, in Python and in PromQL."""
    file = Path(tmp_path) / "list.yaml"
    document = yaml.safe_load(EXAMPLE) | {"selector": {"pod": values}}
    file.write_text(yaml.safe_dump(document, allow_unicode=True))
    (matcher,) = load([file])[0].selector
    assert all(matcher.matches({"pod": value}) for value in values)
    assert matcher.matches({"pod": other}) == (other in values)
    parsed = promql_parser.parse(f"up{{{matcher}}}")
    assert isinstance(parsed, promql_parser.VectorSelector)
    assert [(m.name, m.value) for m in parsed.matchers.matchers] == [("pod", matcher.value)]
