# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What registries have of a task's images: asked for all of them at once, through the engine where it asks for us."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import typing as t

from .._engine import local as _local
from .._engine.engine import CONTAINERD, PODMAN, Engine
from .._engine.refusals import Denied
from .._errors import EngineError, NotInRegistry, RegistryDenied, RegistryError
from .._oci import image as _image
from .._oci import platform as _platform
from .._oci.manifest import Descriptor
from .._oci.platform import Platform
from .._oci.reference import Reference
from .._plan.pull import Content, Local, Remote
from .._registry.keychain import Keychain

if t.TYPE_CHECKING:
    from .._registry.client import Client

QUESTIONS = 16
"""How many are under way at once: each is a look at the host and a HEAD, and waits more than it works."""

# Docker 28 asks again without TLS where it takes a registry for an insecure one, if only because the image is not there, and tells
# what came of that.
_HIDDEN = ("connection reset by peer", "HTTP request to an HTTPS server")

A = t.TypeVar("A")


def all_at_once(ask: t.Callable[[str], A], texts: t.Iterable[str]) -> t.Dict[str, concurrent.futures.Future[A]]:
    """Ask for each of these references, and wait until all is known; what ``ask`` raised is raised by ``result()`` of its future."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=QUESTIONS) as pool:
        return {text: pool.submit(ask, text) for text in texts}


class Asker:
    """One task on one host. A Docker engine asks registries for us; where there is only Podman, or more is to be known than
    Docker tells, we ask ourselves.
    """

    def __init__(self, engine: Engine, keychain: Keychain, options: t.Mapping[str, t.Any]) -> None:
        self._engine = engine
        self._keychain = keychain
        self._options = options
        self._made: t.Optional[Client] = None
        self._making = threading.Lock()
        self._silent: t.Set[str] = set()
        self.tls_verify: bool = options["validate_certs"] and not options["plain_http"]

    @property
    def _client(self) -> Client:
        """Loaded when first needed: with Docker, a task that has nothing to do does not pay for it."""
        from .._registry.client import Client
        from .._registry.session import Session

        with self._making:
            if self._made is None:
                # What Docker does not tell is good to know, and not worth waiting for.
                self._made = Client(Session(self._options, self._keychain, retries=None if self._engine.store == PODMAN else 0))
            return self._made

    @contextlib.contextmanager
    def known(self, reference: Reference) -> t.Iterator[t.Optional[str]]:
        """An X-Registry-Auth header for the engine, if we have a credential; a refusal says which, or where we looked for one."""
        credential = self._keychain.find(reference)
        try:
            yield credential.for_engine(reference.registry) if credential else None
        except Denied as error:
            raise self._keychain.denied(reference, error.reason) from None

    def remote(self, reference: Reference) -> Remote:
        """What the reference names now; raises NotInRegistry, RegistryDenied, RegistryError or EngineError."""
        try:
            with self.known(reference) as auth:
                answer = self._engine.distribution(reference, auth)
        except EngineError as error:
            if not any(words in str(error) for words in _HIDDEN):
                raise
            answer = None
        if answer is None:
            return Remote(self._client.resolve(reference), None)
        descriptor = Descriptor.parse(answer.get("Descriptor"), "%s, as the engine at %s tells" % (reference.spelling, self._engine.url))
        stated = [platform for platform in answer.get("Platforms") or [] if platform.get("architecture") not in (None, "", "unknown")]
        return Remote(descriptor, tuple(map(_platform.of, stated)) or None)

    def content(self, reference: Reference, remote: Remote, platform: Platform, whole: bool, named: bool = False) -> t.Optional[Content]:
        """Asked by digest, so that it is that of ``remote``; None where Docker can go on and we cannot ask.

        ``whole`` reads the config itself, besides its digest; ``named``: the user asked for this platform.
        """
        if reference.registry in self._silent:
            return None
        exact = reference._replace(tag=None, digest=remote.descriptor.digest)
        try:
            if whole:
                config = self._client.config(exact, platform, named)
                return Content(config.digest, config.fingerprint, config.platform)
            return Content(self._client.config_digest(exact, platform, named))
        except RegistryError as error:
            if self._engine.store == PODMAN:
                raise
            if not isinstance(error, (NotInRegistry, RegistryDenied)):
                self._silent.add(reference.registry)
            return None


def seen(document: t.Mapping[str, t.Any], store: str, reference: Reference) -> Local:
    """What an engine's inspect says of the image that a reference names."""
    image = _local.of_inspect(document, store, reference)
    digests = {text.partition("@")[2] for text in image.repo_digests if text.startswith(reference.name + "@")}
    if store == CONTAINERD:
        digests.add(image.image_id)
    platform = image.platform if document.get("Variant") else image.platform._replace(variant="")
    fingerprint = _image.fingerprint_of_inspect(document)
    return Local(image.image_id, image.digest, frozenset(digests), image.config_digest, fingerprint, platform, image.complete)
