# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine says when it could not have its way with a registry, and what that means to a user.

Engines say it in an answer of 400 or more or in a message after 200, which of both differs between them, and in words of their own.
"""

from __future__ import annotations

from .._errors import EngineError, NotInRegistry, RegistryDenied, StowageError
from .._oci.reference import Reference

_DENIALS = ("unauthorized", "no basic auth credentials", "authentication required", "denied", "403 forbidden")
_NO_TLS = ("server gave HTTP response to HTTPS client", "first record does not look like a TLS handshake")


class Denied(RegistryDenied):
    """``reason`` is the engine's; what was found out about us, and where, is for who found it to add."""

    def __init__(self, reference: Reference, reason: str) -> None:
        super().__init__("%s: %s does not let the engine in (%s)" % (reference.spelling, reference.registry, reason))
        self.reason = reason


def of_asking(url: str, podman: bool, reference: Reference, status: int, reason: str) -> StowageError:
    """Of a question; ``url`` is the engine's."""
    return _of_reading(url, podman, reference, status, reason, "ask %s for it")


def of_pulling(url: str, podman: bool, reference: Reference, status: int, reason: str) -> StowageError:
    """Of a pull; ``status`` is 0 where the reason came in a message."""
    return _of_reading(url, podman, reference, status, reason, "have it from %s")


def of_pushing(url: str, podman: bool, reference: Reference, reason: str) -> StowageError:
    low = reason.lower()
    if "name unknown" in low:
        return NotInRegistry(
            "%s: %s has no such repository, and makes none by itself (%s): create it there first" % (reference.spelling, reference.registry, reason)
        )
    if _denied(low):
        return Denied(reference, reason)
    return _unable(url, podman, reference, "push it to %s", reason)


def _of_reading(url: str, podman: bool, reference: Reference, status: int, reason: str, what: str) -> StowageError:
    low = reason.lower()
    if status == 404 or "manifest unknown" in low or "not found" in low and "manifest" in low or "name unknown" in low:
        return NotInRegistry("%s: %s has no such image (%s): look at its repository and tag" % (reference.spelling, reference.registry, reason))
    if status == 401 or _denied(low):
        return Denied(reference, reason)
    return _unable(url, podman, reference, what, reason)


def _denied(low: str) -> bool:
    return any(word in low for word in _DENIALS)


def _unable(url: str, podman: bool, reference: Reference, what: str, reason: str) -> EngineError:
    """What keeps an engine from a registry, and where that is set right."""
    todo = "see whether that registry runs, and the engine's log"
    if any(words in reason for words in _NO_TLS):
        docker = "if that is meant so, list it in insecure-registries of the engine's daemon.json, as Docker heeds no plain_http"
        todo = "it speaks no TLS: " + ("set plain_http" if podman else docker)
    elif "HEAD request" in reason and "/manifests/" in reason and "400 Bad Request" in reason:
        # docker-registry 2.8 makes schema 1 of a Docker manifest for who accepts OCI's alone, as the containerd store does.
        todo = "it has a manifest of Docker's own type there, which this engine cannot push over: delete that in the registry, or use another tag"
    elif "no such host" in reason:
        todo = "look at the registry's name, and at how the engine's host resolves names"
    elif "x509: " in reason:
        todo = "give the engine its CA, as /etc/%s/certs.d/%s/ca.crt" % ("containers" if podman else "docker", reference.registry)
    return EngineError("%s: the engine at %s could not %s (%s): %s" % (reference.spelling, url, what % reference.registry, reason, todo))
