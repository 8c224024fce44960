# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Sum up a test run: `report.py STATUS RING...` reads the rings' junit files in .cache/results and ends with one closing line.

Exits non-zero if STATUS is, if a test failed, or if a ring ran no test.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

RESULTS = Path(__file__).resolve().parents[1] / ".cache/results"


def count(ring: str) -> Counter[str]:
    """How many tests of the ring passed, failed and were skipped, over all its junit files."""
    found: Counter[str] = Counter()
    for file in RESULTS.glob(f"{ring}*.xml"):
        for case in ElementTree.parse(file).iter("testcase"):
            kinds = {child.tag for child in case}
            found["failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"] += 1
    return found


def main(status: str, *rings: str) -> int:
    total: Counter[str] = Counter()
    idle = []
    print()
    for ring in rings:
        found = count(ring)
        total += found
        print(f"{ring:12} {found['passed']:5} passed {found['failed']:3} failed {found['skipped']:3} skipped")
        if not found["passed"] + found["failed"]:
            idle.append(ring)
    if idle:
        print(f"ran no test: {', '.join(idle)}")
    print(f"{total['passed']} passed, {total['failed']} failed" + (f", {total['skipped']} skipped" if total["skipped"] else ""))
    return int(status != "0" or total["failed"] > 0 or bool(idle))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
