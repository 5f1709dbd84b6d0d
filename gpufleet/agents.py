"""Agents inside this process, on the usual port or the next that is free. For `up`. Imports the agent."""

from __future__ import annotations

import msgspec

from exporter.agent import Agent
from exporter.model import InputError
from exporter.settings import DEFAULT_LISTEN, Settings
from gpufleet.discovery import port_free
from gpufleet.listen import Address, address


class LocalAgent:
    """An agent that can be given other settings and stays where it is; theirs of where to listen is not heeded."""

    def __init__(self) -> None:
        self._agent: Agent | None = None
        self._settings = Settings()
        self._listen = DEFAULT_LISTEN
        self.url = ""
        """Base URL of its page."""

    async def start(self, settings: Settings) -> None:
        """Listen on the usual port, or the next that is free. Raises InputError for what cannot be followed."""
        host, port = address(DEFAULT_LISTEN)
        while True:
            while not port_free(host, port):
                port += 1
            try:
                await self._run(settings, str(Address(host, port)))
            except InputError:
                if port_free(host, port):
                    raise
                continue  # somebody else was faster
            return

    async def follow(self, settings: Settings) -> None:
        """Go on with other settings; what the agent counts itself begins anew. Raises InputError; ask again then."""
        if self._agent is None or settings != self._settings:
            await self.stop()
            await self._run(settings, self._listen)

    async def stop(self) -> None:
        """End it."""
        if self._agent is not None:
            await self._agent.stop()
            self._agent = None

    async def _run(self, settings: Settings, listen: str) -> None:
        agent = Agent(msgspec.structs.replace(settings, listen=listen))
        try:
            await agent.start()
        except InputError:
            await agent.stop()
            raise
        self._agent, self._settings, self._listen, self.url = agent, settings, listen, agent.url
