# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of registries: what a reference names there (distribution-spec, "Pull")."""

from __future__ import annotations

import contextlib
import typing as t

from .._errors import ArchiveError, InvalidInput, NotInRegistry, RegistryError, shown
from .._oci import image as _image
from .._oci import manifest as _manifest
from .._oci.choice import choose
from .._oci.digest import Digest, hashing
from .._oci.manifest import Descriptor, Index, Manifest
from .._oci.platform import Platform
from .._oci.reference import Reference
from .blob import Blob
from .session import Session, pull
from .transport import Answer
from .urls import number

_NO_HEAD = (405, 501)


class Client:
    """All registries of a task; every method raises NotInRegistry, RegistryDenied or RegistryError, and ArchiveError for what is
    there and is no image.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def resolve(self, reference: Reference) -> Descriptor:
        """What the reference names now: one HEAD where the registry answers it in full, else the manifest itself."""
        answer = self._ask("HEAD", reference, _manifests(reference))
        if answer.status not in _NO_HEAD:
            self._session.judge(reference, answer)
            media_type, size, stated = _media_type(answer), number(answer.headers.get("Content-Length", "")), _stated(answer)
            if stated and size is not None and media_type in _manifest.INDEXES + _manifest.MANIFESTS:
                if stated != (reference.digest or stated):
                    raise _mismatch(reference, answer, reference.digest, stated)
                return Descriptor(media_type, stated, size)
        raw, media_type = self.manifest(reference)
        parsed = _manifest.parse(raw, reference.where, media_type)
        return Descriptor(parsed.media_type, reference.digest or Digest.of(raw), len(raw))

    def manifest(self, reference: Reference) -> t.Tuple[bytes, str]:
        """The bytes as received, which are what the reference's digest, or else the registry, promises; and their media type."""
        answer = self._get(reference, _manifests(reference), reference.digest)
        return answer.body, _media_type(answer)

    def image(self, reference: Reference, platform: Platform, named: bool = False) -> Manifest:
        """The image itself, or the one that serves ``platform`` best if the reference names an index; ``named`` as in ``choose``."""
        parsed = self._parsed(reference)
        if isinstance(parsed, Index):
            parsed = self._parsed(reference._replace(tag=None, digest=_child(parsed, platform, reference.where, named).digest))
        if isinstance(parsed, Index):
            raise ArchiveError("%s is an index of indexes, which no engine reads: name one of them by its digest" % reference.where)
        if parsed.artifact:
            raise ArchiveError("%s is no image, but %s" % (reference.where, shown(parsed.artifact)))
        return parsed

    def config_digest(self, reference: Reference, platform: Platform, named: bool = False) -> Digest:
        """That of ``image``."""
        return self.image(reference, platform, named).config.digest

    def config(self, reference: Reference, platform: Platform, named: bool = False) -> _image.Config:
        """The config of which config_digest is the digest."""
        return _image.parse_config(self.raw_config(reference, self.image(reference, platform, named)), reference.where)

    def raw_config(self, reference: Reference, manifest: Manifest) -> bytes:
        """The bytes of an image's config."""
        digest = manifest.config.digest
        return self._get(reference, "blobs/%s" % digest, digest).body

    def blob(self, reference: Reference, blob: Descriptor, what: str, offset: int = 0) -> t.ContextManager[Blob]:
        """A reader of a blob of the repository, from ``offset`` on; ``what`` is how messages call it."""
        return contextlib.closing(Blob(self._session, reference, blob, what, offset))

    def _ask(self, method: str, reference: Reference, path: str) -> Answer:
        accept = {"Accept": _manifest.ACCEPT} if path.startswith("manifests/") else {}
        return self._session.ask(method, reference, self._session.api(reference, path), pull(reference), accept)

    def _parsed(self, reference: Reference) -> t.Union[Manifest, Index]:
        raw, media_type = self.manifest(reference)
        return _manifest.parse(raw, reference.where, media_type)

    def _get(self, reference: Reference, path: str, digest: t.Optional[Digest]) -> Answer:
        """A whole body that is what ``digest`` says, or what the registry says that it is."""
        answer = self._ask("GET", reference, path)
        self._session.judge(reference, answer)
        promised = digest or _stated(answer)
        if promised:
            found = hashing(promised)
            found.update(answer.body)
            if found.hexdigest() != promised.hex:
                raise _mismatch(reference, answer, promised, "%s:%s" % (found.name, found.hexdigest()))
        return answer


def _child(index: Index, platform: Platform, where: str, named: bool) -> Descriptor:
    offered = [child for child in index.manifests if child.platform and not child.attestation]
    return offered[choose(platform, [t.cast(Platform, child.platform) for child in offered], where, NotInRegistry, named)]


def _manifests(reference: Reference) -> str:
    return "manifests/%s" % (reference.digest or reference.tag)


def _media_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def _stated(answer: Answer) -> t.Optional[Digest]:
    """What the registry says that it sends (distribution-spec, "Pulling manifests")."""
    try:
        return Digest.parse(answer.headers.get("Docker-Content-Digest", ""))
    except InvalidInput:
        return None


def _mismatch(reference: Reference, answer: Answer, promised: t.Any, found: str) -> RegistryError:
    return RegistryError(
        "%s answers something else than was asked for: %s has the digest %s where %s is promised: the registry, or what lies between, is damaged"
        % (reference.where, answer.url, found, promised)
    )
