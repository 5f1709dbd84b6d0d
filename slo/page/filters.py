"""What an overview shows: search and filters, all in its address, so that it can be sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from slo.status import SloStatus

BY_SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Filters:
    """`q` are words that must all be found; the others name a state, a service, one SLO; `by` groups the list."""

    q: str = ""
    state: str = ""
    service: str = ""
    slo: str = ""
    by: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """From an address; what it does not know is nothing."""
        said = {name: query.get(name, "").strip() for name in ("q", "state", "service", "slo")}
        return cls(**said, by=BY_SERVICE if query.get("by") == BY_SERVICE else "")

    @property
    def words(self) -> list[str]:
        """Of the search, in lower case."""
        return self.q.lower().split()

    @property
    def narrowed(self) -> bool:
        """Whether it hides anything."""
        return bool(self.q or self.state or self.service or self.slo)

    def url(self, **change: str) -> str:
        """The overview with this changed."""
        fresh = replace(self, **change)
        query = {name: getattr(fresh, name) for name in ("q", "state", "service", "slo", "by") if getattr(fresh, name)}
        return "/" + (f"?{urlencode(query)}" if query else "")

    def toggled(self, state: str) -> str:
        """The overview with only this state, or with all again."""
        return self.url(state="" if self.state == state else state)

    def picks(self, status: SloStatus, search: str) -> bool:
        """Whether an SLO is shown, whatever its state. `search` is the text that words are looked for in."""
        slo = status.slo
        return (
            (not self.service or slo.service == self.service)
            and (not self.slo or slo.id == self.slo)
            and all(word in search for word in self.words)
        )
