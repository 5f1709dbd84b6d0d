"""What is counted of GPUs outlasts the agent: by the state file, on the page of the next one."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.gpu_book import GpuBook, Sxid
from exporter.metrics import gpu, health
from exporter.model import InputError
from exporter.sources.gpu_state import DAMAGED, FILE, StateSource, folder_of
from tests.exporter.stub_driver import StubDriver

GPU = "00000000:3B:00.0"


class Kept:
    """A state directory, and agents that use it one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boot = folder / "boot_id"
        self.boot.write_text("boot-1\n")

    async def open(self, book: GpuBook | None = None) -> tuple[GpuBook, StateSource]:
        book = book or GpuBook()
        state = StateSource(book, self.folder, boot_id=self.boot)
        await state.load()
        return book, state

    async def saved(self, state: StateSource) -> None:
        """Collect until an XID 48 is in the file."""
        path = self.folder / FILE
        await until_so(state, lambda up: up and path.exists() and '"48":1' in path.read_text())


async def until_so(state: StateSource, wanted: Callable[[bool], bool]) -> str:
    """Collect until `wanted` is so of its health; returns the reason then given."""
    async with asyncio.timeout(10):
        while True:
            found = (await state.collect()).health
            if wanted(found.up):
                return found.reason
            await asyncio.sleep(0.005)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_the_next_agents_page_goes_on_where_the_last_one_ended(
    kept: Kept, stub_driver: StubDriver, until: Callable[..., Any]
):
    async def whole() -> None:
        book, state = await kept.open()
        source = stub_driver.source(book=book)
        await until(source, lambda _, collected: collected.health.up)
        stub_driver.xid(0, 79)
        stub_driver.xid(0, 31)
        await until(source, lambda readings, _: readings.all(gpu.XID_LAST.name, gpu="0") == [31])
        await state.collect()
        await source.close()
        await state.close()

        book, state = await kept.open()
        source = stub_driver.source(book=book)
        page = await until(source, lambda _, collected: collected.health.up)
        assert page.one(health.XID_ERRORS.name, gpu="0", xid="79") == 1
        assert page.one(health.DCGM_XID_TOTAL.name, gpu="0", xid="79") == 1
        assert page.one(gpu.XID_LAST.name, gpu="0") == 31
        assert page.one(health.HEALTH.name, gpu="0", check="xid") == 0
        assert sum(page.all(health.XID_ERRORS.name, gpu="1")) == 0
        assert page.one(health.HEALTH.name, gpu="1", check="xid") == 1
        await source.close()
        await state.close()

    asyncio.run(whole())


AGENT = """
import asyncio, sys
from pathlib import Path
from exporter.gpu_book import GpuBook
from exporter.sources.gpu_state import StateSource

async def whole():
    book = GpuBook()
    folder = Path(sys.argv[1])
    state = StateSource(book, folder, boot_id=folder / "boot_id")
    await state.load()
    book.named("00000000:3B:00.0", "GPU-a")
    book.event("00000000:3B:00.0", 48, 1.0)
    while True:
        await state.collect()
        await asyncio.sleep(0.01)

asyncio.run(whole())
"""


def test_an_xid_is_on_the_disk_in_a_moment_and_survives_a_kill(kept: Kept):
    process = subprocess.Popen([sys.executable, "-c", AGENT, str(kept.folder)])
    path = kept.folder / FILE

    async def whole() -> None:
        async with asyncio.timeout(30):
            while not path.exists():  # noqa: ASYNC110 (another process writes it)
                await asyncio.sleep(0.01)
        process.kill()
        process.wait()
        book, state = await kept.open()
        assert book.at(GPU).xids[48] == 1
        assert not book.at(GPU).watch.healthy
        await state.close()

    try:
        asyncio.run(whole())
    finally:
        process.kill()
        process.wait()


def test_another_boot_begins_anew(kept: Kept):
    async def whole() -> None:
        book, state = await kept.open()
        book.event(GPU, 48, 1.0)
        await state.close()
        kept.boot.write_text("boot-2\n")
        book, state = await kept.open()
        assert book.at(GPU).xids[48] == 0
        assert book.at(GPU).watch.healthy
        assert book.log is None
        await state.close()
        assert not (kept.folder / DAMAGED).exists()

    asyncio.run(whole())


