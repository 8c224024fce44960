# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of registries: what a reference names there (distribution-spec, "Pull")."""

from __future__ import annotations

import typing as t

from .._errors import ArchiveError, InvalidInput, NotInRegistry, RegistryError, shown
from .._oci import image as _image
from .._oci import manifest as _manifest
from .._oci.choice import choose
from .._oci.digest import Digest, hashing
from .._oci.manifest import Descriptor, Index, Manifest
from .._oci.platform import Platform
from .._oci.reference import DOCKER_HUB, Reference
from .auth import Auth, reason
from .transport import Answer, Http, number
from .keychain import Keychain

_HUB_HOST = "registry-1.docker.io"
_NO_HEAD = (405, 501)


class Client:
    """All registries of a task, from the option group ``registry``; nothing is asked before it is needed.

    ``retries`` overrides that option. Every method raises NotInRegistry, RegistryDenied or RegistryError, and ArchiveError for
    what is there and is no image.
    """

    def __init__(self, options: t.Mapping[str, t.Any], keychain: Keychain, retries: t.Optional[int] = None) -> None:
        self._plain = options["plain_http"]
        retries = options["retries"] if retries is None else retries
        self._http = Http(options["ca_cert"], options["validate_certs"], options["registry_timeout"], retries)
        self._auth = Auth(self._http, keychain, self._plain)

    def resolve(self, reference: Reference) -> Descriptor:
        """What the reference names now: one HEAD where the registry answers it in full, else the manifest itself."""
        answer = self._answer("HEAD", reference, _manifests(reference))
        if answer.status not in _NO_HEAD:
            self._judge(reference, answer)
            media_type, size, stated = _media_type(answer), number(answer.headers.get("Content-Length", "")), _stated(answer)
            if stated and size is not None and media_type in _manifest.INDEXES + _manifest.MANIFESTS:
                if stated != (reference.digest or stated):
                    raise _mismatch(reference, answer, reference.digest, stated)
                return Descriptor(media_type, stated, size)
        raw, media_type = self.manifest(reference)
        parsed = _manifest.parse(raw, _where(reference), media_type)
        return Descriptor(parsed.media_type, reference.digest or Digest.of(raw), len(raw))

    def manifest(self, reference: Reference) -> t.Tuple[bytes, str]:
        """The bytes as received, which are what the reference's digest, or else the registry, promises; and their media type."""
        answer = self._get(reference, _manifests(reference), reference.digest)
        return answer.body, _media_type(answer)

    def config_digest(self, reference: Reference, platform: Platform) -> Digest:
        """Of the image itself, or of the one that serves ``platform`` best if the reference names an index."""
        return self._image(reference, platform).config.digest

    def config(self, reference: Reference, platform: Platform) -> _image.Config:
        """The config of which config_digest is the digest."""
        digest = self.config_digest(reference, platform)
        return _image.parse_config(self._get(reference, "blobs/%s" % digest, digest).body, _where(reference))

    def _image(self, reference: Reference, platform: Platform) -> Manifest:
        parsed = self._parsed(reference)
        if isinstance(parsed, Index):
            parsed = self._parsed(reference._replace(tag=None, digest=_child(parsed, platform, _where(reference)).digest))
        if isinstance(parsed, Index):
            raise ArchiveError("%s is an index of indexes, which no engine reads: name one of them by its digest" % _where(reference))
        if parsed.artifact:
            raise ArchiveError("%s is no image, but %s" % (_where(reference), shown(parsed.artifact)))
        return parsed

    def _parsed(self, reference: Reference) -> t.Union[Manifest, Index]:
        raw, media_type = self.manifest(reference)
        return _manifest.parse(raw, _where(reference), media_type)

    def _get(self, reference: Reference, path: str, digest: t.Optional[Digest]) -> Answer:
        """A whole body that is what ``digest`` says, or what the registry says that it is."""
        answer = self._answer("GET", reference, path)
        self._judge(reference, answer)
        promised = digest or _stated(answer)
        if promised:
            found = hashing(promised)
            found.update(answer.body)
            if found.hexdigest() != promised.hex:
                raise _mismatch(reference, answer, promised, "%s:%s" % (found.name, found.hexdigest()))
        return answer

    def _answer(self, method: str, reference: Reference, path: str) -> Answer:
        """Ask, and answer a challenge once."""
        host = _HUB_HOST if reference.registry == DOCKER_HUB else reference.registry
        scheme = "http" if self._plain and reference.registry != DOCKER_HUB else "https"
        url = "%s://%s/v2/%s/%s" % (scheme, host, reference.repository, path)
        scope = "repository:%s:pull" % reference.repository
        accept = {"Accept": _manifest.ACCEPT} if path.startswith("manifests/") else {}
        shown = self._auth.header(reference, scope)
        answer = self._http.request(reference.spelling, method, url, dict(accept, **shown))
        if answer.status == 401:
            better = self._auth.challenged(reference, scope, shown, answer.headers.get("WWW-Authenticate", ""))
            if better:
                answer = self._http.request(reference.spelling, method, url, dict(accept, **better))
        return answer

    def _judge(self, reference: Reference, answer: Answer) -> None:
        """Raise what a status of 400 or more means."""
        if answer.status < 400:
            return
        if answer.status in (401, 403):
            raise self._auth.denied(reference, answer)
        spelling, registry, why = reference.spelling, reference.registry, reason(answer)
        if answer.status == 404:
            raise NotInRegistry("%s: %s has no such image (%s): look at its repository and tag" % (spelling, registry, why))
        if answer.status == 429:
            when = "later" if answer.retry_after is None else "in %d seconds" % answer.retry_after
            raise RegistryError(
                "%s: %s takes no more requests for now (%s): try again %s; logging in often raises the limit" % (spelling, registry, why, when)
            )
        if answer.status == 400 and answer.url.startswith("http://"):
            raise RegistryError("%s: %s refuses to be asked without TLS (%s): leave plain_http away if it speaks TLS" % (spelling, registry, why))
        raise RegistryError("%s: %s failed (%s): look at its log, or try again later" % (spelling, registry, why))


def _child(index: Index, platform: Platform, where: str) -> Descriptor:
    offered = [child for child in index.manifests if child.platform and not child.attestation]
    return offered[choose(platform, [t.cast(Platform, child.platform) for child in offered], where, NotInRegistry)]


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


def _where(reference: Reference) -> str:
    return "%s at %s" % (reference.spelling, reference.registry)


def _mismatch(reference: Reference, answer: Answer, promised: t.Any, found: str) -> RegistryError:
    return RegistryError(
        "%s answers something else than was asked for: %s has the digest %s where %s is promised: the registry, or what lies between, is damaged"
        % (_where(reference), answer.url, found, promised)
    )
