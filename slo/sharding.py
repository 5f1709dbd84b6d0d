"""Which of several services keeps which SLO: by a hash of its id, the same everywhere and for ever. Pure.

Decision (accepted). Context: one process keeps some thousands of SLOs; more must be spread without anybody who assigns
them. Decision: shard k of n keeps the SLOs whose hash modulo n is k; all groups of an SLO stay together. Consequences:
each shard has a ledger, an API and a page of its own, and reads the series of its SLOs alone where its source can
select; a change of n moves most SLOs, and each is then read again from Prometheus, or begins anew with agents. Rules
and boards are not sharded: they are written from all files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from slo.model import Slo

MOST = 1000


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard `number` of `count`; 0/1 keeps everything."""

    number: int = 0
    count: int = 1

    def keeps(self, slo_id: str) -> bool:
        """Whether the SLO is this shard's."""
        digest = hashlib.blake2b(slo_id.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number

    def of(self, slos: Iterable[Slo]) -> list[Slo]:
        """This shard's SLOs, in their order."""
        return [slo for slo in slos if self.keeps(slo.id)]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Read "0/4": the first of four. Raises ValueError with what is wrong and what to write."""
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
    if not match or not 0 <= int(match[1]) < int(match[2]) <= MOST:
        raise ValueError(f"{text!r} is no shard: write its number, from 0, and how many there are, like 0/4")
    return Shard(int(match[1]), int(match[2]))
