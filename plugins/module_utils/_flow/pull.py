# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pull, step by step: look at the host and ask what the registry has, for all images at once; then decide, pull, and look again."""

from __future__ import annotations

import typing as t

from .._engine.engine import CLASSIC, CONTAINERD, PODMAN, Engine
from .._errors import EngineError, InvalidInput
from .._oci import platform as _platform
from .._oci.digest import Digest
from .._oci.reference import Reference, parse
from .._plan.pull import Content, Keep, Local, Pull, Remote, Wish, decide, settled
from .._registry.keychain import Keychain
from .asking import Asker, seen

Result = t.Dict[str, t.Any]

_PLATFORM_API = (1, 49)


class Asked(t.NamedTuple):
    """What is known of an image before anything is done; ``remote`` is None where the host alone settles it."""

    wish: Wish
    before: t.Optional[Local]
    remote: t.Optional[Remote]


class Puller:
    """One task on one host: first ``ask`` for each image, then let the puller do what is to be done for it."""

    def __init__(self, engine: Engine, keychain: Keychain, options: t.Mapping[str, t.Any], check_mode: bool) -> None:
        self._engine = engine
        self._asker = Asker(engine, keychain, options)
        self._policy = options["policy"]
        self._platform = _platform.parse(options["platform"]) if options["platform"] else None
        self._check_mode = check_mode
        self._foreign = self._platform if engine.store == CONTAINERD and self._platform != engine.platform else None
        if self._foreign and engine.api < _PLATFORM_API:
            raise InvalidInput(
                "platform %s: the containerd store of the engine at %s does not tell which platforms it has (API %d.%d): use Docker 28 or later"
                % (self._foreign, engine.url, *engine.api)
            )

    def ask(self, text: str) -> Asked:
        """Look at the host, and ask what the registry has if that is not enough."""
        reference = parse(text)
        if reference.digest:
            # As docker pull does it: the digest says it all, and the tag beside it is not made.
            reference = reference._replace(tag=None)
        wish = Wish(reference, self._policy, self._platform, self._engine.platform)
        before = self._look(reference)
        return Asked(wish, before, None if settled(wish, before) else self._asker.remote(reference))

    def __call__(self, asked: Asked) -> Result:
        """Keep or pull one image; the answer is an entry for ``_module.side_by_side``."""
        wish, before, remote = asked
        if remote is None:
            return self._entry(wish.reference, t.cast(Keep, settled(wish, before)), before if wish.reference.digest else self._told(before))
        plan, content = self._decide(wish, before, remote)
        reference, digest = wish.reference, remote.descriptor.digest
        if plan == Keep("same_digest"):
            return self._entry(reference, plan, before and before._replace(digest=digest))
        before = self._told(before)
        entry = self._entry(reference, plan, before)
        if isinstance(plan, Keep):
            return entry

        config_digest = content.config_digest if content else None
        was = self._shown(entry)
        entry.update(digest=digest, config_digest=config_digest, image_id=digest if self._engine.store == CONTAINERD else config_digest)
        entry.update(diff=(was, self._shown(entry)))
        if self._check_mode:
            entry["changed"] = plan.reason != "incomplete"
        else:
            after = self._pull(wish, remote, content)
            entry.update(image_id=after.image_id, config_digest=after.config_digest or config_digest, changed=not after.same(before))
        return entry

    def _decide(self, wish: Wish, local: t.Optional[Local], remote: Remote) -> t.Tuple[t.Union[Keep, Pull], t.Optional[Content]]:
        """The plan, and the content that the registry has, which is asked for where the digest does not settle it."""
        plan, content = decide(wish, local, remote), None
        if isinstance(plan, Pull):
            whole = self._engine.store == CONTAINERD or bool(self._platform and not remote.is_index)
            content = self._asker.content(wish.reference, remote, self._platform or self._engine.platform, whole, self._platform is not None)
            plan = decide(wish, local, remote, content)
        if plan == Pull("other_platform") and wish.reference.digest and self._engine.store == CLASSIC:
            raise EngineError(
                "%s is an image for %s on this host, and Docker's classic store has one platform for a digest: remove it first, "
                "or name the digest of the other platform's manifest" % (wish.reference.spelling, t.cast(Local, local).platform)
            )
        return plan, content

    def _pull(self, wish: Wish, remote: Remote, content: t.Optional[Content]) -> Local:
        """Pull, and find nothing left to do; raises EngineError if there is.

        Where the containerd store of Docker 28 has a layer's content unpacked it does not fetch the layer: such an image runs,
        and stays incomplete.
        """
        reference, digest = wish.reference, remote.descriptor.digest
        with self._asker.known(reference) as auth:
            self._engine.pull(reference, str(self._platform) if self._platform else None, auth, self._asker.tls_verify)
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
        local = seen(document, self._engine.store, reference)
        if self._foreign and local.complete:
            # That shows the image of the index as if it were all: under an ID of its own.
            shown = seen(self._engine.inspect(str(reference), self._foreign) or document, self._engine.store, reference)
            local = local._replace(fingerprint=shown.fingerprint, platform=shown.platform)
        return local

    def _told(self, local: t.Optional[Local]) -> t.Optional[Local]:
        """With the digest as which it came, where Podman has it under several."""
        if local is None or self._engine.store != PODMAN or len(local.digests) < 2:
            return local
        digest = self._engine.digest(local.image_id)
        return local._replace(digest=Digest(digest) if digest else local.digest)

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

    def _shown(self, entry: Result) -> Result:
        """One side of the diff."""
        return {key: entry[key] for key in ("reference", "digest", "image_id")}
