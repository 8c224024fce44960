# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers over links that they share: how long they take together, and what each link carries. A simulation, of nothing but its numbers."""

from __future__ import annotations

from collections import deque
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

Link = Tuple  # (kind, site, host), as much of it as tells it from others: ("registry",), ("wan", 3), ("disk", 3, 0)
Step = Tuple[int, Tuple[Link, ...]]  # bytes that go over all of these links at once; twice over one that stands there twice
Job = List[Step]  # one after the other
Phases = List[List[Job]]  # the next begins when the last is through


class Result(NamedTuple):
    seconds: float
    traffic: Dict[Link, int]

    def over(self, *kinds: str) -> int:
        """Bytes over all links of these kinds."""
        return sum(size for link, size in self.traffic.items() if link[0] in kinds)


def simulate(phases: Phases, capacity: Mapping[str, float], forks: int) -> Result:
    """Run the phases; what a link carries, if only for a time, is never more than its capacity."""
    seconds = 0.0
    traffic: Dict[Link, int] = {}
    for jobs in phases:
        waiting = deque(deque(step for step in job if step[0]) for job in jobs)
        running: List[Tuple[float, Step, deque]] = []
        while True:
            while waiting and len(running) < forks:
                _begin(waiting.popleft(), running, traffic)
            if not running:
                break
            rates = share([step[1] for _left, step, _job in running], capacity)
            span = min(left / rate for (left, _step, _job), rate in zip(running, rates))
            seconds += span
            now, running = running, []
            for (left, step, job), rate in zip(now, rates):
                left -= rate * span
                if left > 1:  # of a byte; less is rounding
                    running.append((left, step, job))
                else:
                    _begin(job, running, traffic)
    return Result(seconds, traffic)


def share(flows: Sequence[Tuple[Link, ...]], capacity: Mapping[str, float]) -> List[float]:
    """What each flow gets: the scarcest link is divided evenly by its uses, then the next with what is left of it, and so on."""
    left: Dict[Link, float] = {link: capacity[link[0]] for links in flows for link in links}
    uses = dict.fromkeys(left, 0)
    for links in flows:
        for link in links:
            uses[link] += 1
    rates = [0.0] * len(flows)
    open_flows = list(range(len(flows)))
    while open_flows:
        parts = {link: left[link] / count for link, count in uses.items() if count}
        part = min(parts.values())
        scarce = {link for link, size in parts.items() if size <= part * (1 + 1e-9)}
        for number in [number for number in open_flows if scarce.intersection(flows[number])]:
            open_flows.remove(number)
            rates[number] = part
            for link in flows[number]:
                left[link] -= part
                uses[link] -= 1
    return rates


def _begin(job: deque, running: list, traffic: Dict[Link, int]) -> None:
    """Start the next step of the job, if there is one."""
    if job:
        step = job.popleft()
        for link in step[1]:
            traffic[link] = traffic.get(link, 0) + step[0]
        running.append((float(step[0]), step, job))
