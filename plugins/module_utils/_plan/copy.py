# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy: what a registry must get so that it has images, and from where, from what their source and the registry say."""

from __future__ import annotations

import re
import typing as t

from .._errors import ArchiveError, InvalidInput, InvalidReference, StowageError, masked, shown
from .._oci.digest import Digest
from .._oci.manifest import Descriptor
from .._oci.reference import Reference, misplaced
from .._oci.reference import parse as parse_reference
from .content import Blob, Tree

_MOST_MOUNTS = 2
"""How many repositories are asked to give a blob away."""

_FILE = re.compile(r"[^:]*\.(?:tar|tgz|tbz2?|txz|tzst|zip|gz|bz2|xz|zst|zstd)", re.IGNORECASE)
"""No registry's name ends so; one that does may be written with its port."""


# Names


def is_path(src: str) -> bool:
    """Whether a source can only be meant as a path, be there something or not."""
    return src.startswith(("/", ".")) or bool(_FILE.fullmatch(src))


class Site(t.NamedTuple):
    """A registry, or the part of it below a ``prefix`` that is empty or ends in ``/``."""

    registry: str
    prefix: str

    @classmethod
    def parse(cls, text: str, option: str) -> Site:
        """``host[:port][/prefix]``; raises InvalidInput if it is no such thing."""
        try:
            reference = parse_reference("%s/x" % text.rstrip("/"))
        except InvalidReference as error:
            why = misplaced(text) or error
            raise InvalidInput("%s: %s is no registry: write host[:port][/prefix] (%s)" % (option, shown(masked(text)), why)) from None
        host, _slash, path = text.rstrip("/").partition("/")
        if host not in (reference.registry, "index.docker.io"):
            raise InvalidInput(
                "%s: %s is no registry, as a registry's name has a dot or a port: write host[:port][/prefix]%s"
                % (option, shown(text), ", or the path of a file or folder, as there is none of this name" if option == "src" else "")
            )
        return cls(reference.registry, path + "/" if path else "")

    @property
    def where(self) -> str:
        """For messages."""
        return "%s/%s" % self if self.prefix else self.registry

    def source(self, text: str) -> Reference:
        """The reference of an image here, written from below the prefix, or in full; raises InvalidInput if it is elsewhere."""
        host = text.partition("/")[0]
        full = "/" in text and ("." in host or ":" in host or host == "localhost")
        reference = parse_reference(text if full or not text else "%s/%s%s" % (self.registry, self.prefix, text))
        if reference.registry != self.registry or not reference.repository.startswith(self.prefix):
            raise InvalidInput("%s is not in src, %s: make a task of each registry" % (text, self.where))
        return reference._replace(spelling=text)

    def below(self, reference: Reference) -> str:
        """The repository as it is called from below the prefix."""
        return reference.repository[len(self.prefix) :]

    def target(self, path: str, reference: Reference) -> Reference:
        """Where an image lies here that lies at ``path`` elsewhere: with the tag, or else with the digest."""
        last = ":%s" % reference.tag if reference.tag else "@%s" % reference.digest
        return parse_reference("%s/%s%s%s" % (self.registry, self.prefix, path, last))


class Wish(t.NamedTuple):
    """An image: as the user or the archive wrote it, where it is, and where it shall be."""

    spelling: str
    source: Reference
    target: Reference


def distinct(wishes: t.Iterable[Wish]) -> t.List[Wish]:
    """Each once; raises InvalidInput for two that would get the same name."""
    taken: t.Dict[str, Wish] = {}
    for wish in wishes:
        first = taken.setdefault(str(wish.target), wish)
        if str(first.source) != str(wish.source):
            raise InvalidInput(
                "images: both %s and %s would be %s: make a task of each, with another destination" % (first.spelling, wish.spelling, wish.target)
            )
    return list(taken.values())


# What is to be done


class Keep(t.NamedTuple):
    """The name stands for this digest already."""

    reason: str = "same_digest"


class Copy(t.NamedTuple):
    """``reason``: absent, or other_digest."""

    reason: str


def compare(wanted: Digest, there: t.Optional[Digest]) -> t.Union[Keep, Copy]:
    if there is None:
        return Copy("absent")
    return Keep() if there == wanted else Copy("other_digest")


