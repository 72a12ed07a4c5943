"""The table as a page of the docs: ``python -m tests.matrix > docs/bad-input.md``."""

from __future__ import annotations

import sys

from tests import matrix
from tests.matrix import movies

HEAD = """# Bad input

What becomes of files and movies that are not what they seem. Each row is a test (`tests/matrix/`); this page
is made by `python -m tests.matrix > docs/bad-input.md`.

*right*: the values, bit for bit. An error: its class and words of its message, which also names the file.
**not seen**: nothing in the file says otherwise, and no reader can know; keep what you may need again in a
format with checksums.
"""


MOVIES = """
## What is in a movie

What each block makes of a movie of blinking emitters (`ramp`: of steady light) that was spoilt: *right*
within its error, NaN with its `status`, or an error. **not seen**: the median ranks the samples of a window
as they are, with those of frames that were dropped or repeated; `estimate_background` with the camera's
numbers does not. Samples that wrapped, because something was taken off in uint16, look like light: pass raw
frames, or take it off in float32.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD.rstrip()]
    for module in matrix.modules():
        rows = [f"| {row.what} | {row.verdict} |" for row in module.ROWS]
        parts += [f"\n## {module.TITLE}\n", "| input | what becomes of it |", "|---|---|", *rows]
    head = f"| movie | {' | '.join(movies.BLOCKS)} |\n|---|{'---|' * len(movies.BLOCKS)}"
    return "\n".join([*parts, MOVIES, head, *map(_cells, movies.ROWS)]) + "\n"


def _cells(row: movies.Content) -> str:
    words = [row.said] * len(movies.BLOCKS) if isinstance(row.said, str) else row.said
    return f"| {row.what} | {' | '.join(words)} |"


if __name__ == "__main__":
    sys.stdout.write(page())
