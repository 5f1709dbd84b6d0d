"""Starts agents inside this process, on the usual port or the next that is free. For `up`. Imports the agent."""

from __future__ import annotations

import msgspec

from exporter.agent import Agent
from exporter.model import InputError
from exporter.settings import DEFAULT_LISTEN, Settings
from gpufleet.discovery import port_free
from gpufleet.listen import Address, address


async def start_agent(settings: Settings) -> Agent:
    """An agent with these settings that listens; theirs of where to listen is not heeded."""
    host, port = address(DEFAULT_LISTEN)
    while True:
        while not port_free(host, port):
            port += 1
        agent = Agent(msgspec.structs.replace(settings, listen=str(Address(host, port))))
        try:
            await agent.start()
        except InputError:
            await agent.stop()
            if port_free(host, port):
                raise
            continue  # somebody else was faster
        return agent
