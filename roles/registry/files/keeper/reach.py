# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a repository stays because something that stays needs it, and what goes. Pure."""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

# The tag under which clients keep what refers to a manifest where a registry has no referrers API (distribution-spec; cosign).
REFERRER_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]{64,128})(?:\.[a-z0-9]+)?")


class Manifest(NamedTuple):
    """What counts of a manifest. ``blobs`` are all that it names, children too, with sizes; ``opaque`` is one that nobody can read."""

    size: int = 0
    children: Tuple[str, ...] = ()
    subject: Optional[str] = None
    blobs: Dict[str, int] = {}
    config: Optional[str] = None
    created: Optional[str] = None
    opaque: bool = False


class Repository(NamedTuple):
    name: str
    tags: Dict[str, str]
    manifests: Dict[str, Manifest]


class Verdict(NamedTuple):
    """Manifests that go, each before what it holds, and why; tags that go, and why; tags that a rule lets go and that stay, and why."""

    doomed: Dict[str, str]
    tags: Dict[str, str]
    kept_tags: Dict[str, str]


def reach(manifests: Dict[str, Manifest], roots: Iterable[str]) -> Set[str]:
    """The roots, the children of what is reached, what it refers to, and what refers to it."""
    referrers: Dict[str, List[str]] = {}
    for digest, one in manifests.items():
        if one.subject:
            referrers.setdefault(one.subject, []).append(digest)
    found: Set[str] = set()
    todo = list(roots)
    while todo:
        digest = todo.pop()
        if digest in manifests and digest not in found:
            found.add(digest)
            one = manifests[digest]
            todo.extend(one.children)
            todo.extend(referrers.get(digest, ()))
            todo.extend([one.subject] if one.subject else [])
    return found


def decide(repository: Repository, going: Dict[str, str], untagged: bool) -> Verdict:
    """``going``: the tags that the rules let go, and why. Without ``untagged`` only what those tags alone held goes."""
    tags, manifests = repository.tags, repository.manifests
    follow = {tag: subject for tag, subject in ((tag, described(tag)) for tag in tags) if subject in manifests}
    roots = {digest for tag, digest in tags.items() if tag not in going and tag not in follow}
    roots.update(digest for digest, one in manifests.items() if one.opaque)
    if not untagged:
        roots.update(set(manifests) - reach(manifests, tags.values()))
    kept = reach(manifests, roots)
    while True:
        more = {tags[tag] for tag, subject in follow.items() if subject in kept and tags[tag] in manifests} - kept
        if not more:
            break
        roots |= more
        kept = reach(manifests, roots)
    gone = {tag: going.get(tag) or "it describes %s, which goes" % follow[tag] for tag in tags
            if (tag in going or tag in follow) and tags[tag] in manifests and tags[tag] not in kept}
    stay = {tag: _why_kept(repository, tag, gone, kept) for tag in going if tag in tags and tag not in gone}
    return Verdict(_doomed(repository, kept, gone), gone, stay)


def described(tag: str) -> Optional[str]:
    """The digest that a tag of referrers describes."""
    found = REFERRER_TAG.fullmatch(tag)
    return "%s:%s" % found.groups() if found else None


def _why_kept(repository: Repository, tag: str, gone: Iterable[str], kept: Set[str]) -> str:
    digest = repository.tags[tag]
    if digest not in repository.manifests:
        return "it names %s, which is not there" % digest
    if repository.manifests[digest].opaque:
        return "its manifest cannot be read"
    same = sorted(other for other, its in repository.tags.items() if its == digest and other not in gone and other != tag)
    holders = sorted(other for other in kept if digest in repository.manifests[other].children)
    if holders:
        return "it is part of %s, which stays" % holders[0]
    if same:
        return "it is the same manifest as %s, and the registry deletes manifests, not tags" % ", ".join(same)
    return "something that stays refers to it"


def _doomed(repository: Repository, kept: Set[str], gone: Iterable[str]) -> Dict[str, str]:
    manifests = repository.manifests
    doomed = [digest for digest in manifests if digest not in kept]
    named: Dict[str, List[str]] = {}
    for tag in sorted(gone):
        named.setdefault(repository.tags[tag], []).append(tag)
    holder = {child: digest for digest in doomed for child in manifests[digest].children}
    why = {}
    for digest in doomed:
        subject = manifests[digest].subject
        if digest in named:
            why[digest] = "its tags go: %s" % ", ".join(named[digest])
        elif digest in holder:
            why[digest] = "it is part of %s, which goes" % holder[digest]
        elif subject in manifests:
            why[digest] = "it refers to %s, which goes" % subject
        else:
            why[digest] = "no tag, index or subject reaches it"
    return {digest: why[digest] for digest in _holders_first(manifests, doomed)}


def _holders_first(manifests: Dict[str, Manifest], digests: List[str]) -> List[str]:
    """An index before its children: what is interrupted leaves no index without them."""
    depth = dict.fromkeys(digests, 0)
    todo = list(digests)
    while todo:
        digest = todo.pop()
        for child in manifests[digest].children:
            if child in depth and depth[child] <= depth[digest]:
                depth[child] = depth[digest] + 1
                todo.append(child)
    return sorted(digests, key=lambda digest: (depth[digest], digest))
