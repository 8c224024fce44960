# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each builder can do, and how each is given a Dockerfile that is no part of what it builds."""

from __future__ import annotations

import hashlib
import typing as t

from .._errors import InvalidInput

AUTO = "auto"
CLASSIC, BUILDKIT, DOCKER_CLI = "classic", "buildkit", "docker_cli"
PODMAN, PODMAN_CLI = "podman", "podman_cli"

OF_DOCKER = (BUILDKIT, CLASSIC, DOCKER_CLI)
OF_PODMAN = (PODMAN, PODMAN_CLI)
"""By preference: those that need no program first."""

BUILDERS = OF_DOCKER + OF_PODMAN

CAPABLE: t.Mapping[str, t.Tuple[str, ...]] = {
    "secrets": (PODMAN, DOCKER_CLI, PODMAN_CLI),
    "ssh": (DOCKER_CLI, PODMAN_CLI),
    "cache_from": (DOCKER_CLI, PODMAN_CLI),
    "cache_to": (DOCKER_CLI, PODMAN_CLI),
    "timestamp": (BUILDKIT, PODMAN, PODMAN_CLI),
    "docker_format": OF_DOCKER,
    "frontend": (BUILDKIT, DOCKER_CLI),
    "features": (BUILDKIT, PODMAN, DOCKER_CLI, PODMAN_CLI),
    "base_id": (CLASSIC, PODMAN, PODMAN_CLI),
    "hidden": (CLASSIC, PODMAN, DOCKER_CLI, PODMAN_CLI),
    "hidden_beside_tar": (CLASSIC, PODMAN, PODMAN_CLI),
}
"""The builders that can do what is not in everybody's power."""

WORDS = {
    "docker_format": "HEALTHCHECK or SHELL in an image with timestamp, which Podman writes in OCI's format",
    "frontend": "the # syntax of the Dockerfile",
    "features": "what the Dockerfile uses (%s)",
    "base_id": "a base named by its ID",
    "hidden": "a Dockerfile that is not in the context, or ignored there",
    "hidden_beside_tar": "a Dockerfile that is not in the tar of the context",
}
"""What calls for it, in a message; what is not here is an option of that name."""

PROGRAMS = {
    DOCKER_CLI: "the command docker with BuildKit (packages docker-cli and docker-buildx)",
    PODMAN_CLI: "the command podman on the host of the engine",
}

TIMESTAMP_API = (1, 45)
"""From this API on (Docker 26), and into the containerd store alone, BUILDKIT sets the times in layers."""


def beside(builder: str, dockerfile: t.Optional[bytes], ignore: t.Optional[bytes]) -> t.Tuple[t.Optional[str], t.Dict[str, bytes]]:
    """The name under which a Dockerfile that COPY must not see goes into the tar, and all files to add for this builder, or to put
    there instead of the context's own. Without such a Dockerfile the name is None.

    ``ignore`` is the context's own ``.dockerignore``, if it is among what is sent: it arrives in the image, with the classic
    builder with one line more. Podman would apply it a second time, in its own way, but for a ``.containerignore``.
    """
    name = ".dockerfile." + hashlib.sha256(dockerfile).hexdigest()[:16] if dockerfile is not None else None
    files = {name: dockerfile} if name and dockerfile is not None else {}
    hidden = "".join("%s\n" % one for one in files)
    if builder in OF_PODMAN:
        files[".containerignore"] = (".containerignore\n" + hidden).encode()
    elif builder == CLASSIC and hidden:
        own = b".dockerignore" if ignore is None else ignore
        files[".dockerignore"] = own + b"\n" + hidden.encode()
    return name, files


def choose(
    store: str, api: t.Tuple[int, int], needs: t.Mapping[str, str], wished: str, there: t.Callable[[str], bool]
) -> str:
    """The first builder of this store that can do all that is needed. ``needs`` are keys of CAPABLE, with more words for the message
    where there are some; ``there`` tells, if it must be known, whether a program is on this host. Raises InvalidInput, which says why none can.
    """
    engine = "Podman" if store == "podman" else "Docker with the %s store" % store
    offered = OF_PODMAN if store == "podman" else OF_DOCKER
    if wished != AUTO and wished not in offered:
        raise InvalidInput("builder: %s is none of this engine, which is %s: take auto, or one of %s" % (wished, engine, ", ".join(offered)))
    able = list(offered)
    for need in needs:
        able = [builder for builder in able if _can(builder, need, store, api)]
    if wished != AUTO:
        if wished not in able:
            lacking = _told({need: more for need, more in needs.items() if not _can(wished, need, store, api)})
            others = " or ".join(able) or "no builder of this engine"
            raise InvalidInput("builder: %s cannot do %s; %s can" % (wished, lacking, others))
        able = [wished]
    if not able:
        alone = {need: more for need, more in needs.items() if not any(_can(builder, need, store, api) for builder in offered)}
        advice = ": Docker 26 or later can, with the containerd store, and Podman can" if "timestamp" in alone else ""
        raise InvalidInput("no builder of this engine, which is %s, can do %s%s" % (engine, _told(alone or needs), advice))
    for builder in able:
        if builder not in PROGRAMS or there(builder):
            return builder
    why = " for %s" % _told(needs) if needs else ""
    raise InvalidInput("%s is needed%s, and this host has none: install it" % (" or ".join(PROGRAMS[builder] for builder in able), why))


def _can(builder: str, need: str, store: str, api: t.Tuple[int, int]) -> bool:
    if need == "timestamp" and builder == BUILDKIT and (store != "containerd" or api < TIMESTAMP_API):
        return False
    return builder in CAPABLE[need]


def _told(needs: t.Mapping[str, str]) -> str:
    return " and ".join(WORDS[need] % more if more else WORDS.get(need, need) for need, more in sorted(needs.items()))
