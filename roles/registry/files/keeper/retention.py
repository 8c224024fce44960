# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tags the rules let go. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from reach import described
from settings import Failure

Rule = Dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY = 86400
BEFORE = 10 * 365.25 * DAY  # 1980: older images were given a date so that they can be made again to the letter
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))")


def check(rules: Sequence[Rule]) -> None:
    for rule in rules:
        if rule.get("keep") is None and rule.get("days") is None:
            raise Failure("registry_retain: the rule %s needs `keep` or `days`." % _named(rule))
        for name in ("repositories", "tags"):
            try:
                re.compile(rule[name])
            except (re.error, TypeError, KeyError) as error:
                raise Failure("registry_retain: %s of the rule %s is no regular expression: %s" % (name, _named(rule), error))


def matched(repository: str, tags: Sequence[str], rules: Sequence[Rule]) -> Set[str]:
    """The tags whose age will be asked for. What describes another manifest follows that one, and no rule."""
    return {tag for rule in rules for tag in _of(rule, repository, tags)}


def going(repository: str, ages: Mapping[str, Optional[float]], rules: Sequence[Rule], now: float) -> Dict[str, str]:
    """Tags that every rule that matches them lets go, and why. ``ages``: tag -> seconds since 1970, or None."""
    found: Dict[str, List[str]] = {}
    held: Set[str] = set()
    for rule in rules:
        tags = sorted(_of(rule, repository, list(ages)), key=lambda tag: (ages[tag] is not None, ages[tag] or 0, natural(tag)), reverse=True)
        for place, tag in enumerate(tags):
            if _stays(rule, place, ages[tag], now):
                held.add(tag)
            else:
                found.setdefault(tag, []).append(_named(rule))
    return {tag: "let go by %s" % " and ".join(names) for tag, names in found.items() if tag not in held}


def _of(rule: Rule, repository: str, tags: Sequence[str]) -> List[str]:
    if not re.fullmatch(rule["repositories"], repository):
        return []
    return [tag for tag in tags if re.fullmatch(rule["tags"], tag) and not described(tag)]


def _stays(rule: Rule, place: int, age: Optional[float], now: float) -> bool:
    keep, days = rule.get("keep"), rule.get("days")
    if keep is not None and place < keep:
        return True
    if days is None:
        return False
    return keep is None if age is None else now - age < days * DAY


def natural(tag: str) -> List[Tuple[bool, int, str]]:
    """Sorts 1.10 after 1.9."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"([0-9]+)", tag)]


def seconds(created: Any) -> Optional[float]:
    """Seconds since 1970 of a time as configs write it; None for none, and for a made-up one."""
    found = TIME.fullmatch(created) if isinstance(created, str) else None
    if not found:
        return None
    try:
        at = datetime(*[int(part) for part in found.groups()[:6]], tzinfo=timezone.utc)
    except ValueError:
        return None
    sign, hours, minutes = found.groups()[6:]
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    result = (at - EPOCH - offset).total_seconds()
    return result if result >= BEFORE else None


def _named(rule: Rule) -> str:
    return "{%s}" % ", ".join("%s: %s" % (name, rule[name]) for name in ("repositories", "tags", "keep", "days") if rule.get(name) is not None)