class Move(t.NamedTuple):
    """A blob that the ``target``'s repository lacks, and other repositories of the registry to take it from, if one has it still.

    ``follows``: one of them gets it in this task.
    """

    wish: Wish
    blob: Blob
    mounts: t.Tuple[str, ...]
    follows: bool

    @property
    def key(self) -> Held:
        return self.wish.target.repository, self.blob.descriptor.digest


Held = t.Tuple[str, str]
"""A repository of the destination and the digest of something in it."""


class Facts(t.NamedTuple):
    """What the destination ``has`` of manifests and blobs, and repositories of it that are known to hold a blob, by its digest."""

    has: t.Container[Held]
    elsewhere: t.Mapping[str, t.Sequence[str]]


class Plan(t.NamedTuple):
    """``failures`` are images of which something is not to be had."""

    moves: t.Tuple[Move, ...]
    held: t.Mapping[Held, Blob]
    failures: t.Mapping[Wish, StowageError]


def decide(
    images: t.Mapping[Wish, Tree], facts: Facts, source: str, holds: t.Callable[[str], bool], bases: t.Sequence[str] = ()
) -> Plan:
    """Each blob is sent once, and mounted wherever else it is lacking; ``source`` and ``bases`` are how messages call what ``holds`` blobs."""
    moves: t.Dict[Held, Move] = {}
    held: t.Dict[Held, Blob] = {}
    failures: t.Dict[Wish, StowageError] = {}
    first: t.Dict[str, str] = {}
    for wish, content in images.items():
        repository = wish.target.repository
        missing = {digest: blob for digest, blob in needs(wish, content, facts.has).items() if (repository, digest) not in facts.has}
        known = {digest: _others(repository, facts.elsewhere.get(digest, ())) for digest in missing}
        unknown = [blob for digest, blob in missing.items() if not (known[digest] or digest in first or holds(digest))]
        lacking = [child for child in content.lacking if (repository, child.digest) not in facts.has]
        if lacking or unknown:
            failures[wish] = _lacking(wish, lacking, source) if lacking else _unknown(wish, unknown[0], searched(source, bases))
            continue
        held.update(((repository, digest), blob) for digest, blob in content.blobs.items() if digest not in missing)
        for digest, blob in missing.items():
            leader = first.setdefault(digest, repository)
            follows = leader != repository and not known[digest]
            moves.setdefault((repository, digest), Move(wish, blob, (leader,) if follows else known[digest], follows))
    return Plan(tuple(moves.values()), held, failures)


def held_in(wish: Wish, digests: t.Iterable[str]) -> t.Iterator[Held]:
    return ((wish.target.repository, digest) for digest in digests)


def needs(wish: Wish, content: Tree, has: t.Container[Held]) -> t.Dict[Digest, Blob]:
    """The blobs of those manifests that the repository lacks: who has a manifest has what it names."""
    lacking = (one for one in content.documents if (wish.target.repository, one.descriptor.digest) not in has)
    return content._replace(documents=tuple(lacking)).blobs


def searched(source: str, bases: t.Sequence[str]) -> str:
    """Where blobs were looked for, for messages."""
    return "%s with the base %s" % (source, ", ".join(bases)) if bases else source


def _others(repository: str, known: t.Iterable[str]) -> t.Tuple[str, ...]:
    return tuple(one for one in known if one != repository)[:_MOST_MOUNTS]


def _lacking(wish: Wish, children: t.Sequence[Descriptor], source: str) -> StowageError:
    names = ", ".join("%s (%s)" % ("an attestation" if child.attestation else child.platform or "a manifest", child.digest) for child in children)
    return ArchiveError(
        "%s: its index names %s, which neither %s nor %s has: name the platforms that are there with platform, or give all of the image"
        % (wish.spelling, names, source, wish.target.name)
    )


def _unknown(wish: Wish, blob: Blob, source: str) -> StowageError:
    return ArchiveError(
        "%s (%s) is neither in %s nor in %s: give the earlier bundle that has it as base, or bundle the image as a whole"
        % (blob.what, blob.descriptor.digest, source, wish.target.name)
    )
