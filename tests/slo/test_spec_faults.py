"""Each kind of fault in an SLO file, with its exact line and message."""

from pathlib import Path

import pytest

from exporter.model import InputError
from slo.signals import SIGNALS
from slo.spec import EXAMPLE, load

HEAD = "apiVersion: gpufleet/v1\nservice: chat\n"
GOOD = "{name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d"


def faults(tmp_path, text: str | bytes) -> list[str]:
    file = tmp_path / "slos.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as raised:
        load([tmp_path])
    return str(raised.value).replace(f"{tmp_path}/", "").splitlines()


def slo(**changed: str | None) -> str:
    """A file with one SLO, one key a line from line 4 on: name, signal, threshold, objective, window, then the rest."""
    keys = {"name": "ttft", "signal": "ttft", "threshold": "500ms", "objective": "95%", "window": "30d"} | changed
    lines = [f"{key}: {value}" for key, value in keys.items() if value is not None]
    return HEAD + "slos:\n  - " + "\n    ".join(lines) + "\n"


AVAILABILITY = {"name": "up", "signal": "availability", "threshold": None}

ONE_SLO = [
    (slo(name="TTFT"), 4, "name 'TTFT' must be 1 to 63 of a-z, 0-9 and -, with a letter or digit first and last"),
    (slo(name="yes"), 4, 'name must be text, not yes: write "yes" in quotes'),
    (slo(signal="tftt"), 5, "signal 'tftt' is not supported: did you mean 'ttft'?"),
    (slo(signal="price"), 5, f"signal 'price' is not supported: known are {', '.join(sorted(SIGNALS))}"),
    (slo(threshold="500"), 6, "threshold must be a number with its unit, not 500: write 500ms or 500s"),
    (slo(threshold="0.5 s"), 6,
     "threshold: '0.5 s' is not a duration: write a positive number and a unit, like 500ms or 2s"),
    (slo(threshold="0ms"), 6,
     "threshold: '0ms' is not a duration: write a positive number and a unit, like 500ms or 2s"),
    (slo(threshold=None), 4, "signal 'ttft' needs a threshold: add one, like threshold: 500ms"),
    (slo(threshold=""), 6, "threshold must be a number with its unit, not empty"),
    (slo(objective="100%"), 7, "objective 100% leaves no budget: write less, like 99.9%"),
    (slo(objective="1"), 7, "objective 1 leaves no budget: write less, like 99.9%"),
    (slo(objective="99.9"), 7, "objective 99.9 leaves no budget: write 99.9%"),
    (slo(objective="0"), 7, "objective 0 asks for nothing: write more, like 95%"),
    (slo(objective="0%"), 7, "objective 0% asks for nothing: write more, like 95%"),
    (slo(objective="-5%"), 7, "objective: '-5%' is not a ratio: write it like 95% or 0.95"),
    (slo(objective="most"), 7, "objective: 'most' is not a ratio: write it like 95% or 0.95"),
    (slo(objective="[95%]"), 7, "objective must be text or a number, not a list"),
    (slo(objective="20%"), 7,
     "objective 20% is too low for any alert to fire: write 50% or more, or disable page and ticket under alerting"),
    (slo(objective=None), 4, "the SLO has no 'objective': add it"),
    (slo(window="30"), 8,
     'window must be a number with its unit or a mapping of keys to values, not 30: write 30d or 30w'),
    (slo(window="a month"), 8,
     "window: 'a month' is not a window: write a whole number and a unit, like 30d, 4w or 12h"),
    (slo(window="{calendar: moon}"), 8, "window: calendar 'moon' is not known: did you mean 'month'?"),
    (slo(window="{calendar: month, time_zone: Europe/Bonn}"), 8,
     "window: time zone 'Europe/Bonn' is not known: write one like Europe/Berlin or UTC"),
    (slo(window="{time_zone: UTC}"), 8, "window has no 'calendar': add it"),
    (slo(window="500d"), 8, "window: '500d' is out of range: a window lasts from 1h to 400d"),
    (slo(window="9h"), 8, "window 9h is too short for any alert to fire: write a longer one, like 1d or 30d"),
    (slo(treshold="1s"), 9, "unknown key 'treshold' in the SLO: did you mean 'threshold'?"),
    (slo(method="timeslices"), 4, "minutes of signal 'ttft' need max_error_ratio: add the share of events that may be "
     "bad in a good minute, like max_error_ratio: 5%"),
    (slo(signal="gpu_health", threshold=None, method="timeslices", max_error_ratio="5%"), 8,
     "signal 'gpu_health' cannot be counted by timeslices: write method: occurrences"),
    (slo(method="timeslices", max_error_ratio="5%", scale_to_zero="true"), 11,
     "scale_to_zero is for signal availability with method timeslices: remove it"),
    (slo(native="true"), 9, "native is for signal latency: remove it, or write signal: latency"),
    (slo(method="minutes"), 9, "method 'minutes' is not known: known are occurrences, timeslices"),
    (slo(edge="uper"), 9, "edge 'uper' is not known: did you mean 'upper'?"),
    (slo(max_error_ratio="1%"), 9, "max_error_ratio is for method timeslices: remove it"),
    (slo(scale_to_zero="true"), 9, "scale_to_zero is for signal availability with method timeslices: remove it"),
    (slo(**AVAILABILITY, edge="upper"), 8,
     "edge is for signals with a threshold, which 'availability' has not: remove it"),
    (slo(**AVAILABILITY | {"threshold": "1s"}), 6, "signal 'availability' has no threshold: remove it"),
    (slo(**AVAILABILITY, method="occurrences", start_grace="1m"), 9,
     "start_grace is for signal availability with method timeslices: remove it"),
    (slo(**AVAILABILITY, start_grace="500ms"), 8, "start_grace 500ms is not in whole seconds: write one like 15m"),
    (slo(**AVAILABILITY, max_error_ratio="100%"), 8, "max_error_ratio 100% is never passed: write less, like 1%"),
    (slo(**AVAILABILITY, scale_to_zero="maybe"), 8, "scale_to_zero must be true or false, not maybe"),
    (slo(group_by="model_name"), 9, "group_by must be a list, like [a, b], not model_name"),
    (slo(group_by="[model_name, le]"), 9, "group_by: label 'le' is reserved: group by another, like model_name"),
    (slo(group_by="[slo_id]"), 9, "group_by: label 'slo_id' is reserved: group by another, like model_name"),
    (slo(group_by="[pod, pod]"), 9, "group_by: 'pod' stands twice: remove one"),
    (slo(group_by="[a-b]"), 9, "group_by: 'a-b' is not a label name"),
    (slo(**AVAILABILITY, group_by="[dp_rank]"), 8,
     "group_by: no series of signal 'availability' has the label 'dp_rank': leave it out"),
    (slo(labels="{severity: high}"), 9, "labels: label 'severity' is reserved: choose another name"),
    (slo(labels="{team: [a]}"), 9, "labels.team must be a single value, not a list"),
    (slo(annotations="{a b: c}"), 9, "annotations: 'a b' is not a label name"),
    (slo(alerting="{page: {disabled: true}}"), 9, "unknown key 'disabled' in page: did you mean 'disable'?"),
    (slo(alerting="{pager: {}}"), 9, "unknown key 'pager' in alerting: did you mean 'page'?"),
    (slo(objective="9" * 5000), 7,
     "9999999999999999999999999999999999999999 is not a number that can be read: write a shorter one"),
    (slo(selector="llama"), 9, "selector must be a mapping of keys to values, not llama"),
    (slo(selector="{model_name: }"), 9,
     "selector.model_name must be a single value, a list or a mapping of keys to values, not empty"),
    (slo(selector="{model_name: []}"), 9, "selector: the list of model_name is empty: write at least one value"),
    (slo(selector="{le: 0.5}"), 9, "selector: label 'le' is set by the signal itself: remove it"),
    (slo(selector="{model-name: a}"), 9, "selector: 'model-name' is not a label name"),
    (slo(selector="{pod: {}}"), 9, "selector: pod says nothing: write a value, a list, {regex: …} or {not: …}"),
    (slo(selector="{pod: {regexp: a}}"), 9, "unknown key 'regexp' in selector.pod: did you mean 'regex'?"),
    (slo(selector="{pod: {regex: '('}}"), 9,
     "selector: pod: regular expression '(' is not valid: missing ), unterminated subpattern at position 0"),
    (slo(selector="{pod: {not: {regex: 'a(?=b)'}}}"), 9,
     "selector: pod: regular expression 'a(?=b)' is not known to RE2: "
     "leave out look-around, back references and the like"),
    (slo(selector="{pod: {regex: 'a++'}}"), 9,
     "selector: pod: regular expression 'a++' is not known to RE2: "
     "leave out possessive repeats, {,n}, \\u and flags other than i, m and s"),
    (slo(selector="{pod: {regex: 'a{2000}'}}"), 9,
     "selector: pod: regular expression 'a{2000}' repeats more than 1000 times, which RE2 refuses: repeat less"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), ONE_SLO)
