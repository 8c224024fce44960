# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role trust is asked for, and which files of a host that concerns."""

from __future__ import annotations

import posixpath
import re
import typing as t

from .._errors import InvalidInput, masked, shown
from . import trust_json as tj
from . import trust_toml as tt

Table = t.Dict[str, t.Any]

STATE = "/var/lib/stowage-trust.json"
DAEMON = "/etc/docker/daemon.json"
PID_FILE, SOCKET, SYSTEMD = "/run/docker.pid", "/run/docker.sock", "/run/systemd/system"
CONTAINERD = "/etc/containerd/config.toml"
REGISTRIES, DROP_INS = "/etc/containers/registries.conf", "/etc/containers/registries.conf.d"
DROP_IN = DROP_INS + "/zz-stowage.conf"
CERTS = {"docker": "/etc/docker/certs.d", "podman": "/etc/containers/certs.d", "containerd": tt.CONFIG_PATH}
HUB, HUB_KEY = "docker.io", "https://index.docker.io/v1/"

_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?)(?::[0-9]{1,5})?")


def check(wish: Table) -> None:
    """Raises InvalidInput for variables that are malformed or contradict each other; it names them."""
    host = wish["registry"]
    for name, text in [("trust_registry", host)] + [("trust_mirror_of", one) for one in wish["mirror_of"]]:
        if not _HOST.fullmatch(text):
            raise InvalidInput("%s: %s is no host[:port] as references have it: leave scheme, path and login away" % (name, shown(masked(text))))
    if wish["state"] == "absent":
        return
    if host in wish["mirror_of"]:
        raise InvalidInput("trust_mirror_of: %s cannot be a mirror of itself" % host)
    if bool(wish["client_certificate"]) != bool(wish["client_key"]):
        raise InvalidInput("trust_client_certificate and trust_client_key go together: one of them is missing")
    for name in ("ca", "client_certificate"):
        text = wish[name]
        if text and "-----BEGIN CERTIFICATE-----" not in text:
            raise InvalidInput("trust_%s: that file holds no certificate in PEM" % name)
        if "PRIVATE KEY-----" in text:
            raise InvalidInput("trust_%s: that file holds a private key, which hosts shall not have: give the certificate alone" % name)
    if wish["insecure"] != "never" and wish["ca"]:
        raise InvalidInput("trust_ca proves the registry and trust_insecure does without: leave one of them away")
    users = set()
    for login in wish["logins"]:
        user, username = login.get("user") or "root", login["username"]
        if not username or ":" in username:
            raise InvalidInput("trust_logins: the username %s is empty or has a colon" % shown(username))
        if not login["password"] or not login["password"].isprintable():
            raise InvalidInput("trust_logins: the password of %s is empty, or has characters that cannot be typed" % shown(username))
        if user in users:
            raise InvalidInput("trust_logins: %s can be logged in as one only" % user)
        users.add(user)


def places(wish: Table, state: str, users: t.Mapping[str, t.Sequence[str]]) -> Table:
    """Where to look: ``paths``, ``folders`` all of whose content counts, ``read``: a pattern of the files to read, ``made``: what may go."""
    memory = memory_of(state)
    host, known = wish["registry"], memory["registries"].get(wish["registry"], {})
    reads = {DAEMON, PID_FILE, CONTAINERD, REGISTRIES, *known.get("hosts", [])}
    reads.update([hosts_toml(HUB, "docker")] + [hosts_toml(name) for name in [host] + wish["mirror_of"]])
    reads.update(login["path"] for login in known.get("logins", []))
    for login in wish["logins"] if wish["state"] == "present" else []:
        reads.update(auth_files(account(login, users)[0]).values())
    owned = {path for name in CERTS for path in certificates(name, host).values()} | {DROP_IN, SOCKET, SYSTEMD, *known.get("files", [])}
    made = memory["made"] if wish["state"] == "absent" else []
    return {
        "paths": sorted({one for path in reads | owned for one in [path, *parents(path)]} | set(memory["made"])),
        "read": "(?:%s|%s/[^/]*[.]conf)$" % ("|".join(re.escape(path) for path in sorted(reads)), re.escape(DROP_INS)),
        "folders": [DROP_INS] + made,
        "made": made,
    }


def memory_of(state: str) -> Table:
    return dict({"made": [], "keys": [], "registries": {}}, **tj.read(state, STATE))


def parents(path: str) -> t.Iterator[str]:
    while posixpath.dirname(path) != "/":
        path = posixpath.dirname(path)
        yield path


def hosts_toml(host: str, engine: str = "containerd") -> str:
    return "%s/%s/hosts.toml" % (CERTS[engine], host)


def certificates(engine: str, host: str) -> t.Dict[str, str]:
    """Names of our own, so that those of others stay: engines read all *.crt, and each *.cert with its *.key."""
    return {kind: "%s/%s/stowage.%s" % (CERTS[engine], host, suffix) for kind, suffix in (("ca", "crt"), ("cert", "cert"), ("key", "key"))}


def auth_files(home: str) -> t.Dict[str, str]:
    # Podman's other one, below $XDG_RUNTIME_DIR, does not outlive a reboot.
    return {"docker": home + "/.docker/config.json", "podman": home + "/.config/containers/auth.json"}


def account(login: Table, users: t.Mapping[str, t.Sequence[str]]) -> t.Tuple[str, int, int]:
    """Home, uid and gid."""
    user = login.get("user") or "root"
    entry = users.get(user)
    if not entry:
        raise InvalidInput("trust_logins: this host has no user %s" % shown(user))
    return entry[4].rstrip("/") or "/", int(entry[1]), int(entry[2])
