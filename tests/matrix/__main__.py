"""The table as a page of the docs: ``python -m tests.matrix > docs/bad-input.md``."""

from __future__ import annotations

import sys

from tests import matrix

HEAD = """# Bad input

What becomes of files and movies that are not what they seem. Each row is a test (`tests/matrix/`); this page
is made by `python -m tests.matrix > docs/bad-input.md`.

*right*: the values, bit for bit. An error: its class and words of its message, which also names the file.
**not seen**: nothing in the file says otherwise, and no reader can know; keep what you may need again in a
format with checksums.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD.rstrip()]
    for module in matrix.modules():
        rows = [f"| {row.what} | {row.verdict} |" for row in module.ROWS]
        parts += [f"\n## {module.TITLE}\n", "| input | what becomes of it |", "|---|---|", *rows]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