def test_fault_of_one_slo(tmp_path, text, line, message):
    assert faults(tmp_path, text)[-1] == f"slos.yaml:{line}: {message}"


FILES = [
    ("", 1, f"the file is empty: write one like {EXAMPLE}"),
    ("just text\n", 1, f"not an SLO file: write one like {EXAMPLE}"),
    ("service: chat\n", 1, "the document has no apiVersion: add apiVersion: gpufleet/v1"),
    ("apiVersion: v2\n", 1, "apiVersion 'v2' is not supported: known are gpufleet/v1, prometheus/v1, "
        "sloth.slok.dev/v1, openslo/v1, pyrra.dev/v1alpha1"),
    (HEAD, 1, "slos must be a list with at least one SLO: write - {name: …, signal: …}"),
    (HEAD + "slos: []\n", 3, "slos must be a list with at least one SLO: write - {name: …, signal: …}"),
    (HEAD + "slos: [ttft]\n", 3, "the SLO must be a mapping of keys to values, not ttft"),
    (HEAD + f"slo: 1\nslos: [{GOOD}}}]\n", 3, "unknown key 'slo' in the file: did you mean 'slos'?"),
    (HEAD + f"owner: me\nslos: [{GOOD}}}]\n", 3, "unknown key 'owner' in the file: write it in each SLO under slos"),
    (f"apiVersion: gpufleet/v1\nslos: [{GOOD}}}]\n", 1, "the file has no 'service': add it"),
    (f"apiVersion: gpufleet/v1\nservice: Chat\nslos: [{GOOD}}}]\n", 2,
     "service 'Chat' must be 1 to 63 of a-z, 0-9 and -, with a letter or digit first and last"),
    (HEAD + "service: b\n", 3, "key 'service' stands twice, first on line 2: remove one"),
    (HEAD + "slos: &a [*a]\n", 3, "*a stands for nothing: write &a before it"),
    (HEAD + "<<: {a: b}\n", 3, "merge keys (<<) are not supported: write the keys out"),
    (HEAD + "slos: !!python/object:os.system []\n", 3,
     "the tag tag:yaml.org,2002:python/object:os.system is not supported: leave it out"),
    (HEAD + "slos: " + "[" * 30 + "]" * 30 + "\n", 3, "nested deeper than 16 levels: write fewer"),
    ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)), 5,
     "more than 100000 values, aliases written out: split the file"),
    (HEAD.encode() + b"slos: \xff\n", 3, "the file is not UTF-8 text: save it as UTF-8"),
    (b" " * (1 << 20) + b"\n", 1, "the file is larger than 1 MiB: split it"),
    (HEAD + "slos: [\n", 4, "not valid YAML: while parsing a flow node, did not find expected node content"),
    (HEAD + "slos: \x07\n", 3, "not valid YAML: a control character: remove it"),
    (HEAD + "slos:\n\t- a\n", 4,
     "not valid YAML: while scanning for the next token, found character that cannot start any token"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), FILES)
