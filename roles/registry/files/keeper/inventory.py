# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a storage holds, as a server on it tells."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set

import retention
from api import Api
from reach import Manifest, Repository

MARKED = re.compile(r"(\S+): marking manifest ([a-z0-9]+:[0-9a-f]+)\s*")
ELIGIBLE = re.compile(r"blob eligible for deletion: ([a-z0-9]+:[0-9a-f]+)")
CONFIG_MOST = 8 << 20
NAME = re.compile(r"[a-z0-9][a-z0-9._/-]*")


class Printed(NamedTuple):
    """What a plain collection would do: the manifests of each repository, which all stay, and blobs that nothing uses."""

    manifests: Dict[str, List[str]]
    blobs: Set[str]


def printed(lines: Iterable[str]) -> Printed:
    found = Printed({}, set())
    for line in lines:
        marked, eligible = MARKED.fullmatch(line), ELIGIBLE.fullmatch(line)
        if marked:
            found.manifests.setdefault(marked.group(1), []).append(marked.group(2))
        elif eligible:
            found.blobs.add(eligible.group(1))
        elif NAME.fullmatch(line):
            found.manifests.setdefault(line, [])
    return found


def repositories(api: Api, found: Printed) -> Iterator[Repository]:
    """Each repository with its tags and manifests, with children that version 3 does not print by themselves."""
    for name, digests in found.manifests.items():
        names = list(api.tags(name))
        resolved = api.each(partial(api.resolve, name), names)
        tags = {tag: digest for tag, digest in zip(names, resolved) if digest}
        yield Repository(name, tags, _manifests(api, name, digests, set(digests).union(tags.values())))


def _manifests(api: Api, name: str, listed: List[str], wanted: Set[str]) -> Dict[str, Manifest]:
    found = {digest: Manifest(opaque=True) for digest in listed}
    asked: Set[str] = set()
    while wanted:
        digests = sorted(wanted)
        asked |= wanted
        wanted = set()
        for digest, raw in zip(digests, api.each(lambda digest: api.manifest(name, digest), digests)):
            if raw is not None:
                found[digest] = parse(raw)
                wanted.update(set(found[digest].children) - asked)
    return found


def parse(raw: bytes) -> Manifest:
    document = json.loads(raw.decode())
    children = _descriptors(document.get("manifests"))
    config = _descriptors([document.get("config")])
    blobs = dict(children, **config)
    for name in ("layers", "blobs"):
        blobs.update(_descriptors(document.get(name)))
    subject = _descriptors([document.get("subject")])
    created = (document.get("annotations") or {}).get("org.opencontainers.image.created")
    return Manifest(len(raw), tuple(children), next(iter(subject), None), blobs, next(iter(config), None), created)


def _descriptors(found: Any) -> Dict[str, int]:
    return {one["digest"]: int(one.get("size") or 0) for one in found or () if isinstance(one, dict) and "digest" in one}


def age(api: Api, repository: Repository, digest: str, seen: Optional[Set[str]] = None) -> Optional[float]:
    """When an image was made: of an index, the newest of its images. None if that cannot be told."""
    seen = seen or set()
    one = repository.manifests.get(digest)
    if one is None or digest in seen:
        return None
    seen.add(digest)
    ages = [age(api, repository, child, seen) for child in one.children]
    if one.config and one.blobs[one.config] <= CONFIG_MOST:
        ages.append(retention.seconds(_created(api.blob(repository.name, one.config))))
    known = [found for found in ages if found is not None] or [retention.seconds(one.created)]
    return max(known, key=lambda found: found or 0)


def _created(config: Optional[bytes]) -> Any:
    try:
        document = json.loads((config or b"").decode())
    except ValueError:
        return None
    return document.get("created") if isinstance(document, dict) else None
