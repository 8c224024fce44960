# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine and a registry that belong together, for modules that work on both."""

from __future__ import annotations

from .engine import FakeEngine
from .registry import FakeRegistry

ASKED = "/distribution/.*"


class Site:
    """An engine, and a registry that it and the module reach: the engine's own idea of it is the fake's."""

    def __init__(self, engine, registry):
        self.engine = engine
        self.registry = registry
        self.podman = engine.store.name == "podman"
        self.containerd = engine.store.name == "containerd"

    def name(self, text):
        return "%s/%s" % (self.registry.host, text)

    def offer(self, text, item):
        self.engine.offer(self.name(text), item)
        return self.registry.offer(text, item)

    def params(self, *names, **more):
        return dict({"images": [self.name(text) for text in names], "engine_host": self.engine.url, "plain_http": True}, **more)

    def identity(self, made, target=None):
        return (target or made).digest if self.containerd else made.config_digest

    def asked(self):
        """How often the registry was asked, by whomever."""
        return self.engine.count("GET", ASKED) + len(self.registry.calls)

    def pulled(self):
        return self.engine.count("POST", "/images/create") + self.engine.count("POST", "/libpod/images/pull")

    def pushed(self):
        return self.engine.count("POST", "/images/.*/push")

    def close(self):
        self.engine.close()
        self.registry.close()


def serve(store, auth="", old=False):
    engine, registry = FakeEngine(store, old), FakeRegistry(auth)
    if auth:
        engine.demand(registry.username, registry.password)
    engine.daemon.registries[registry.host] = registry
    return Site(engine, registry)