def test_fault_of_a_file(tmp_path, text, line, message):
    assert faults(tmp_path, text)[0] == f"slos.yaml:{line}: {message}"


def test_all_faults_of_all_files_are_told_together(tmp_path):
    (tmp_path / "a.yaml").write_text(slo(objective="100%", window="9m") + slo().replace(HEAD + "slos:\n", ""))
    (tmp_path / "b.yml").write_text(slo(name="A_B") + "---\n" + slo(name="other", threshold="soon"))
    (tmp_path / "ignored.txt").write_text("not YAML: [")
    with pytest.raises(InputError) as raised:
        load([tmp_path])
    told = [line.split(": ")[0].rsplit("/")[-1] for line in str(raised.value).splitlines()]
    assert told == ["a.yaml:7", "a.yaml:8", "b.yml:4", "b.yml:15"]


def test_an_id_is_unique_over_all_files_and_both_places_are_named(tmp_path):
    (tmp_path / "a.yaml").write_text(slo())
    (tmp_path / "b.yaml").write_text(slo(name="a-ttft") + "---\n" + slo().replace("chat", "chat-a"))
    with pytest.raises(InputError) as raised:
        load([tmp_path / "b.yaml", tmp_path])
    assert str(raised.value) == (
        f"{tmp_path}/b.yaml:13: id 'chat-a-ttft' is taken by {tmp_path}/b.yaml:4: change service or name"
    )
    (tmp_path / "b.yaml").write_text(slo())
    with pytest.raises(InputError, match=r"b\.yaml:4: id 'chat-ttft' is taken by .*a\.yaml:4: change service or name"):
        load([tmp_path])


def test_a_path_at_fault_says_what_to_write(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: no such file or directory: name a file"):
        load([tmp_path / "none.yaml"])
    with pytest.raises(InputError) as raised:
        load([tmp_path])
    assert str(raised.value) == f"{tmp_path}: no *.yaml or *.yml file here: write one like {EXAMPLE}"
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match=r"gone\.yaml:1: cannot be read \(No such file or directory\)"):
        load([tmp_path])


def test_an_endless_file_is_refused():
    with pytest.raises(InputError, match="larger than 1 MiB"):
        load([Path("/dev/zero")])
