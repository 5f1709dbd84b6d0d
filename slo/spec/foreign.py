"""How the readers of others' formats read: a cursor that knows what nobody took, and what is told of a file.

Imports the tree alone. Decision (accepted): a file of another format is read leniently, since its
own tool judges it, but nothing it says is dropped in silence. Whatever no reader took, and whatever we cannot honour,
is a note; an SLO that we cannot count is unsupported, with the reason; only what its own format forbids is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.decode import Problems
from exporter.yaml_lines import Node


class UnsupportedError(Exception):
    """An SLO that its format allows and we cannot count; the message is the reason."""


class RefusedError(Exception):
    """An SLO that has a fault, which has been noted as a problem."""


@dataclass(slots=True)
class Told:
    """What is said of one file beside its SLOs, each as (line, text)."""

    problems: Problems = field(default_factory=Problems)
    unsupported: list[tuple[int, str]] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)

    def note(self, line: int, text: str) -> None:
        """Something in the file that changes nothing here."""
        self.notes.append((line, text))


class Cursor:
    """A mapping of a document, at `path`, with what was taken of it. Taking a value of the wrong kind is refused."""

    def __init__(self, node: Node, path: str, told: Told) -> None:
        self.node, self.path, self.told = node, path, told
        self._taken: dict[str, list[Cursor]] = {}
        if node.mapping is None:
            raise self.refuse(f"{path or 'the document'} must be a mapping of keys to values")

    @property
    def line(self) -> int:
        """Where it begins."""
        return self.node.line

    def __contains__(self, key: str) -> bool:
        return key in (self.node.mapping or {}) and self.node.at(key).value is not None

    def line_of(self, key: str) -> int:
        """Where a key is, or the mapping where it is not."""
        entry = (self.node.mapping or {}).get(key)
        return self.line if entry is None else entry.line

    def refuse(self, text: str, key: str = "") -> RefusedError:
        """Note a fault; the exception to raise gives the SLO up."""
        self.told.problems.add(self.line_of(key), text)
        return RefusedError()

    def text(self, key: str) -> str:
        """A scalar as it is written, "" where it is not there."""
        self._taken.setdefault(key, [])
        if key not in self:
            return ""
        node = self.node.at(key)
        if not node.scalar:
            raise self.refuse(f"{self.at(key)} must be a single value", key)
        return node.text.strip()

    def needed(self, key: str) -> str:
        """The same, refused where it is not there."""
        text = self.text(key)
        if not text:
            raise self.refuse(f"{self.path or 'the document'} has no {key!r}: add it", key)
        return text

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        text = self.text(key)
        if text not in ("", "true", "false"):
            raise self.refuse(f"{self.at(key)} must be true or false, not {text!r}", key)
        return text == "true" if text else default

    def child(self, key: str) -> Cursor | None:
        """A mapping below it, None where it is not there."""
        if key not in self:
            self._taken.setdefault(key, [])
            return None
        found = Cursor(self.node.at(key), self.at(key), self.told)
        self._taken.setdefault(key, []).append(found)
        return found

    def one(self, key: str) -> Cursor:
        """The same, refused where it is not there."""
        found = self.child(key)
        if found is None:
            raise self.refuse(f"{self.path or 'the document'} has no {key!r}: add it", key)
        return found

    def list(self, key: str) -> Sequence[Cursor]:
        """Mappings in a list below it; none where it is not there."""
        nodes = self._items(key)
        found = [Cursor(node, f"{self.at(key)}[{at}]", self.told) for at, node in enumerate(nodes)]
        self._taken[key] = list(found)
        return found

    def words(self, key: str) -> tuple[str, ...]:
        """Scalars in a list below it; none where it is not there."""
        self._taken.setdefault(key, [])
        return tuple(node.text for node in self._items(key))

    def texts(self, key: str) -> Mapping[str, str]:
        """A mapping of words to scalars below it; what is neither is left to be noted."""
        found = self.child(key)
        if found is None:
            return {}
        entries = (found.node.mapping or {}).items()
        return {name: found.text(name) for name, entry in entries if entry.node.scalar}

    def skip(self, key: str) -> None:
        """Take a key that says nothing by itself."""
        self._taken.setdefault(key, [])

    def ignore(self, key: str, why: str) -> None:
        """Note a key that is there as not used, with the reason."""
        if key in self:
            self.told.note(self.line_of(key), f"{self.at(key)} is not used: {why}")
        self._taken.setdefault(key, [])

    def unread(self) -> Iterator[tuple[int, str]]:
        """Line and path of everything below it that nobody took."""
        for key, entry in (self.node.mapping or {}).items():
            if key not in self._taken:
                if entry.node.value is not None:
                    yield entry.line, self.at(key)
                continue
            for child in self._taken[key]:
                yield from child.unread()

    def _items(self, key: str) -> Sequence[Node]:
        if key not in self:
            return ()
        items = self.node.at(key).items
        if items is None:
            raise self.refuse(f"{self.at(key)} must be a list", key)
        return items

    def at(self, key: str) -> str:
        """The path of a key, for messages."""
        return f"{self.path}.{key}" if self.path else key
