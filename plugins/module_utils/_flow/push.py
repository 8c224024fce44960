# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Push, step by step: look at the host and ask what the registry has, for all images at once; then decide, push, and ask again."""

from __future__ import annotations

import typing as t

from .._engine import local as _local
from .._engine.engine import CONTAINERD, Engine
from .._errors import ArchiveError, EngineError, NotInRegistry
from .._oci.digest import Digest
from .._oci.manifest import INDEXES
from .._oci.reference import Reference
from .._plan.pull import Keep, Local, Remote
from .._plan.push import Push, Sends, decide, sent, wished
from .._plan.tag import similar
from .._registry.keychain import Keychain
from .._registry.upload import pushing
from .asking import Asker, seen

Result = t.Dict[str, t.Any]


class Asked(t.NamedTuple):
    """The image that a reference names on the host, what a push of it would send, and what the registry has, if anything."""

    reference: Reference
    local: Local
    sends: Sends
    remote: t.Optional[Remote]


class Pusher:
    """One task on one host: first ``ask`` for each image, then let the pusher do what is to be done for it."""

    def __init__(self, engine: Engine, keychain: Keychain, options: t.Mapping[str, t.Any], check_mode: bool) -> None:
        self._engine = engine
        self._asker = Asker(engine, keychain, options)
        self._check_mode = check_mode

    def ask(self, text: str) -> Asked:
        """Raises EngineError if the host has no such image, or not all of it."""
        return self._asked(wished(text))

    def __call__(self, asked: Asked) -> Result:
        """Keep or push one image; the answer is an entry for ``_module.side_by_side``."""
        plan, config_digest = self._decide(asked)
        reference, remote = asked.reference, asked.remote
        entry = {
            "reference": reference.spelling,
            "image_id": asked.local.image_id,
            "digest": remote and remote.descriptor.digest,
            "config_digest": asked.local.config_digest,
            "changed": False,
            "action": "kept" if isinstance(plan, Keep) else "pushed",
            "reason": plan.reason,
        }
        if isinstance(plan, Keep):
            return dict(entry, config_digest=entry["config_digest"] or (config_digest if plan.reason == "same_content" else None))

        was = _side(reference, remote and remote.descriptor.digest, config_digest)
        # As it is known before the push, in check mode or not: some engines make the manifest only then.
        becomes = _side(reference, asked.sends.digest, asked.local.config_digest)
        digest = asked.sends.digest if self._check_mode else self._push(reference)
        return dict(entry, digest=digest, changed=digest is None or digest != was["digest"], diff=(was, becomes))

    def _asked(self, reference: Reference) -> Asked:
        document = self._engine.inspect(str(reference))
        if document is None:
            there = similar(reference.spelling, _local.tags(self._engine))
            raise EngineError(
                "%s: the engine at %s has no such image to push%s"
                % (reference.spelling, self._engine.url, ": it has %s" % ", ".join(there) if there else "")
            )
        local = seen(document, self._engine.store, reference)
        if not local.complete:
            raise EngineError("%s: the engine at %s has only a part of it: load or pull it again" % (reference.spelling, self._engine.url))
        sends = Sends(None)
        if self._engine.store == CONTAINERD:
            index = (document.get("Descriptor") or {}).get("mediaType") in INDEXES
            sends = sent(Digest(local.image_id), self._engine.manifests(str(reference)) if index else None)
        try:
            return Asked(reference, local, sends, self._asker.remote(reference))
        except NotInRegistry:
            return Asked(reference, local, sends, None)

    def _decide(self, asked: Asked) -> t.Tuple[t.Union[Keep, Push], t.Optional[Digest]]:
        """The plan, and the digest of the config that the registry has, which is asked for where the manifest does not settle it."""
        reference, local, sends, remote = asked
        plan, content = decide(local, sends, remote), None
        if isinstance(plan, Push) and remote:
            try:
                content = self._asker.content(reference, remote, local.platform, self._engine.store == CONTAINERD)
            except (ArchiveError, NotInRegistry):
                # There is something else, or an index without this platform: neither is this image.
                content = None
            plan = decide(local, sends, remote, content)
        return plan, content.config_digest if content else None

    def _push(self, reference: Reference) -> Digest:
        """Push, and find nothing left to do; the digest that the registry has. Raises EngineError if there is."""
        with pushing(reference), self._asker.known(reference) as auth:
            self._engine.push(reference, None, auth, self._asker.tls_verify)
        after = self._asked(reference)
        if after.remote is None or isinstance(self._decide(after)[0], Push):
            found = "has %s, which is another image" % after.remote.descriptor.digest if after.remote else "has no such image"
            raise EngineError(
                "%s: the engine at %s reported no error, and %s %s after the push: somebody else pushed meanwhile, or a mirror answers: run again"
                % (reference.spelling, self._engine.url, reference.registry, found)
            )
        return after.remote.descriptor.digest


def _side(reference: Reference, digest: t.Optional[str], config_digest: t.Optional[str]) -> Result:
    """One side of the diff."""
    return {"reference": reference.spelling, "digest": digest, "config_digest": config_digest}
