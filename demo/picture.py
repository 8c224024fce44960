# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of the README: what the demo printed, as a terminal shows it. `make demo | python demo/picture.py docs/demo.svg`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

WIDTH = 112
# As rich's own, without the font that it would fetch from elsewhere.
FORMAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{unique_id}-title">
<title id="{unique_id}-title">What make demo prints</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def styled(line: str) -> Text:
    """What a person looks for stands out: the steps, the rounds, and what was sent where nothing or little had to be."""
    text = Text(line)
    text.highlight_regex(r"^ *[\d.]+ s  .*", "bold cyan")
    text.highlight_regex(r"^round  .*", "bold")
    text.highlight_regex(r"^2 again .*", "green")
    text.highlight_regex(r"^3 update .*", "bold yellow")
    return text


def picture(printed: str) -> str:
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in ["$ make demo", *printed.splitlines()]:
        console.print(styled(line), overflow="fold")
    return console.export_svg(theme=DIMMED_MONOKAI, title="make demo", code_format=FORMAT, unique_id="demo")


def main() -> None:
    printed = sys.stdin.read()
    sys.stdout.write(printed)
    if "\nround " not in printed:
        sys.exit("the demo printed no table: there is nothing to draw")
    target = Path(sys.argv[1])
    beside = target.with_suffix(".tmp")
    beside.write_text(picture(printed), encoding="utf-8")
    beside.rename(target)


if __name__ == "__main__":
    main()
