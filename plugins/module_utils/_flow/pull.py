# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull, step by step: look at the host, ask what the registry has, decide, pull, and look again."""

from __future__ import annotations

import typing as t

from .._engine import local as _local
from .._engine.engine import CLASSIC, CONTAINERD, PODMAN, Engine
from .._errors import EngineError, InvalidInput, NotInRegistry, RegistryDenied, RegistryError
from .._oci import image as _image
from .._oci import platform as _platform
from .._oci.manifest import Descriptor
from .._oci.reference import Reference
from .._plan.pull import Content, Keep, Local, Pull, Remote, Wish, decide, settled
from .._registry.client import Client
from .._registry.keychain import Keychain
from .._registry.session import Session

Result = t.Dict[str, t.Any]

_PLATFORM_API = (1, 49)


class Puller:
    """One task on one host. A Docker engine asks registries for us; where there is only Podman, or more is to be known than
    Docker tells, we ask ourselves.
    """

    def __init__(self, engine: Engine, keychain: Keychain, options: t.Mapping[str, t.Any], check_mode: bool) -> None:
        self._engine = engine
        self._keychain = keychain
        # What Docker does not tell is good to know, and not worth waiting for.
        self._client = Client(Session(options, keychain, retries=None if engine.store == PODMAN else 0))
        self._tls_verify = options["validate_certs"] and not options["plain_http"]
        self._policy = options["policy"]
        self._platform = _platform.parse(options["platform"]) if options["platform"] else None
        self._check_mode = check_mode
        self._silent: t.Set[str] = set()
        self._foreign = self._platform if engine.store == CONTAINERD and self._platform != engine.platform else None
        if self._foreign and engine.api < _PLATFORM_API:
            raise InvalidInput(
                "platform %s: the containerd store of the engine at %s does not tell which platforms it has (API %d.%d): use Docker 28 or later"
                % (self._foreign, engine.url, *engine.api)
            )

    def __call__(self, reference: Reference) -> Result:
        """Keep or pull one image; the answer is an entry for ``_module.side_by_side``."""
        if reference.digest:
            # As docker pull does it: the digest says it all, and the tag beside it is not made.
            reference = reference._replace(tag=None)
        wish = Wish(reference, self._policy, self._platform, self._engine.platform)
        before = self._look(reference)
        plan, remote, content = self._decide(wish, before)
        entry = self._entry(reference, plan, before)
        if remote is None:
            return entry
        digest = remote.descriptor.digest
        if isinstance(plan, Keep):
            return dict(entry, digest=digest) if plan.reason == "same_digest" else entry

        config_digest = content.config_digest if content else None
        entry.update(digest=digest, config_digest=config_digest, image_id=digest if self._engine.store == CONTAINERD else config_digest)
        entry.update(diff=(self._shown(reference, before and before._asdict()), self._shown(reference, entry)))
        if self._check_mode:
            entry["changed"] = plan.reason != "incomplete"
        else:
            after = self._pull(wish, remote, content)
            entry.update(image_id=after.image_id, config_digest=after.config_digest or config_digest, changed=not after.same(before))
        return entry

    def _decide(self, wish: Wish, local: t.Optional[Local]) -> t.Tuple[t.Union[Keep, Pull], t.Optional[Remote], t.Optional[Content]]:
        """The plan, and what was asked for it: nothing where the host alone settles it, the content where the digest does not."""
        keep = settled(wish, local)
        if keep:
            return keep, None, None
        remote, content = self._ask(wish.reference), None
        plan = decide(wish, local, remote)
        if isinstance(plan, Pull):
            content = self._content(wish.reference, remote)
            plan = decide(wish, local, remote, content)
        if plan == Pull("other_platform") and wish.reference.digest and self._engine.store == CLASSIC:
            raise EngineError(
                "%s is an image for %s on this host, and Docker's classic store has one platform for a digest: remove it first, "
                "or name the digest of the other platform's manifest" % (wish.reference.spelling, t.cast(Local, local).platform)
            )
        return plan, remote, content

    def _pull(self, wish: Wish, remote: Remote, content: t.Optional[Content]) -> Local:
        """Pull, and find nothing left to do; raises EngineError if there is.

        Where the containerd store of Docker 28 has a layer's content unpacked it does not fetch the layer: such an image runs,
        and stays incomplete.
        """
        reference, digest = wish.reference, remote.descriptor.digest
        platform, auth = str(self._platform) if self._platform else None, self._auth(reference)
        self._engine.pull(reference, platform, auth, self._tls_verify)
        after = self._look(reference)
        if after and self._engine.store == CLASSIC and digest not in after.digests:
            # The classic store leaves a digest with that image of an index which had it first, whatever is pulled later.
            holder = self._look(reference._replace(tag=None, digest=digest))
            if holder and holder.platform != after.platform:
                after = after._replace(digests=after.digests | {digest})
        if after is None:
            raise EngineError(
                "%s: the engine at %s reported no error, and has no such image: look at its log" % (reference.spelling, self._engine.url)
            )
        plan = decide(wish, after, remote, content)
        if isinstance(plan, Pull) and plan.reason != "incomplete":
            what, found = (digest, after.digest or after.image_id) if plan.reason == "other_digest" else (wish.platform or wish.host, after.platform)
            raise EngineError(
                "%s: %s promised %s, and the engine at %s has %s after the pull: the tag was moved meanwhile, or a mirror is behind: run again"
                % (reference.spelling, reference.registry, what, self._engine.url, found)
            )
        return after

    def _look(self, reference: Reference) -> t.Optional[Local]:
        document = self._engine.inspect(str(reference))
        if document is None:
            return None
        image = _local.of_inspect(document, self._engine.store, reference)
        if self._foreign and image.complete:
            document = self._engine.inspect(str(reference), self._foreign) or document
        digests = {text.partition("@")[2] for text in image.repo_digests if text.startswith(reference.name + "@")}
        if self._engine.store == CONTAINERD:
            digests.add(image.image_id)
        platform = _platform.normalise(document.get("Os") or "", document.get("Architecture") or "", document.get("Variant") or "")
        if not document.get("Variant"):
            platform = platform._replace(variant="")
        fingerprint = _image.fingerprint_of_inspect(document)
        return Local(image.image_id, image.digest, frozenset(digests), image.config_digest, fingerprint, platform, image.complete)

    def _ask(self, reference: Reference) -> Remote:
        answer = self._engine.distribution(reference, self._auth(reference))
        if answer is None:
            return Remote(self._client.resolve(reference), None)
        descriptor = Descriptor.parse(answer.get("Descriptor"), "%s, as the engine at %s tells" % (reference.spelling, self._engine.url))
        stated = [platform for platform in answer.get("Platforms") or [] if platform.get("architecture") not in (None, "", "unknown")]
        return Remote(descriptor, tuple(map(_platform.of, stated)) or None)

    def _content(self, reference: Reference, remote: Remote) -> t.Optional[Content]:
        """Asked by digest, so that it is that of ``remote``; None where Docker could pull and we cannot ask."""
        if reference.registry in self._silent:
            return None
        exact = reference._replace(tag=None, digest=remote.descriptor.digest)
        platform = self._platform or self._engine.platform
        try:
            if self._engine.store == CONTAINERD or (self._platform and not remote.index):
                config = self._client.config(exact, platform)
                return Content(config.digest, config.fingerprint, config.platform)
            return Content(self._client.config_digest(exact, platform))
        except RegistryError as error:
            if self._engine.store == PODMAN:
                raise
            if not isinstance(error, (NotInRegistry, RegistryDenied)):
                self._silent.add(reference.registry)
            return None

    def _auth(self, reference: Reference) -> t.Optional[str]:
        credential = self._keychain.find(reference)
        return credential.for_engine(reference.registry) if credential else None

    def _entry(self, reference: Reference, plan: t.Union[Keep, Pull], image: t.Optional[Local]) -> Result:
        """One entry of ``images``, as things are before a pull."""
        return {
            "reference": reference.spelling,
            "image_id": image and image.image_id,
            "digest": image and image.digest,
            "config_digest": image and image.config_digest,
            "changed": False,
            "action": "kept" if isinstance(plan, Keep) else "pulled",
            "reason": plan.reason,
        }

    def _shown(self, reference: Reference, image: t.Optional[t.Mapping[str, t.Any]]) -> Result:
        """One side of the diff."""
        image = image or {}
        return {"reference": reference.spelling, "digest": image.get("digest"), "image_id": image.get("image_id")}
