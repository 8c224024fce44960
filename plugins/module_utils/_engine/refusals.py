# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine says when it could not have its way with a registry, and what that means to a user.

Engines say it in an answer of 400 or more or in a message after 200, which of both differs between them, and in words of their own.
"""

from __future__ import annotations

from .._errors import EngineError, NotInRegistry, RegistryDenied, StowageError
from .._oci.reference import Reference

_DENIALS = ("unauthorized", "no basic auth credentials", "authentication required", "denied", "403 forbidden")


def of_asking(url: str, podman: bool, reference: Reference, status: int, reason: str) -> StowageError:
    """Of a question or a pull; ``status`` is 0 where the reason came in a message. ``url`` is the engine's."""
    low, where = reason.lower(), (reference.spelling, reference.registry, reason)
    if status == 404 or "manifest unknown" in low or "not found" in low and "manifest" in low or "name unknown" in low:
        return NotInRegistry("%s: %s has no such image (%s): look at its repository and tag" % where)
    if status == 401 or _denied(low):
        return RegistryDenied("%s: %s wants other credentials (%s): give username and password, or log in on the host" % where)
    return _unable(url, podman, reference, "have it from", reason)


def of_pushing(url: str, podman: bool, reference: Reference, reason: str) -> StowageError:
    low, where = reason.lower(), (reference.spelling, reference.registry, reason)
    if "name unknown" in low:
        return NotInRegistry("%s: %s has no such repository, and makes none by itself (%s): create it there first" % where)
    if _denied(low):
        return RegistryDenied(
            "%s: %s takes no push from whom it sees (%s): give username and password of somebody who may, or log in on the host" % where
        )
    return _unable(url, podman, reference, "push it to", reason)


def _denied(low: str) -> bool:
    return any(word in low for word in _DENIALS)


def _unable(url: str, podman: bool, reference: Reference, what: str, reason: str) -> EngineError:
    """What keeps an engine from a registry, and where that is set right."""
    todo = "see whether that registry runs, and the engine's log"
    if "server gave HTTP response to HTTPS client" in reason:
        known = "set plain_http" if podman else "if that is meant so, list it in insecure-registries of the engine's daemon.json"
        todo = "it speaks no TLS: " + known
    elif "HEAD request" in reason and "/manifests/" in reason and "400 Bad Request" in reason:
        # docker-registry 2.8 makes schema 1 of a Docker manifest for who accepts OCI's alone, as the containerd store does.
        todo = "it has a manifest of Docker's own type there, which this engine cannot push over: delete that in the registry, or use another tag"
    elif "x509: " in reason:
        todo = "give the engine its CA, as /etc/%s/certs.d/%s/ca.crt" % ("containers" if podman else "docker", reference.registry)
    return EngineError("%s: the engine at %s could not %s %s (%s): %s" % (reference.spelling, url, what, reference.registry, reason, todo))