whole_file = msgspec.json.encode(GpuBook().kept("boot-1"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 4096,
        whole_file[:-3],
        b'{"boot_id": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"boot_id":"boot-1","gpus":{"a":{"xids":{"79":-1}}}}',
    ],
    ids=["empty", "zeros", "cut", "types", "deep", "bytes", "negative"],
)
def test_a_damaged_file_is_said_and_set_aside(kept: Kept, content: bytes, caplog: pytest.LogCaptureFixture):
    (kept.folder / FILE).write_bytes(content)

    async def whole() -> None:
        book, state = await kept.open()
        assert (kept.folder / DAMAGED).read_bytes() == content
        assert "set aside as gpus.json.damaged, counts begin anew" in caplog.text
        book.event(GPU, 48, 1.0)
        await kept.saved(state)
        await state.close()
        book, state = await kept.open()
        assert book.at(GPU).xids[48] == 1
        await state.close()

    asyncio.run(whole())


def test_a_second_agent_does_not_write_the_firsts_file(kept: Kept, caplog: pytest.LogCaptureFixture):
    async def whole() -> None:
        first_book, first = await kept.open()
        second_book, second = await kept.open()
        assert f"another agent keeps its state in {kept.folder}" in caplog.text
        second_book.event(GPU, 48, 1.0)
        found = (await second.collect()).health
        assert (found.up, found.reason) == (False, f"another agent keeps its state in {kept.folder}")
        await second.close()
        first_book.event(GPU, 31, 1.0)
        await first.close()
        book, state = await kept.open()
        assert (book.at(GPU).xids[48], book.at(GPU).xids[31]) == (0, 1)
        await state.close()

    asyncio.run(whole())


def test_one_page_reads_the_state_and_leaves_it_alone(kept: Kept):
    async def whole() -> None:
        book, state = await kept.open()
        book.event(GPU, 48, 1.0)
        await kept.saved(state)
        before = (kept.folder / FILE).read_bytes()
        reader = GpuBook()
        once = StateSource(reader, kept.folder, boot_id=kept.boot)
        await once.load(keep=False)
        assert reader.at(GPU).xids[48] == 1
        reader.event(GPU, 79, 2.0)
        assert (await once.collect()).health.up
        await once.close()
        assert (kept.folder / FILE).read_bytes() == before
        await state.close()

    asyncio.run(whole())


def test_a_disk_that_cannot_be_written_is_said_and_counting_goes_on(kept: Kept):
    async def whole() -> None:
        book, state = await kept.open()
        (kept.folder / f"{FILE}.new").mkdir()
        book.event(GPU, 48, 1.0)
        reason = await until_so(state, lambda up: not up)
        assert reason == f"{kept.folder / FILE} cannot be written: Is a directory"
        (kept.folder / f"{FILE}.new").rmdir()
        book.event(GPU, 31, 2.0)
        await until_so(state, lambda up: up)
        await state.close()

    asyncio.run(whole())


def test_a_directory_that_was_asked_for_must_be_writable(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"/file: cannot keep state there: .*; see the setting `state`"):
        folder_of(str(tmp_path / "file"))
    with pytest.raises(InputError, match="No such file or directory"):
        folder_of(str(tmp_path / "no" / "where"))
    assert folder_of(str(tmp_path / "new")) == tmp_path / "new"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["00000000:3B:00.0", "00000000:3C:00.0"]),
            st.integers(1, 200),
            st.floats(0, 1e6),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_a_book_comes_back_as_it_was_kept(told: list[tuple[str, int, float, bool]]):
    book = GpuBook()
    book.named("00000000:3B:00.0", "GPU-a")
    for pci, code, at, by_driver in told:
        (book.event if by_driver else book.line)(pci, code, at)
        book.sxid(Sxid("nvidia-nvswitch0", pci, code, "fatal"), at)
        book.read_up_to(code, at)
    content = msgspec.json.encode(book.kept("boot"))
    fresh = GpuBook()
    fresh.restore(msgspec.json.decode(content, type=type(book.kept("boot"))))
    assert fresh.kept("boot") == book.kept("boot")
