# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_build in process on a real engine: a base with a shell, a context around it, and what the module asked of whom."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Transport
from ansible_collections.stowage.oci.plugins.module_utils._process import Process
from ansible_collections.stowage.oci.plugins.modules import image_build
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.images import Made
from ansible_collections.stowage.oci.tests.unit.running import Result, fail, run

BASE = "registry.invalid/stowage/base:1"
"""No registry answers for it."""

FROM = "FROM %s\n" % BASE
LABEL = "io.stowage.build.digest"


def shell(*names: str, word: str = "") -> Made:
    """An image with a shell; another ``word`` makes it another image."""
    program = Path("/bin/busybox").read_bytes()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        member = tarfile.TarInfo("bin/busybox")
        member.size, member.mode = len(program), 0o755
        made.addfile(member, io.BytesIO(program))
        for name in ("sh", "cat", "find", "sleep", "date", "wc", "base-" + word):
            member = tarfile.TarInfo("bin/" + name)
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            made.addfile(member)
    layer = images.Layer(out.getvalue(), images.compress(out.getvalue(), "gzip"), "gzip")
    # Podman builds on nothing that has no history, and by its history its cache knows an image.
    history = [{"created": "2024-05-01T10:00:00Z", "created_by": "base " + word}]
    return images.image([layer], names=names, config={"Env": ["PATH=/bin", "BASE=" + word]}, history=history)


@dataclass
class Host:
    """``folder`` is the context; ``asked`` is what the module asked of the engine, and ``started`` the programs that it started."""

    engine: engines.Engine
    folder: Path
    asked: list[str] = field(default_factory=list)
    started: list[list[str]] = field(default_factory=list)

    def params(self, **more: Any) -> dict[str, Any]:
        """Those of a task; None leaves one out."""
        known = {"path": str(self.folder), "tags": ["app:1"], "engine_host": self.engine.url, "network": "none", "plain_http": True, "retries": 1}
        return {name: value for name, value in {**known, **more}.items() if value is not None}

    def task(self, **more: Any) -> Result:
        """Check mode, which does nothing and tells what comes, and then the real run, of which this is the result."""
        params = self.params(**more)
        self.builds()
        before = self.state()
        checked = run(image_build, True, **params)
        assert self.builds() == [] and self.state() == before
        done = run(image_build, **params)
        told = ("changed", "diff", "reason", "builder")
        assert {key: checked[key] for key in told} == {key: done[key] for key in told}
        actions = [[(image["reference"], image["action"], image["changed"]) for image in result["images"]] for result in (checked, done)]
        assert actions[0] == actions[1]
        return done

    def built(self, reason: str, **more: Any) -> str:
        """There is one build, for this reason, and there would be none the next time; the ID of the image."""
        done = self.task(**more)
        assert (done["reason"], done["changed"], len(self.builds())) == (reason, True, 1)
        assert done["diff"]["after"]["images"][0]["reason"] == reason
        main = done["images"][0]
        assert (main["action"], main["image_id"]) == ("built", self.id(main["reference"]))
        assert self.labels(main["image_id"])[LABEL] == done["build_digest"]
        again = run(image_build, True, **self.params(**more))
        assert (again["changed"], again["reason"], again["images"][0]["image_id"]) == (False, None, main["image_id"])
        return main["image_id"]

    def kept(self, **more: Any) -> str:
        """There is no build, and nothing changes; the ID of the image."""
        done = self.task(**more)
        assert (done["changed"], self.builds()) == (False, [])
        assert (done["builder"], done["reason"], done["log"]) == (None, None, [])
        assert done["diff"]["before"] == done["diff"]["after"]
        assert {image["action"] for image in done["images"]} == {"kept"}
        assert {image["image_id"] for image in done["images"]} == {self.id(image["reference"]) for image in done["images"]}
        return done["images"][0]["image_id"]

    def fails(self, **more: Any) -> Result:
        """A build that fails: nothing gets a name by it, or loses one."""
        before = self.names()
        result = fail(image_build, **self.params(**more))
        assert self.names() == before
        assert not result.get("changed") and not result.get("images")
        return result

    def refused(self, **more: Any) -> str:
        """What a task that cannot work says, in check mode too."""
        self.builds()
        before = self.state()
        said = {fail(image_build, check, **self.params(**more))["msg"] for check in (True, False)}
        assert self.builds() == [] and self.state() == before
        (message,) = said
        return message

    # What there is

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    def load(self, *made: Made) -> None:
        self.engine.call("POST", "/images/load", images.tar(images.docker_archive(made)))

    def id(self, name: str) -> str:
        return self.engine.json("GET", f"/images/{full(name)}/json")["Id"]

    def labels(self, name: str) -> dict[str, str]:
        return self.engine.json("GET", f"/images/{full(name)}/json")["Config"].get("Labels") or {}

    def names(self) -> dict[str, str]:
        """Of each tag, the ID of its image."""
        return _names(self.engine.json("GET", "/images/json"))

    def state(self) -> list[Any]:
        """What a task could leave behind: images, names, and files in the cache and among the temporary ones."""
        cache = {path: path.stat().st_mtime_ns for path in cached()}
        found = self.engine.json("GET", "/images/json?all=1")
        return [sorted(image["Id"] for image in found), _names(found), cache, sorted(os.listdir(tempfile.gettempdir()))]

    def holds(self, name: str, folder: str = "/app") -> set[str]:
        """The files that lie there in an image, by their paths in it."""
        found = self.engine.run(full(name), "find", folder, "-type", "f", "-print0").rstrip("\0").split("\0")
        return {path[len(folder) + 1:] for path in found if path}

    def builds(self) -> list[str]:
        """The builds that the engine was asked for since the last call."""
        found = [call for call in self.asked if call.startswith("POST ") and call.endswith("/build")]
        found += [" ".join(command) for command in self.started if "build" in command]
        self.asked.clear()
        self.started.clear()
        return found

    def pulls(self) -> int:
        return sum(call.startswith("POST ") and call.endswith(("/images/create", "/images/pull")) for call in self.asked)


def _names(found: list[dict[str, Any]]) -> dict[str, str]:
    return {tag: image["Id"] for image in found for tag in image["RepoTags"] or [] if "@" not in tag and tag != "<none>:<none>"}


def full(name: str) -> str:
    """As the engine looks it up; Podman would look for a short name everywhere."""
    return name if name.startswith("sha256:") or "/" in name else "docker.io/library/" + name


def cached() -> list[Path]:
    return sorted(path for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*") if path.is_file())


def prepared(engine: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with the base alone, and an empty context; nothing of the user's own settings counts."""
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    environ = engines.programs(engine)
    monkeypatch.setenv("PATH", environ["PATH"])
    monkeypatch.setenv("HOME", environ["HOME"])
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    host = Host(engine, tmp_path / "context")
    host.folder.mkdir()
    host.load(shell(BASE))
    request, begin = Transport.request, Process.__init__

    def asking(self: Transport, method: str, path: str, *args: Any, **more: Any) -> Any:
        host.asked.append(f"{method} {path}")
        return request(self, method, path, *args, **more)

    def starting(self: Process, command: list[str], **more: Any) -> None:
        host.started.append([str(word) for word in command])
        begin(self, command, **more)

    monkeypatch.setattr(Transport, "request", asking)
    monkeypatch.setattr(Process, "__init__", starting)
    return host
