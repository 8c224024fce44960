# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's files must become so that its engines trust a registry, or trust it no more: wish + facts -> plan.

``wish``    the role's variables without their prefix; ca and client_certificate are contents; logins without passwords do
``facts``   engines; state: text of STATE; found: lines of find, as _FOUND has them; texts: path -> text; users: getent's lists; dump: containerd's
            configuration; dockerd: its command line; made: what may go

STATE remembers what we added to files of others, and which files and folders were not there before us: that and nothing
else is taken out again. It holds no secret.
"""

from __future__ import annotations

import json
import posixpath
import re
import typing as t

from .._errors import InvalidInput, shown
from . import trust_json as tj
from . import trust_toml as tt
from .trust_wish import (
    CONTAINERD, DAEMON, DROP_IN, DROP_INS, HUB, HUB_KEY, REGISTRIES, Table, account, auth_files,
    certificates, hosts_toml, memory_of, parents,
)

_FOUND = re.compile(r"(?P<kind>.) (?P<target>.) (?P<mode>\d+) (?P<uid>\d+) (?P<gid>\d+) (?P<path>.*)")
_CLASH = {tj.MIRRORS: "--registry-mirror", tj.INSECURE: "--insecure-registry"}


def plan(wish: Table, facts: Table, parse: tt.Parse) -> Table:
    """Raises InvalidInput if a file is not what it should be, or says already what it may say once."""
    work = _Work(wish, facts, parse)
    work.certificates()
    work.daemon()
    work.podman()
    work.containerd()
    work.logins()
    return work.result()


class _Work:
    """One plan in the making."""

    def __init__(self, wish: Table, facts: Table, parse: tt.Parse) -> None:
        self.wish, self.facts, self.parse = wish, facts, parse
        self.host: str = wish["registry"]
        self.present = wish["state"] == "present"
        self.engines: t.List[str] = facts["engines"] if self.present else []
        self.memory = memory_of(facts["state"])
        self.known: Table = self.memory["registries"].get(self.host, {})
        self.record: Table = {"files": [], "hosts": [], "daemon": {}, "logins": []}
        entries = (_FOUND.fullmatch(line) for line in facts["found"])
        self.found = {entry["path"]: entry.groupdict() for entry in entries if entry}
        self.files: t.List[Table] = []
        self.keys: t.List[str] = []
        self.entries: t.List[Table] = []
        self.folders: t.Dict[str, Table] = {}
        self.gone: t.List[str] = []
        self.made: t.List[str] = list(self.memory["made"])
        self.docker: Table = {"reload": False}
        self.restart = False

    def text(self, path: str) -> str:
        return self.facts["texts"].get(path, "")

    def write(self, path: str, text: str, owned: bool = False) -> bool:
        """Whether that changes a file of others; a file that we made and that is empty now goes."""
        if not text.strip() and path in self.made:
            self.gone += [path] if path in self.found else []
            return path in self.found
        if not owned and path not in self.found and not text:
            return False
        self.have(path)
        there = self.found.get(path)
        mode = "0644" if not there else None if there["kind"] == "l" else there["mode"].zfill(4)
        self.files.append({"path": path, "content": text, "mode": mode})
        return text != self.text(path)

    def have(self, path: str, uid: int = 0, gid: int = 0, mode: str = "0755") -> None:
        """Remember what of the path is not there, and make its folders."""
        for one in [path, *parents(path)]:
            if one not in self.found and one not in self.made:
                self.made.append(one)
            if one != path and one not in self.found:
                self.folders[one] = {"path": one, "mode": mode, "uid": uid, "gid": gid}

    def certificates(self) -> None:
        for engine in self.engines:
            paths = certificates(engine, self.host)
            for kind, name in (("ca", "ca"), ("cert", "client_certificate")):
                if self.wish[name]:
                    self.own(paths[kind])
                    self.files.append({"path": paths[kind], "content": self.wish[name], "mode": "0644"})
            if self.wish["client_key"]:
                self.own(paths["key"])
                self.keys.append(paths["key"])
        self.gone += [path for path in self.known.get("files", []) if path not in self.record["files"] and path in self.found]

    def own(self, path: str) -> None:
        """A file that is all ours needs no memory of whether it was there."""
        self.have(path)
        self.made = [one for one in self.made if one != path]
        self.record["files"].append(path)

    def daemon(self) -> None:
        wished: tj.Items = {}
        if "docker" in self.engines:
            others = [one for one in self.wish["mirror_of"] if one != HUB]
            if others:
                raise InvalidInput(
                    "trust_mirror_of: Docker asks mirrors for %s alone, and would fetch what is of %s from there: "
                    "take them out for this host, or leave docker out of its trust_engines" % (HUB, ", ".join(others))
                )
            if HUB in self.wish["mirror_of"]:
                wished[tj.MIRRORS] = [tt.endpoint(self.host, self.wish["insecure"])]
            if self.wish["insecure"] != "never":
                wished[tj.INSECURE] = [self.host]
        ours = self.known.get("daemon", {})
        if not wished and not ours:
            return
        text = self.text(DAEMON)
        merged = tj.merge(tj.read(text, DAEMON), DAEMON, wished, ours, self.memory["keys"])
        self.record["daemon"], self.memory["keys"] = merged.ours, merged.keys
        for key, flag in _CLASH.items():
            if key in wished and flag in self.facts["dockerd"]:
                raise InvalidInput(
                    "dockerd runs with %s, and does not start if %s says the same: nothing was changed; "
                    "move what that flag has into the file, then run again" % (flag, DAEMON)
                )
        final = tj.written(merged.document, text)
        # A reload heeds the keys that are there alone: what shall be forgotten is an empty list first, and leaves the file later.
        emptied: t.Dict[str, t.List[str]] = {key: [] for key in ours if key not in merged.document}
        self.docker = {
            "reload": self.write(DAEMON, final if merged.document or DAEMON not in self.made else ""),
            "told": tj.written(dict(merged.document, **emptied), final) if emptied else final,
            "known": [item for items in wished.values() for item in items],
            "unknown": [item for key, items in ours.items() for item in items if item not in wished.get(key, [])],
        }

    def podman(self) -> None:
        if "podman" in self.engines:
            self.record["podman"] = {"insecure": self.wish["insecure"], "mirror_of": self.wish["mirror_of"]}
        if not self.record.get("podman") and not self.known.get("podman"):
            return
        paths = [REGISTRIES] + sorted(path for path in self.facts["texts"] if posixpath.dirname(path) == DROP_INS and path != DROP_IN)
        documents = {path: tt.document(self.text(path), path, self.parse) for path in paths}
        mine = [dict(one["podman"], host=host) for host, one in self.registries().items() if one.get("podman")]
        text = tt.registries_conf(mine, tt.prefixes(documents.values()))
        if text:
            ours = tt.prefixes([self.parse(text)])
            for path in paths:
                clash = set(ours) & set(tt.prefixes([documents[path]])) if path > DROP_IN else ()
                if clash:
                    raise InvalidInput("%s is read after ours and settles %s alone: rename it" % (path, ", ".join(sorted(clash))))
            self.have(DROP_IN)
            self.made = [one for one in self.made if one != DROP_IN]
            self.files.append({"path": DROP_IN, "content": text, "mode": "0644"})
        elif DROP_IN in self.found:
            self.gone.append(DROP_IN)

    def registries(self) -> t.Dict[str, Table]:
        """All that will be remembered, in the order in which they came."""
        result = dict(self.memory["registries"])
        if self.present:
            result[self.host] = self.record
        else:
            result.pop(self.host, None)
        return result

    def security(self, engine: str) -> Table:
        paths = certificates(engine, self.host)
        return {"ca": self.wish["ca"] and paths["ca"], "cert": self.wish["client_certificate"] and paths["cert"], "key": paths["key"]}

    def containerd(self) -> None:
        server, blocks = "", {}
        if "docker" in self.engines and HUB in self.wish["mirror_of"] and (self.wish["ca"] or self.wish["client_certificate"]):
            # With the containerd store Docker reads this, and proves a mirror of daemon.json by what it has for docker.io.
            blocks[hosts_toml(HUB, "docker")] = tt.mirror_block(self.host, self.wish["insecure"], self.security("docker"))
        if "containerd" in self.engines:
            facts = self.security("containerd")
            blocks.update({hosts_toml(one): tt.mirror_block(self.host, self.wish["insecure"], facts) for one in self.wish["mirror_of"]})
            server, table = tt.server_blocks(self.host, self.wish["insecure"], facts)
            if server:
                blocks[hosts_toml(self.host)] = table
        for path in sorted({*blocks, *self.known.get("hosts", [])}):
            own = path == hosts_toml(self.host)
            text = tt.with_block(self.text(path), path, self.host + " server", server if own else "", "top", self.parse)
            self.write(path, tt.with_block(text, path, self.host, blocks.get(path, ""), "end" if own else "tables", self.parse))
        self.record["hosts"] = sorted(blocks)
        self.record["containerd"] = "containerd" in self.engines
        if self.record["containerd"] or self.known.get("containerd"):
            self.config(any(one.get("containerd") for one in self.registries().values()))

    def config(self, needed: bool) -> None:
        text, name = self.text(CONTAINERD), "registries"
        rest = tt.with_block(text, CONTAINERD, name, "", "end", self.parse)
        if needed and rest == text and tt.has_config_path(self.parse(self.facts["dump"])):
            return
        body = tt.config_block(rest, CONTAINERD, self.parse) if needed else ""
        self.restart = self.write(CONTAINERD, tt.with_block(text, CONTAINERD, name, body, "end", self.parse))

    def logins(self) -> None:
        before = {(one["path"], one["key"]): one for one in self.known.get("logins", [])}
        wished = {}
        for index, login in enumerate(self.wish["logins"] if self.present else []):
            home, uid, gid = account(login, self.facts["users"])
            files = auth_files(home)
            if {"docker", "containerd"} & set(self.engines):
                wished[files["docker"], HUB_KEY if self.host == HUB else self.host] = (index, home, uid, gid)
            if "podman" in self.engines:
                wished[files["podman"], self.host] = (index, home, uid, gid)
        for (path, key), (index, home, uid, gid) in wished.items():
            if home not in self.found:
                raise InvalidInput("trust_logins: %s has no home folder %s on this host" % (self.wish["logins"][index].get("user", "root"), home))
            for one in [path, *parents(path)]:
                if one.startswith(home + "/") and self.found.get(one, {}).get("kind") == "l":
                    raise InvalidInput("%s is a link, which its owner can turn anywhere: a password is not written there" % one)
            there = tj.owner_of(tj.read(self.text(path), path), path, key)
            username = self.wish["logins"][index]["username"]
            if there is not None and there != username and (path, key) not in before:
                raise InvalidInput(
                    "%s: somebody is logged in to %s there as %s, and trust_logins says %s: log out there, or change trust_logins"
                    % (path, key, shown(there), shown(username))
                )
            self.have(path, uid, gid, "0700")
            self.entries.append({"path": path, "key": key, "login": index, "uid": uid, "gid": gid})
            if there is None or (path, key) in before:
                self.record["logins"].append({"path": path, "key": key})
        for path in sorted({path for path, key in before if (path, key) not in wished and path in self.found}):
            keys = [key for place, key in before if place == path and (place, key) not in wished]
            if path in self.made and tj.empty_without(self.text(path), path, keys):
                self.gone.append(path)
            else:
                owner = self.found[path]
                self.entries += [{"path": path, "key": key, "login": None, "uid": int(owner["uid"]), "gid": int(owner["gid"])} for key in keys]

    def result(self) -> Table:
        emptied = self.emptied()
        left = {*self.gone, *emptied}
        registries = self.registries()
        self.made = [path for path in self.made if path not in left]
        memory = {"made": sorted(self.made), "keys": self.memory["keys"], "registries": registries}
        return {
            "state": json.dumps(memory, indent=2, ensure_ascii=False) + "\n" if registries else "",
            "folders": [self.folders[path] for path in sorted(self.folders)],
            "files": self.files,
            "client_keys": self.keys,
            "logins": self.entries,
            "gone": self.gone,
            "emptied": emptied,
            "docker": self.docker,
            "restart": self.restart,
        }

    def emptied(self) -> t.List[str]:
        """Folders that we made and that hold nothing else, the deepest first."""
        left, result = set(self.gone), []
        for path in sorted(self.facts["made"], key=len, reverse=True):
            kind = self.found.get(path, {}).get("kind")
            if kind == "d" and all(one in left for one in self.found if posixpath.dirname(one) == path):
                left.add(path)
                result.append(path)
        return result
