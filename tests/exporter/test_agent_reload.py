"""The agent follows its settings, at once at SIGHUP; where it cannot, the old ones stand, and it says so."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp


def test_settings_are_read_again_and_bad_ones_are_not_taken(tmp_path: Path, free_port: Callable[[], int]):
    config = tmp_path / "agent.yaml"
    url = f"127.0.0.1:{free_port()}"

    async def page(session: aiohttp.ClientSession, wanted: str) -> None:
        """Until the page has `wanted` in it."""
        while True:
            try:
                async with session.get(f"http://{url}/metrics") as response:
                    if wanted in await response.text():
                        return
            except aiohttp.ClientError:
                pass  # it is about to listen again
            await asyncio.sleep(0.02)

    async def whole() -> None:
        config.write_text(f"node: n1\ngpu: none\nlisten: {url}\n")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gpufleet", "agent", "--config", str(config)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None

        async def reload(text: str, told: str) -> None:
            config.write_text(text)
            process.send_signal(signal.SIGHUP)
            assert process.stderr is not None
            assert told in (await process.stderr.readline()).decode()

        try:
            async with asyncio.timeout(60), aiohttp.ClientSession() as session:
                await page(session, 'gpufleet_build_info{node="n1"')
                good = f"node: n2\ngpu: none\nlisten: {url}\n"
                await reload(good, f"settings taken: http://{url}/metrics, node n2")
                await page(session, 'gpufleet_build_info{node="n2"')
                await reload(good, "nothing has changed")
                stand = "settings not taken, the old ones stand: "
                await reload("node: n3\ngpu: none\nlissen: x\n", f"{stand}{config}:3: unknown key 'lissen'")
                await page(session, 'gpufleet_build_info{node="n2"')
                with socket.create_server(("127.0.0.1", 0)) as taken:
                    in_use = f"127.0.0.1:{taken.getsockname()[1]}"
                    await reload(f"node: n3\nlisten: {in_use}\n", f"{stand}{in_use}: the port is in use")
                await page(session, 'gpufleet_build_info{node="n2"')
                process.send_signal(signal.SIGTERM)
                assert await process.stderr.read() == b""
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    asyncio.run(whole())


def test_a_swapped_configmap_and_a_changed_counters_file_are_followed_without_a_signal(
    tmp_path: Path, free_port: Callable[[], int]
):
    url = f"127.0.0.1:{free_port()}"
    config, counters = tmp_path / "agent.yaml", tmp_path / "counters.csv"

    def mount(number: int, text: str) -> None:
        version = tmp_path / f"..{number}"
        version.mkdir()
        (version / "agent.yaml").write_text(text)
        (tmp_path / "..fresh").symlink_to(version.name)
        (tmp_path / "..fresh").rename(tmp_path / "..data")

    async def whole() -> None:
        counters.write_text("DCGM_FI_DEV_GPU_TEMP, gauge, t\n")
        settings = f"gpu: simulated\ncounters: {counters}\nlisten: {url}\n"
        mount(1, f"node: n1\n{settings}")
        config.symlink_to("..data/agent.yaml")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gpufleet", "agent", "--config", str(config)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(60), aiohttp.ClientSession() as session:

                async def page(*wanted: str, without: str = "nothing like it") -> None:
                    while True:
                        with contextlib.suppress(aiohttp.ClientError):  # it is about to listen again
                            async with session.get(f"http://{url}/metrics") as response:
                                text = await response.text()
                                if all(one in text for one in wanted) and without not in text:
                                    return
                        await asyncio.sleep(0.05)

                await page('build_info{node="n1"', "DCGM_FI_DEV_GPU_TEMP", without="DCGM_FI_DEV_POWER_USAGE")
                mount(2, f"node: n2\n{settings}")
                await page('build_info{node="n2"', "DCGM_FI_DEV_GPU_TEMP")
                counters.write_text("DCGM_FI_DEV_POWER_USAGE, gauge, p\n")
                await page('build_info{node="n2"', "DCGM_FI_DEV_POWER_USAGE", without="DCGM_FI_DEV_GPU_TEMP")
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    asyncio.run(whole())
