"""The book of XIDs: told by the driver, by the kernel log, or by both in any order, each XID counts once."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.gpu_book import GpuBook, Kept, Sxid
from exporter.gpu_counts import WINDOW_SECONDS, ZERO_SHOWN_SECONDS
from exporter.xid import ACTIONS, CATALOGUE, CLASSES, GRAVE, counted_from_start

GPU, OTHER = "00000000:3B:00.0", "00000000:3C:00.0"
WINDOW = 20.0


def again(book: GpuBook) -> GpuBook:
    """The book of an agent that started after this one, from the file between them."""
    fresh = GpuBook(window_seconds=WINDOW)
    fresh.restore(msgspec.json.decode(msgspec.json.encode(book.kept("boot")), type=Kept))
    return fresh


xids = st.lists(
    st.tuples(
        st.sampled_from([GPU, OTHER]),
        st.sampled_from([31, 45, 79]),
        st.floats(0, 300),  # when it happened
        st.sampled_from(["event", "line", "both"]),
        st.floats(0, 4),  # how late the event came
        st.floats(0, 4),  # how late the line was read
    ),
    max_size=25,
)


@given(xids, st.sampled_from(["event", "line"]), st.sets(st.integers(0, 60), max_size=4))
def test_where_one_way_tells_every_xid_the_count_is_the_truth_in_any_order_and_over_restarts(happened, whole, restarts):
    tellings = []
    for pci, code, at, by, event_late, line_late in happened:
        if by != "line" or whole == "event":
            tellings.append((at + event_late, "event", pci, code, at))
        if by != "event" or whole == "line":
            tellings.append((at + line_late, "line", pci, code, at))
    book = GpuBook(window_seconds=WINDOW)
    for number, (told_at, way, pci, code, at) in enumerate(sorted(tellings)):
        if number in restarts:
            book = again(book)
        if way == "event":
            book.event(pci, code, at)  # the worker notes when it came
        else:
            book.line(pci, code, told_at)  # a line has the time at which it was read
    for pci in (GPU, OTHER):
        truth = {code: sum(1 for one in happened if one[:2] == (pci, code)) for code in (31, 45, 79)}
        assert {code: book.at(pci).xids.get(code, 0) for code in truth} == truth


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=30))
def test_the_count_is_never_below_either_way_nor_above_both_together(tellings):
    book = GpuBook(window_seconds=WINDOW)
    for by_driver, at in sorted(tellings, key=lambda one: one[1]):
        (book.event if by_driver else book.line)(GPU, 31, at)
    events = sum(1 for by_driver, _ in tellings if by_driver)
    assert max(events, len(tellings) - events) <= book.at(GPU).xids.get(31, 0) <= len(tellings)


def test_an_event_and_a_line_far_apart_are_two_xids():
    book = GpuBook(window_seconds=WINDOW)
    book.event(GPU, 31, 100.0)
    book.line(GPU, 31, 100.0 + WINDOW + 1)
    assert book.at(GPU).xids[31] == 2


@pytest.mark.parametrize("first", ["number", "no number"])
def test_falling_off_the_bus_with_and_without_a_number_is_one_xid_79(first: str):
    book = GpuBook(window_seconds=WINDOW)
    if first == "number":
        book.line(GPU, 79, 10.0)
    book.fell_off(GPU, 10.1)
    book.fell_off(GPU, 10.2)
    if first != "number":
        book.line(GPU, 79, 10.3)
    book.event(GPU, 79, 11.0)
    assert book.at(GPU).xids[79] == 1
    assert not book.at(GPU).watch.healthy
    book.fell_off(OTHER, 12.0)
    assert book.at(OTHER).xids[79] == 1


def test_what_happened_before_the_driver_named_the_gpu_is_the_gpus():
    book = GpuBook()
    book.line(GPU, 79, 10.0)
    book.named(GPU, "GPU-a")
    book.line(GPU, 31, 11.0)
    assert (book.at(GPU).xids[79], book.at(GPU).xids[31], book.at(GPU).last_xid) == (1, 1, 31)
    assert not book.at(GPU).watch.healthy


def test_another_gpu_in_the_same_slot_has_counts_of_its_own():
    book = GpuBook()
    book.named(GPU, "GPU-a")
    book.event(GPU, 79, 10.0)
    book.named(GPU, "GPU-b")
    assert book.at(GPU).xids[79] == 0
    assert book.at(GPU).watch.healthy
    book.named(OTHER, "GPU-a")
    assert book.at(OTHER).xids[79] == 1


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=lambda entry: str(entry.code))
def test_grave_codes_condemn_and_sympathetic_and_all_others_do_not(entry):
    assert entry.kind in CLASSES
    assert entry.action in ACTIONS
    book = GpuBook()
    book.event(GPU, entry.code, 1.0)
    assert book.at(GPU).watch.healthy == (entry.kind not in GRAVE)


def test_a_sub_code_says_whether_an_nvlink_5_error_is_grave():
    book = GpuBook(window_seconds=WINDOW)
    book.event(GPU, 149, 1.0)
    assert book.at(GPU).watch.healthy
    book.line(GPU, 149, 1.5, grave=False)
    assert book.at(GPU).watch.healthy
    book.event(GPU, 149, 50.0)
    book.line(GPU, 149, 50.5, grave=True)
    assert not book.at(GPU).watch.healthy
    assert book.at(GPU).xids[149] == 2


def test_xid_154_carries_what_the_driver_asks_for_and_that_it_asks_no_more():
    book = GpuBook(window_seconds=WINDOW)
    watch = book.at(GPU).watch
    book.line(GPU, 119, 1.0)
    book.line(GPU, 154, 1.1, action=2)
    watch.driver_asks(None)
    assert (watch.healthy, watch.asks) == (False, 2)
    book.line(GPU, 154, 90.0, action=0)
    watch.driver_asks(None)
    assert watch.healthy


def test_what_nvml_asks_stands_above_the_log_and_the_catalogue():
    book = GpuBook()
    watch = book.at(GPU).watch
    book.line(GPU, 31, 1.0)
    watch.driver_asks(1)
    assert not watch.healthy, "an application's XID, and yet the driver wants a reset"
    watch.driver_asks(0)
    assert watch.healthy
    book.line(GPU, 154, 2.0, action=2)
    watch.driver_asks(0)
    assert watch.healthy


def test_a_grave_xid_outlasts_a_restart_and_ends_when_driver_or_gpu_start_anew():
    book = GpuBook()
    book.named(GPU, "GPU-a")
    book.event(GPU, 48, 1.0)
    book.at(GPU).watch.energy(5000.0)
    book = again(book)
    assert not book.at(GPU).watch.healthy
    book.at(GPU).watch.energy(6000.0)
    assert not book.at(GPU).watch.healthy
    book.at(GPU).watch.energy(10.0)
    assert book.at(GPU).watch.healthy
    book.event(GPU, 48, 90.0)
    book.driver_loaded()
    assert book.at(GPU).watch.healthy
    assert book.at(GPU).xids[48] == 2


def test_a_line_from_before_anybody_watched_counts_without_a_step_and_condemns_nothing():
    book = GpuBook()
    book.line(GPU, 79, 1.0, past=True)
    book.line(GPU, 9999, 1.0, past=True)
    assert dict(book.at(GPU).shown(1.0))[9999] == 1
    assert book.at(GPU).watch.healthy
    book.line(GPU, 9998, 2.0)
    assert dict(book.at(GPU).shown(2.0))[9998] == 0
    assert dict(book.at(GPU).shown(2.0 + ZERO_SHOWN_SECONDS))[9998] == 1


def test_recent_xids_leave_the_window():
    book = GpuBook()
    counts = book.at(GPU)
    for at in (0.0, 1.0, 200.0):
        counts.xid(31, at)
    assert counts.in_window(201.0) == {31: 3}
    assert counts.in_window(WINDOW_SECONDS + 0.5) == {31: 2}
    assert counts.in_window(1000.0) == {}


def test_every_class_and_every_grave_code_is_counted_from_the_start():
    shown = dict(GpuBook().at(GPU).shown(0.0))
    assert set(shown.values()) == {0}
    assert {entry.code for entry in CATALOGUE.values() if entry.kind in GRAVE} <= set(shown)
    assert {CATALOGUE[code].kind for code in shown} == set(CLASSES) - {"other"}
    assert set(shown) == {entry.code for entry in counted_from_start()}


def test_an_nvswitchs_errors_are_counted_by_code_and_severity():
    book = GpuBook()
    bad = Sxid("nvidia-nvswitch0", GPU, 24007, "fatal")
    book.sxid(bad, 5.0)
    book.sxid(bad, 6.0)
    book.sxid(msgspec.structs.replace(bad, severity="non_fatal"), 6.0)
    assert [count for _, count in book.sxids(6.0)] == [0, 0]
    assert sorted(count for _, count in again(book).sxids(100.0)) == [1, 2]
