"""Pods' labels and uids from a Kubernetes API, and what it is asked when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from exporter.facts import PodFacts
from exporter.model import Collected
from exporter.sources.asking import KEPT_SECONDS, LOOK_AGAIN_SECONDS, RETRY_SECONDS
from exporter.sources.kubernetes import Kubernetes
from exporter.sources.pod_facts import PodFactsSource

LABELS = {"team": "team", "app.kubernetes.io/name": "app_kubernetes_io_name"}


class Watched:
    """A source that asks `api`, with a clock and holders of the test's own."""

    def __init__(self, api: Any) -> None:
        self.now = 0.0
        self.holders: set[tuple[str, str]] = set()
        self.api = api
        self._loop = asyncio.new_event_loop()
        kubernetes = Kubernetes(node="n1", server=api.url, credentials=str(api.credentials), deadline_seconds=5)
        self.source = PodFactsSource(kubernetes, labels=LABELS, holders=lambda: self.holders, clock=lambda: self.now)

    def ask(self) -> Collected:
        return self._loop.run_until_complete(self.source.collect())

    def close(self) -> None:
        self._loop.run_until_complete(self.source.close())
        self._loop.close()


@pytest.fixture
def watched(api: Any) -> Iterator[Watched]:
    watched = Watched(api)
    yield watched
    watched.close()


def test_wanted_labels_by_their_page_names_and_the_uid(watched: Watched) -> None:
    watched.api.add("p1", labels={"team": "search", "app.kubernetes.io/name": "chat", "secret": "x"}, phase="Pending")
    watched.api.add("p2", node="n2", labels={"team": "search"})
    watched.api.add("p3", annotations={"kubernetes.io/config.hash": "0123456789abcdef"})
    assert watched.ask().facts == (
        PodFacts("team", "p1", "uid-p1", (("app_kubernetes_io_name", "chat"), ("team", "search"))),
        PodFacts("team", "p3", "0123456789abcdef"),
    )


def test_the_api_is_asked_for_new_holders_and_else_once_a_minute(watched: Watched) -> None:
    asked = watched.api.queries
    watched.api.add("p1")
    watched.ask()
    watched.now = LOOK_AGAIN_SECONDS - 1
    watched.holders = {("team", "p1")}
    watched.ask()
    assert len(asked) == 1
    watched.api.add("p2")
    watched.holders = {("team", "p2")}
    assert [one.pod for one in watched.ask().facts] == ["p1", "p2"]  # type: ignore[attr-defined]  # facts are objects
    assert len(asked) == 2
    watched.now += LOOK_AGAIN_SECONDS
    watched.ask()
    assert len(asked) == 3


def test_a_holder_that_the_api_does_not_know_is_not_asked_for_each_time(watched: Watched) -> None:
    watched.holders = {("team", "ghost")}
    for _ in range(3):
        watched.ask()
    assert len(watched.api.queries) == 1


def test_while_the_api_is_away_labels_stand_for_a_while(watched: Watched) -> None:
    watched.api.add("p1", labels={"team": "search"})
    (before,) = watched.ask().facts
    watched.api.status = 403
    watched.now = LOOK_AGAIN_SECONDS
    got = watched.ask()
    assert (got.facts, got.health.reason) == ((before,), "the agent's service account may not list this (403)")
    watched.holders = {("team", "new")}
    asked = len(watched.api.queries)
    watched.ask()
    assert len(watched.api.queries) == asked, "after a failure it waits"
    watched.now = KEPT_SECONDS + RETRY_SECONDS
    assert watched.ask().facts == ()
    watched.api.status = 200
    watched.now += RETRY_SECONDS
    got = watched.ask()
    assert (got.facts, got.health.up) == ((before,), True)
