# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry host in one folder: Debian's docker-registry as a service, and the program that keeps it."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import engines
from ansible_collections.stowage.oci.tests.unit import images, keeping
from settings import Failure  # of the program
from unit import Unit

USER = "docker-registry"
PROGRAM = keeping.program()


class Service(Unit):
    """A unit whose systemd is this class: a real server, which sees a drop-in after daemon-reload alone."""

    def __init__(self, folder: Path, config: Path) -> None:
        super().__init__("registry.service", str(folder / "systemd"))
        self.calls: list[tuple[str, ...]] = []
        self.served: list[str] = []
        self.broken = ""
        self._config, self._log = config, folder / "log"
        self._next = str(config)
        self._log.touch()
        self._process: subprocess.Popen | None = None

    def _do(self, *command: str) -> None:
        self.calls.append(command)
        if command[0] == "daemon-reload":
            text = Path(self._drop_in).read_text(encoding="utf-8") if os.path.exists(self._drop_in) else f"=STOWAGE_CONFIG={self._config}"
            self._next = text.split("STOWAGE_CONFIG=")[1].strip()
        if command[0] in ("stop", "restart"):
            self._stop()
        if command[0] in ("start", "restart"):
            if self.broken and self.broken in self._next:
                raise Failure("systemctl restart: broken by the test")
            self._start()

    def _ask(self, *command: str) -> str:
        if "is-active" in command:
            return "inactive" if self._process is None else "active" if self._process.poll() is None else "failed"
        if "journalctl" in command:
            return "".join(self._log.read_text(encoding="utf-8").splitlines(keepends=True)[-20:])
        return ""

    def _start(self) -> None:
        self.served.append(self._next)
        who = pwd.getpwnam(USER)
        with open(self._log, "wb") as log:
            command = ["docker-registry", "serve", self._next]
            self._process = subprocess.Popen(
                command, user=who.pw_uid, group=who.pw_gid, extra_groups=[], stdout=log, stderr=log, env={"PATH": os.defpath}
            )

    def _stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None


class Host:
    """`config` is the server's configuration, `settings` what keeper.json says: change them, and call `configure`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{engines.free_port()}"
        self.data = folder / "data"
        self.config_path, self.settings_path = folder / "config.json", folder / "keeper.json"
        self.config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(self.data)}, "delete": {"enabled": True}, "cache": {"blobdescriptor": "inmemory"}},
            "http": {"addr": self.address, "secret": "of-the-server"},
        }
        self.settings: dict[str, Any] = {
            "program": ["/usr/bin/docker-registry"], "user": USER, "unit": "registry.service", "config": str(self.config_path),
            "run": str(folder / "run"), "untagged": True, "retain": [],
        }
        for path in (folder, self.data):
            path.mkdir(exist_ok=True)
            shutil.chown(path, USER, USER)
        self.service = Service(folder, self.config_path)
        self.configure()

    def configure(self) -> None:
        for path, content in ((self.config_path, self.config), (self.settings_path, self.settings)):
            path.write_text(json.dumps(content))
            path.chmod(0o640)
            shutil.chown(path, "root", pwd.getpwnam(USER).pw_gid)

    def start(self) -> "Host":
        self.service.start()
        assert self.keep("ready")["changed"] is False
        self.service.calls.clear()
        self.service.served.clear()
        return self

    def keep(self, *arguments: str) -> dict[str, Any]:
        """Run a command of the program; whatever it says."""
        code, result = self._run(arguments)
        assert code == int(bool(result.get("failed")))
        return result

    def done(self, *arguments: str) -> dict[str, Any]:
        result = self.keep(*arguments)
        assert "failed" not in result, result
        return result

    def refused(self, *arguments: str) -> str:
        """The message of a command that fails."""
        result = self.keep(*arguments)
        assert result.get("failed") is True, result
        return result["msg"]

    def _run(self, arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
        before = signal.getsignal(signal.SIGTERM)
        lines: list[str] = []
        PROGRAM.print = lines.append
        try:
            code = PROGRAM.main(["--settings", str(self.settings_path), *arguments], self.service)
        finally:
            signal.signal(signal.SIGTERM, before)
        assert len(lines) == 1
        return code, json.loads(lines[0])

    def call(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def push(self, name: str, item: Any) -> None:
        """As the distribution-spec says, the way a client does: no blob that the server says it has. NAME:TAG, or NAME alone."""
        repository, _colon, tag = name.partition(":")
        for child in getattr(item, "children", ()):
            self.push(repository, child)
        raw = getattr(item, "raw", None) or item.manifest
        for digest, blob in {} if hasattr(item, "raw") else item.blobs.items():
            if digest != item.digest and self.call("HEAD", f"/v2/{repository}/blobs/{digest}")[0] != 200:
                target = urlsplit(self.call("POST", f"/v2/{repository}/blobs/uploads/")[2]["Location"])
                headers = {"Content-Type": "application/octet-stream"}
                assert self.call("PUT", f"{target.path}?{target.query}&digest={digest}", blob, headers)[0] == 201
        headers = {"Content-Type": json.loads(raw)["mediaType"]}
        status, body, _headers = self.call("PUT", f"/v2/{repository}/manifests/{tag or item.digest}", raw, headers)
        assert status == 201, body

    def pull(self, name: str) -> None:
        """All platforms with skopeo, which proves every digest."""
        with tempfile.TemporaryDirectory() as folder:
            command = ["skopeo", "copy", "--all", "--quiet", "--src-tls-verify=false", f"docker://{self.address}/{name}", f"dir:{folder}/image"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

    def has(self, repository: str, item: Any) -> bool:
        return self.call("HEAD", f"/v2/{repository}/manifests/{item.digest}", headers={"Accept": ACCEPT})[0] == 200

    def tags(self, repository: str) -> list[str]:
        status, body, _headers = self.call("GET", f"/v2/{repository}/tags/list")
        return sorted(json.loads(body)["tags"] or []) if status == 200 else []

    def blobs(self) -> dict[str, int]:
        """The blobs in the storage, with sizes."""
        found = self.data.glob("docker/registry/v2/blobs/sha256/*/*/data")
        return {f"sha256:{path.parent.name}": path.stat().st_size for path in found}

    def writable(self) -> bool:
        status = self.call("POST", "/v2/writable/blobs/uploads/")[0]
        assert status in (202, 405)
        return status == 202


ACCEPT = ", ".join(
    images.OCI + kind for kind in ("index.v1+json", "manifest.v1+json")
) + ", " + ", ".join(images.DOCKER + kind for kind in ("distribution.manifest.list.v2+json", "distribution.manifest.v2+json"))


@contextmanager
def host() -> Iterator[Host]:
    """A host, in a folder whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="kept-") as name:
        made = Host(Path(name))
        try:
            yield made
        finally:
            made.service.stop()


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def wait_for(condition: Any) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)
