# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build: whether one of the tags names the image that this context builds already, and if not, what makes the difference.

An image is known by what it was built from: two labels that it carries, or *stamp*.

    io.stowage.build.inputs   all of it as canonical JSON: digests of context, Dockerfile and argument values; options; the IDs of the bases
    io.stowage.build.digest   the digest of that text, the *build digest*
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from .._oci.digest import Digest

DIGEST_LABEL, INPUTS_LABEL = "io.stowage.build.digest", "io.stowage.build.inputs"

CHANGED, ALWAYS = "changed", "always"
"""When to build: if something that the image is built from is another, or in any case."""

LISTED = 5
"""How many file names a reason gives."""

_STRETCH = 100000


class Inputs(t.NamedTuple):
    """What an image is built from. ``arguments`` and ``options`` map names to digests of values; ``bases`` maps each image that the
    Dockerfile names to its ID, or None where it is not known before it is pulled.
    """

    context: str
    dockerfile: str
    arguments: t.Mapping[str, str]
    options: t.Mapping[str, str]
    bases: t.Mapping[str, t.Optional[str]]

    @property
    def text(self) -> str:
        return json.dumps(self._asdict(), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> t.Optional[Digest]:
        """The build digest; None while a base's ID is not known."""
        return None if None in self.bases.values() else Digest.of(self.text.encode("utf-8"))

    def stamp(self) -> t.Dict[str, str]:
        """The labels of an image that is built from this."""
        return {DIGEST_LABEL: str(self.digest), INPUTS_LABEL: self.text}


class Image(t.NamedTuple):
    """What a tag names on the host."""

    image_id: str
    labels: t.Mapping[str, str]

    @property
    def stamped(self) -> t.Optional[Inputs]:
        """What it was built from, as it says; None where it says nothing, or not what its build digest is of."""
        text = self.labels.get(INPUTS_LABEL) or ""
        if Digest.of(text.encode("utf-8", "surrogateescape")) != self.labels.get(DIGEST_LABEL):
            return None
        try:
            return Inputs(**json.loads(text))
        except (TypeError, ValueError):
            return None


class Files(t.NamedTuple):
    """Paths of a context that differ between two builds, sorted."""

    added: t.Sequence[str] = ()
    changed: t.Sequence[str] = ()
    removed: t.Sequence[str] = ()


class Keep(t.NamedTuple):
    """``image_id`` is the image that all tags shall name."""

    image_id: str


class Build(t.NamedTuple):
    """``reasons`` in words; ``likely`` is the ID of the image that the engine's cache gives again, where nothing speaks against it."""

    reasons: t.Tuple[str, ...]
    likely: t.Optional[str] = None


Plan = t.Union[Keep, Build]


class Rule(t.NamedTuple):
    """When to build; ``stamp`` is whether the image carries one, ``cache`` whether the engine may give again what it has built."""

    rebuild: str = CHANGED
    stamp: bool = True
    cache: bool = True


class Last(t.NamedTuple):
    """What a host remembers of its last build of a tag."""

    digest: str
    image_id: str


def hashed(value: str, secret: bool = False) -> str:
    """The digest of an argument's value; of a secret one so slow to make that guessing it takes long."""
    data = value.encode("utf-8", "surrogateescape")
    if not secret:
        return Digest.of(data)
    return "pbkdf2:" + hashlib.pbkdf2_hmac("sha256", data, DIGEST_LABEL.encode("ascii"), _STRETCH).hex()


def decide(tags: t.Mapping[str, t.Optional[Image]], now: Inputs, rule: Rule, last: t.Optional[Last] = None, files: t.Optional[Files] = None) -> Plan:
    """``tags`` are what the wanted tags name on the host, the main one first; ``last`` and ``files`` (what differs from its context) are
    known where the host remembers that it built the main tag.
    """
    digest = now.digest
    held = [image for image in tags.values() if image and digest and _is(image, digest, rule.stamp, last)]
    likely = held[0].image_id if held and rule.cache else None
    if rule.rebuild == ALWAYS:
        return Build(("rebuild is always",), likely)
    if not rule.stamp:
        return Build(("without a stamp the engine's cache decides",), likely)
    if held:
        return Keep(held[0].image_id)
    main, image = next(iter(tags.items()))
    if image is None:
        return Build(("%s names no image" % main,))
    before = image.stamped
    if before is None:
        return Build(("%s names an image that does not say what it was built from" % main,))
    return Build(tuple(differences(before, now, files)))


def _is(image: Image, digest: Digest, stamp: bool, last: t.Optional[Last]) -> bool:
    stamped = image.labels.get(DIGEST_LABEL) == digest
    return stamped if stamp else not stamped and last == Last(digest, image.image_id)


def differences(before: Inputs, now: Inputs, files: t.Optional[Files] = None) -> t.Iterator[str]:
    """What is another than before, in words, one sentence each."""
    if before.dockerfile != now.dockerfile:
        yield "the Dockerfile changed"
    if before.context != now.context:
        yield "the context changed" + (": %s" % listed(files) if files and any(files) else "")
    yield from _each("argument", before.arguments, now.arguments)
    yield from _each("option", before.options, now.options)
    for name in sorted(set(before.bases) | set(now.bases)):
        if name not in now.bases:
            yield "the base %s is used no more" % name
        elif now.bases[name] is None:
            yield "the base %s is not on this host" % name
        elif name not in before.bases:
            yield "the base %s is new" % name
        elif before.bases[name] != now.bases[name]:
            yield "the base %s is another image now" % name


def listed(files: Files) -> str:
    """``added a, b; changed c and 12 more``."""
    parts = []
    for word, paths in files._asdict().items():
        if paths:
            more = " and %d more" % (len(paths) - LISTED) if len(paths) > LISTED else ""
            parts.append("%s %s%s" % (word, ", ".join(map(_printable, paths[:LISTED])), more))
    return "; ".join(parts)


def compared(before: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any]) -> Files:
    """From what each path of a context was and is."""
    both = before.keys() & now.keys()
    return Files(
        sorted(now.keys() - both),
        sorted(path for path in both if before[path] != now[path]),
        sorted(before.keys() - both),
    )


def _each(what: str, before: t.Mapping[str, str], now: t.Mapping[str, str]) -> t.Iterator[str]:
    found = compared(before, now)
    for names, how in ((found.added, "is new"), (found.changed, "changed"), (found.removed, "is gone")):
        for name in names:
            yield "the %s %s %s" % (what, name, how)


def _printable(path: str) -> str:
    return path if path.isprintable() else repr(path)
