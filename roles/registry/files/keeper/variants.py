# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's configuration: what it says, and what is made of it. Pure."""

from __future__ import annotations

import copy
from typing import Any, Dict, NamedTuple, Optional, Tuple

from settings import Config, Failure

NOT_DRIVERS = ("cache", "delete", "maintenance", "redirect", "tag")
EVERYWHERE = ("", "0.0.0.0", "::")


class Address(NamedTuple):
    """Where a server listens: a unix socket's path, or a host and a port."""

    path: Optional[str]
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return self.path or "%s:%d" % ("[%s]" % self.host if ":" in self.host else self.host, self.port)


def address(config: Config) -> Address:
    """Where this host reaches the server: on the loopback if it listens everywhere."""
    http = config.get("http") or {}
    given = str(http.get("addr") or "")
    if http.get("net") == "unix":
        return Address(given)
    return tcp(given)


def tcp(given: str) -> Address:
    host, colon, port = given.rpartition(":")
    if not colon or not port.isdigit():
        raise Failure("The address %r must be host:port." % given)
    host = host.strip("[]")
    return Address(None, ("::1" if host == "::" else "127.0.0.1") if host in EVERYWHERE else host, int(port))


def driver(config: Config) -> Tuple[str, Dict[str, Any]]:
    """The storage driver and its parameters."""
    found = [name for name in config.get("storage") or {} if name not in NOT_DRIVERS]
    if len(found) != 1:
        raise Failure("The configuration must name one storage driver; it names %s." % (", ".join(sorted(found)) or "none"))
    return found[0], config["storage"][found[0]] or {}


def root(config: Config) -> Optional[str]:
    """The folder of filesystem storage."""
    name, parameters = driver(config)
    return str(parameters.get("rootdirectory") or "/var/lib/registry") if name == "filesystem" else None


def is_read_only(config: Config) -> bool:
    maintenance = config["storage"].get("maintenance") or {}
    return bool((maintenance.get("readonly") or {}).get("enabled"))


def redis(config: Config) -> Optional[Dict[str, Any]]:
    """The redis in which blobs are remembered, if they are."""
    cache = config["storage"].get("cache") or {}
    return config.get("redis") if cache.get("blobdescriptor", cache.get("layerinfo")) == "redis" else None


def read_only(config: Config) -> Config:
    """For the time of a collection or a backup: nothing is taken, and nothing remembered that may go meanwhile."""
    made = copy.deepcopy(config)
    made["storage"].pop("cache", None)
    _maintain(made, "readonly", True)
    return made


def trial(config: Config, socket: str) -> Config:
    """All as it is, at another address, and without what would be noticed outside."""
    made = copy.deepcopy(config)
    http = made.setdefault("http", {})
    http.update(net="unix", addr=socket)
    http.pop("debug", None)
    if "tls" in http:
        http["tls"].pop("letsencrypt", None)
        if not http["tls"].get("certificate"):
            del http["tls"]
    made.pop("notifications", None)
    (made.get("log") or {}).pop("hooks", None)
    (made.get("health") or {}).pop("file", None)
    _maintain(made, "uploadpurging", False)
    return made


def private(config: Config, socket: str, readonly: bool, folder: Optional[str] = None) -> Config:
    """The storage alone, for whoever reaches the socket: no accounts, no TLS, no cache. ``folder`` is another one to serve."""
    name, parameters = ("filesystem", {"rootdirectory": folder}) if folder else driver(config)
    made = {
        "version": config.get("version", 0.1),
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {name: copy.deepcopy(parameters), "delete": {"enabled": True}, "redirect": {"disable": True}},
        "http": {"net": "unix", "addr": socket, "secret": "private"},
    }
    if "compatibility" in config:
        made["compatibility"] = copy.deepcopy(config["compatibility"])
    _maintain(made, "uploadpurging", False)
    if readonly:
        _maintain(made, "readonly", True)
    return made


def _maintain(config: Config, name: str, enabled: bool) -> None:
    maintenance = config["storage"].get("maintenance") or {}
    config["storage"]["maintenance"] = dict(maintenance, **{name: dict(maintenance.get(name) or {}, enabled=enabled)})
