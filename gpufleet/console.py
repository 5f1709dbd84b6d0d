"""What people see of a command while it works: steps with a tick and their time, lines, warnings.

Colour is for terminals alone, and never where NO_COLOR is set; a log file gets the same words.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_GREEN, _YELLOW, _RED, _BOLD, _DIM = "32", "33", "31", "1", "2"


class Step:
    """A step under way; `note` says what came of it."""

    def __init__(self) -> None:
        self.said = ""
        self.troubled = False

    def note(self, text: str) -> None:
        """What is printed behind the step's name when it has ended."""
        self.said = text

    def trouble(self, text: str) -> None:
        """The same where the step ended with less than was hoped for."""
        self.said, self.troubled = text, True


class Console:
    """Prints to `stream` (standard output unless given)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        terminal = self._stream.isatty() and os.environ.get("TERM", "") != "dumb"
        self._colour = terminal and not os.environ.get("NO_COLOR")
        plain = "utf" not in (self._stream.encoding or "").lower()
        self._marks = ("ok", "!", "x") if plain else ("✓", "!", "✗")

    def line(self, text: str = "") -> None:
        """One line as it is."""
        print(text, file=self._stream, flush=True)

    def headline(self, text: str) -> None:
        """One line that matters."""
        self.line(self._in(_BOLD, text))

    def event(self, text: str, *, good: bool) -> None:
        """Something that happened just now, with the time of day."""
        self.line(f"{time.strftime('%H:%M:%S')}  {self._in(_GREEN if good else _RED, text)}")

    def check(self, name: str, found: str, *, good: bool, bad: bool = False) -> None:
        """One finding: good, bad, or neither."""
        self.row(f"{name}: {found}", good=good, bad=bad)

    def row(self, text: str, *, good: bool, bad: bool = False) -> None:
        """One line behind its mark."""
        mark, colour = (
            (self._marks[0], _GREEN) if good else (self._marks[2], _RED) if bad else (self._marks[1], _YELLOW)
        )
        self.line(f"  {self._in(colour, mark)} {text}")

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Do something that takes time; says how it ended, and how long it took."""
        started = time.monotonic()
        step = Step()
        try:
            yield step
        except asyncio.CancelledError:  # somebody ended it: no fault
            self.line(f"  {self._in(_YELLOW, self._marks[1])} {name}: ended before it was done")
            raise
        except BaseException:
            self.line(f"  {self._in(_RED, self._marks[2])} {name}")
            raise
        mark, colour = (self._marks[1], _YELLOW) if step.troubled else (self._marks[0], _GREEN)
        took = self._in(_DIM, f"{time.monotonic() - started:.1f} s")
        self.line(f"  {self._in(colour, mark)} {name}{': ' if step.said else ''}{step.said}  {took}")

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text
