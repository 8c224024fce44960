# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a Dockerfile names: which they are, or will be, and having them on the host before a build."""

from __future__ import annotations

import typing as t

from .._engine import local as _local
from .._engine.engine import PODMAN, Engine
from .._errors import EngineError
from .._oci import named as _named
from .._oci.dockerfile import Base
from .._oci.reference import registries
from .._plan.pull import DIGEST, MISSING
from .._registry.keychain import Keychain
from .asking import all_at_once
from .pull import Puller

Ids = t.Dict[str, t.Optional[str]]
"""Image IDs by the name of the base."""


class Bases:
    """One task on one host; what is missing is pulled, and with the option ``pull`` what its registry has another image of."""

    def __init__(self, engine: Engine, params: t.Mapping[str, t.Any]) -> None:
        self._engine = engine
        self._params = params

    def foreseen(self, bases: t.Iterable[Base], remembered: t.Mapping[str, t.Optional[str]]) -> Ids:
        """The IDs that a build would find; None where the engine cannot tell one before it has pulled it.

        ``remembered`` are those that the tagged image was built from: a base that has left the host since is the same still, unless its
        registry is asked. Raises what ``Puller`` does, where a base is neither here nor there.
        """
        bases = list(bases)
        gone = [] if self._params["pull"] else [base for base in bases if remembered.get(called(base)) and not self._here(base)]
        found = self._settled([base for base in bases if base not in gone], check_mode=True)
        return dict(found, **{called(base): remembered[called(base)] for base in gone})

    def had(self, bases: t.Iterable[Base]) -> Ids:
        """Have them on the host, and tell their IDs."""
        return self._settled(bases, check_mode=False)

    def _settled(self, bases: t.Iterable[Base], check_mode: bool) -> Ids:
        found: Ids = {}
        wanted: t.Dict[t.Optional[str], t.Dict[str, Base]] = {}
        for base in bases:
            named = _named.parse(base.reference)
            platform = base.platform or self._params["platform"]
            # What is here serves as it is, even if the containerd store lacks blobs of it, unless its registry or a platform is asked for.
            enough = named.image_id or not (platform or self._params["pull"])
            found[called(base)] = self._here(base) if enough else None
            if named.reference is None and not found[called(base)]:
                raise EngineError(
                    "the Dockerfile builds from the image %s, and the engine at %s has none of that ID" % (base.reference, self._engine.url)
                )
            if not found[called(base)]:
                wanted.setdefault(platform, {})[base.reference] = base
        for platform, texts in wanted.items():
            # A puller is for one platform; of all images of it the questions are asked at once.
            keychain = Keychain.of(self._params, registries(texts), podman=self._engine.store == PODMAN)
            options = dict(self._params, platform=platform, policy=DIGEST if self._params["pull"] else MISSING)
            puller = Puller(self._engine, keychain, options, check_mode)
            asked = all_at_once(puller.ask, texts)
            for text, base in texts.items():
                found[called(base)] = puller(asked[text].result())["image_id"]
        return found

    def _here(self, base: Base) -> t.Optional[str]:
        image = _local.local(self._engine, base.reference)
        return image.image_id if image else None


def called(base: Base) -> str:
    """What a base is called in a stamp, and in words."""
    return "%s for %s" % (base.reference, base.platform) if base.platform else base.reference
