"""Times of our kernels and their peers, in turn and in one process, and the table they make."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

Call = Callable[[], object] | None
Row = dict[str, Any]


def cpu_times(calls: Mapping[str, Call], repeats: int = 5) -> dict[str, float]:
    """Least process-CPU seconds of each call that is there, the calls taking turns."""
    least: dict[str, float] = {}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            if call is None:
                continue
            begin = time.process_time()
            call()
            seconds = time.process_time() - begin
            # The first turn compiles, and does not count.
            least[name] = min(seconds, least.get(name, seconds)) if turn > 1 else seconds
    return least


def row(
    kernel: str,
    peer: str,
    seconds: Mapping[str, float],
    count: int,
    gate: float | None = None,
    *,
    ours: str = "ours",
) -> Row:
    """One kernel beside one peer; ``gate`` is the least ratio of the peer's time to ours."""
    ratio = seconds[peer] / seconds[ours] if peer in seconds else None
    return {
        "kernel": kernel,
        "ns": seconds[ours] / count * 1e9,
        "peer": peer,
        "peer ns": "not installed" if ratio is None else seconds[peer] / count * 1e9,
        "ratio": ratio,
        "gate": gate,
        "met": None if gate is None or ratio is None else ratio >= gate,
    }


def text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "NO"}[value]
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def lines(table: list[Row]) -> list[list[str]]:
    return [list(table[0]), *([text(value) for value in line.values()] for line in table)]


def show(table: list[Row]) -> None:
    cells = lines(table)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def markdown(table: list[Row]) -> str:
    head, *body = lines(table)
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))
