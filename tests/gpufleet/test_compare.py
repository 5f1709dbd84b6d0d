"""`gpufleet compare`: every difference to the exporter that is to be replaced, and whether its boards go on working."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.agent import Agent
from exporter.naming import ProfileName
from exporter.settings import Settings
from gpufleet.cli import main
from gpufleet.compare import Difference, Weight, differences, read
from tests import serving

CAPTURES = Path(__file__).parents[1] / "captures"
T4 = (CAPTURES / "dcgm-exporter-t4.prom").read_bytes()
README = (CAPTURES / "dcgm-exporter-readme.prom").read_bytes()


def ours(profile: ProfileName = "legacy") -> bytes:
    settings = Settings(gpu="simulated", node="n1", profile=profile, simulation={"started_at": 1.0, "seed": 1})
    return asyncio.run(Agent(settings).once())


@pytest.fixture(scope="module")
def page() -> bytes:
    return ours()


def compared(there: bytes, here: bytes) -> dict[str, Difference]:
    return {one.subject: one for one in differences(read(there), read(here), tolerance=0.1)}


def broken(there: bytes, here: bytes) -> dict[str, str]:
    return {name: one.hint for name, one in compared(there, here).items() if one.weight is Weight.BREAKS}


def without(page: bytes, pattern: str) -> bytes:
    return b"".join(line for line in page.splitlines(keepends=True) if not re.search(pattern.encode(), line))


def test_a_page_is_like_itself(page: bytes):
    assert differences(read(page), read(page), tolerance=0.0) == []
    assert differences(read(T4), read(T4), tolerance=0.0) == []


def test_a_recorded_page_of_dcgm_exporter_keeps_its_names(page: bytes):
    """Of another node, so its GPU is missed; of its families, those that a driver without vGPU does not give."""
    found = broken(T4, page)
    assert found["GPUs"] == "is this the same node?"
    assert found["label Hostname"] == "write `profile: hostname-upper`"
    assert found["DCGM_FI_DEV_COUNT"] == "not given by gpufleet"
    assert set(found) <= {
        "GPUs",
        "label Hostname",
        "label DCGM_FI_PROCESS_NAME",
        "DCGM_FI_DEV_COUNT",
        "DCGM_FI_DEV_VGPU_LICENSE_STATUS",
    }
    assert "label Hostname" not in broken(T4, ours("hostname-upper"))


def test_a_profile_is_named_that_would_give_what_is_missing(page: bytes):
    newer = ours("dcgm-4.9")
    found = broken(newer, page)
    assert found["DCGM_FI_DEV_GPU_TEMP_CELSIUS"] == "write `profile: dcgm-4.9`"
    assert found["DCGM_FI_DEV_SM_CLOCK_HERTZ"] == "write `profile: dcgm-4.9`"
    back = broken(page, newer)
    assert back["DCGM_FI_DEV_GPU_TEMP"] == "write `profile: legacy`"
    assert broken(page, ours("hostname-upper"))["label hostname"] == "write `profile: legacy`"


def test_a_gpu_a_family_and_a_label_that_are_gone_break_what_is_built_on_them(page: bytes):
    uuids = re.findall(rb'UUID="([^"]+)"', page)
    gone = uuids[0].decode()
    assert broken(page, without(page, gone)) == {gone: "does the agent see it? gpufleet doctor tells"}
    assert list(broken(page, without(page, r"^(# TYPE )?DCGM_FI_DEV_FB_FREE"))) == ["DCGM_FI_DEV_FB_FREE"]
    assert list(broken(page, page.replace(b'device="', b'dev="'))) == ["label device"]
    assert broken(without(page, gone), page) == {}


def test_another_unit_is_told_from_noise(page: bytes):
    def scaled(match: re.Match[bytes]) -> bytes:
        return match[1] + repr(float(match[2]) * 1000).encode()

    other = re.sub(rb"(?m)^(DCGM_FI_DEV_POWER_USAGE\{.*\} )(\S+)$", scaled, page)
    found = compared(page, other)["DCGM_FI_DEV_POWER_USAGE: unit"]
    assert (found.weight, found.hint) == (Weight.BREAKS, "here is 1,000 times as much: another unit".replace(",", ""))
    noisy = re.sub(rb"(?m)^(DCGM_FI_DEV_GPU_TEMP\{.*\} )(\S+)$", lambda m: m[1] + b"7", page, count=1)
    (name, told) = next(iter(compared(page, noisy).items()))
    assert name.startswith("DCGM_FI_DEV_GPU_TEMP, GPU-")
    assert (told.weight, told.here, told.hint) == (Weight.DIFFERS, "7", "1 of 8 series; read a moment apart, so noisy")


def test_blank_numbers_of_dcgm_are_no_figures(page: bytes):
    there = without(README, "_CLOCK")
    found = compared(there, without(page, "MEMORY_TEMP"))
    assert found["DCGM_FI_DEV_MEMORY_TEMP"].weight is Weight.NOTE
    assert not [name for name in found if name.startswith("DCGM_FI_DEV_MEMORY_TEMP:")]


MIG = """\
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-1",modelName="H200"} 900
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-1",modelName="H200",GPU_I_PROFILE="1g.18gb",GPU_I_ID="7"} 100
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-1",modelName="H200",GPU_I_PROFILE="1g.18gb",GPU_I_ID="8"} 200
# TYPE DCGM_EXP_CLOCK_EVENTS_TOTAL counter
DCGM_EXP_CLOCK_EVENTS_TOTAL{gpu="0",UUID="GPU-1",modelName="H200",clock_event="gpu_idle"} 3
DCGM_EXP_CLOCK_EVENTS_TOTAL{gpu="0",UUID="GPU-1",modelName="H200",clock_event="power_cap"} 4
"""


def test_instances_and_series_of_one_gpu_are_joined_each_to_its_own():
    turned = "".join(reversed(MIG.splitlines(keepends=True)))
    renamed = compared(MIG.encode(), turned.replace("H200", "H200 141GB").encode())
    assert {name: one.here for name, one in renamed.items()} == {"GPU-1: modelName": "H200 141GB"}
    gone = without(MIG.encode(), 'GPU_I_ID="8"')
    assert list(broken(MIG.encode(), gone)) == ["GPU-1, GPU_I_ID 8"]
    swapped = MIG.replace('"7"} 100', '"7"} 200').replace('"8"} 200', '"8"} 100').encode()
    (told,) = compared(MIG.encode(), swapped).values()
    assert (told.weight, told.hint) == (Weight.DIFFERS, "2 of 3 series; read a moment apart, so noisy")


def test_an_exporters_own_families_are_nobodys_panel(page: bytes):
    assert compared(page + b"go_goroutines 7\nprocess_open_fds 3\n", page) == {}


def test_the_command_compares_two_running_exporters(page: bytes, capsys: pytest.CaptureFixture[str]):
    with serving.page(page, "/metrics") as one, serving.page(page, "/metrics") as other:
        assert main(["compare", f"{one}/metrics", "--with", f"{other}/metrics"]) == 0
        assert "boards of the other go on working" in capsys.readouterr().out
        assert main(["compare", f"{one}/other", "--with", f"{other}/metrics"]) == 1
        assert f"{one}/other: answered 401; save its page with curl" in capsys.readouterr().err


def test_the_command_makes_our_page_of_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    config = tmp_path / "agent.yaml"
    config.write_text("gpu: simulated\nnode: n1\nsimulation: {started_at: 1.0}\n")
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["compare", str(CAPTURES / "dcgm-exporter-t4.prom"), "--config", str(config)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^    what +there +here +what to know", out, re.MULTILINE)
    assert re.search(r"label Hostname +yes +no +write `profile:", out)
    assert max(map(len, out.splitlines())) <= 100
    assert "boards of the other would miss something" in out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("go_goroutines 7\n", "has no family that begins with DCGM_; give the page of a dcgm-exporter"),
        ("<html>\n", "line 1: "),
    ],
)
def test_what_is_no_page_of_gpus_is_told(
    text: str, told: str, tmp_path: Path, page: bytes, capsys: pytest.CaptureFixture[str]
):
    there, here = tmp_path / "there.prom", tmp_path / "here.prom"
    there.write_text(text)
    here.write_bytes(page)
    assert main(["compare", str(there), "--with", str(here)]) == 1
    assert f"{there}: {told}" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "none"), "--with", str(here)]) == 1
    assert f"{tmp_path / 'none'}: cannot be read: No such file" in capsys.readouterr().err


def test_nobody_there_is_told(free_port: Callable[[], int], page: bytes, capsys: pytest.CaptureFixture[str]):
    with serving.page(page) as one:
        assert main(["compare", f"{one}/metrics", "--with", f"http://127.0.0.1:{free_port()}/metrics"]) == 1
    assert "refused the connection; is it running, and is this its address?" in capsys.readouterr().err
