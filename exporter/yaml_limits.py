"""How large a YAML file of settings may be, checked before anything is built from it. Imports PyYAML alone.

A settings file often is a ConfigMap that others can write: a few lines of aliases can stand for more values than a
node has memory for, and brackets can nest deeper than Python's stack.
"""

from __future__ import annotations

import yaml

MAX_BYTES = 256 << 10
MAX_DEPTH = 16
MAX_VALUES = 20_000
"""Counted with every alias written out."""


class TooLargeError(Exception):
    """A file beyond the limits: `line`, from 1, is where it goes beyond them."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


def check(text: str) -> None:
    """Raises TooLargeError, and yaml.YAMLError for what is no YAML."""
    if len(text) > MAX_BYTES:
        raise TooLargeError(1, f"is larger than {MAX_BYTES >> 10} KiB; write less")
    values, sizes = 0, dict[str | None, int]()
    open_: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise TooLargeError(line, f"`*{event.anchor}` stands for nothing yet; write &{event.anchor} before it")
            values += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            sizes[anchor] = values - before
        if len(open_) > MAX_DEPTH:
            raise TooLargeError(line, f"is nested deeper than {MAX_DEPTH} levels; write fewer")
        if values > MAX_VALUES:
            raise TooLargeError(line, f"has more than {MAX_VALUES} values, aliases written out; write fewer")
