# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the engine of this host."""

from __future__ import annotations

import os
import typing as t

from .._errors import EngineDenied, EngineNotFound
from .engine import Engine
from .transport import Tls, Transport


def connect(options: t.Mapping[str, t.Any], environ: t.Optional[t.Mapping[str, str]] = None) -> Engine:
    """The engine that the option group ``engine`` names, else the first that answers where engines listen.

    Raises EngineNotFound that lists where we looked, EngineDenied if a socket is there but not for us.
    """
    environ = os.environ if environ is None else environ
    timeout = options["engine_timeout"]
    named = options["engine_host"]
    tls = None
    if options["engine_ca_cert"] or options["engine_client_cert"] or not options["engine_validate_certs"]:
        verify = options["engine_validate_certs"]
        tls = Tls(options["engine_ca_cert"], options["engine_client_cert"], options["engine_client_key"], verify)
    if named:
        return Engine(Transport(named, timeout, tls))
    for variable in ("DOCKER_HOST", "CONTAINER_HOST"):
        if environ.get(variable):
            tls = tls or (_tls_of_environment(environ) if variable == "DOCKER_HOST" else None)
            return Engine(Transport(environ[variable], timeout, tls))

    refused: t.List[str] = []
    denied: t.Optional[EngineDenied] = None
    for path in places(environ):
        try:
            return Engine(Transport("unix://" + path, timeout))
        except EngineNotFound:
            refused.append(path)
        except EngineDenied as error:
            denied = denied or error
    if denied:
        raise denied
    raise EngineNotFound(
        "no engine answers: neither DOCKER_HOST nor CONTAINER_HOST is set, and nothing listens on %s: "
        "start Docker (systemctl start docker) or Podman (systemctl start podman.socket), or name one with engine_host" % ", ".join(refused)
    )


def places(environ: t.Mapping[str, str]) -> t.List[str]:
    """The sockets of Docker and Podman, then those of their rootless kin."""
    user = environ.get("XDG_RUNTIME_DIR") or "/run/user/%d" % os.geteuid()
    return ["/var/run/docker.sock", "/run/podman/podman.sock", user + "/docker.sock", user + "/podman/podman.sock"]


def _tls_of_environment(environ: t.Mapping[str, str]) -> t.Optional[Tls]:
    """As the docker command reads DOCKER_TLS_VERIFY and DOCKER_CERT_PATH."""
    if not environ.get("DOCKER_TLS_VERIFY"):
        return None
    folder = environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    ca, cert, key = (os.path.join(folder, name) for name in ("ca.pem", "cert.pem", "key.pem"))
    return Tls(ca, cert, key)
