"""DCGM's figures beside our own: they fill gaps of GPUs that answered, under our labels, and nothing stands twice."""

from __future__ import annotations

from exporter.attribution import Attribution
from exporter.facts import DcgmFigure, Gpu, Holding
from exporter.metrics import gpu, health, profiling
from exporter.model import Collected, Family, Health, Reading, Series, labels_of

A, B = "GPU-a", "GPU-b"
GPUS = (Gpu(A, "0", "nvidia0"), Gpu(B, "1", "nvidia1"))


def line(of: Family, uuid: str = A, **labels: str) -> Series:
    return Series(of, labels_of({"UUID": uuid, "gpu": "0", "modelName": "A100", "node": "n1", **labels}))


TEMPERATURE = line(gpu.GPU_TEMP)
MISSING = line(health.READING_MISSING, family=profiling.DRAM_ACTIVE.name, reason="unsupported")
ACTIVE = DcgmFigure(profiling.DRAM_ACTIVE, A, "", 0.5)


def page(
    *figures: DcgmFigure,
    series: tuple[Series, ...] = (TEMPERATURE, MISSING),
    others: tuple[object, ...] = (),
    attribution: Attribution | None = None,
) -> list[Reading]:
    ours = Collected(tuple(Reading(one, 40) for one in series), Health("nvml", True, 0.0), GPUS)
    dcgm = Collected((), Health("dcgm", True, 0.0), (*figures, *others))
    return (attribution or Attribution(node="n1")).join([ours, dcgm])


def test_a_figure_we_lack_has_our_labels_and_is_no_longer_missing() -> None:
    ours, theirs = page(ACTIVE)
    assert ours.series is TEMPERATURE
    assert (theirs.series.name, theirs.value) == ("DCGM_FI_PROF_DRAM_ACTIVE", 0.5)
    assert theirs.series.labels == TEMPERATURE.labels


def test_a_figure_we_have_is_ours_alone() -> None:
    own = line(profiling.DRAM_ACTIVE)
    readings = page(ACTIVE, series=(TEMPERATURE, own))
    assert [(one.series, one.value) for one in readings] == [(TEMPERATURE, 40), (own, 40)]


def test_what_dcgm_says_twice_stands_once() -> None:
    assert [one.value for one in page(ACTIVE, DcgmFigure(profiling.DRAM_ACTIVE, A, "", 0.7))] == [40, 0.5]


def test_a_gpu_that_gave_nothing_itself_has_nothing_of_dcgms() -> None:
    """An exporter behind a stuck driver goes on showing what it saw last."""
    silent = line(gpu.XID_LAST), line(health.HEALTH, check="lost"), MISSING
    readings = page(ACTIVE, DcgmFigure(profiling.DRAM_ACTIVE, B, "", 0.5), series=silent)
    assert [one.series for one in readings] == list(silent)


def test_an_instances_figure_is_the_instances() -> None:
    instance = line(gpu.FB_USED, GPU_I_ID="3", GPU_I_PROFILE="1g.10gb")
    readings = page(DcgmFigure(profiling.DRAM_ACTIVE, A, "3", 0.25), series=(TEMPERATURE, instance, MISSING))
    assert [one.series for one in readings[:3]] == [TEMPERATURE, instance, MISSING], "the GPU's own is still missing"
    assert readings[3].series.labels == instance.labels


def test_the_pod_that_holds_the_gpu_is_named_and_its_error_codes_are_not() -> None:
    coded = line(gpu.XID_LAST, err_code="0", err_msg="No Error")
    held = Holding(A, "team", "p1", "main")
    *_, theirs, _info = page(ACTIVE, series=(coded, TEMPERATURE, MISSING), others=(held,))
    labels = dict(theirs.series.labels)
    assert (labels["pod"], labels["sharing"], labels.get("err_code")) == ("p1", "exact", None)


def test_series_are_kept_while_nothing_but_values_changes() -> None:
    attribution = Attribution(node="n1")
    first, second = (page(ACTIVE, attribution=attribution) for _ in range(2))
    assert [one.series for one in first] == [one.series for one in second]
    (alone, missing) = page(attribution=attribution)
    assert (alone.series, missing.series) == (TEMPERATURE, MISSING)
