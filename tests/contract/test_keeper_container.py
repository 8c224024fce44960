# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that keeps a registry whose server is a container, shut in as the role does it."""

from __future__ import annotations

import io
import os
import pwd
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import engines
from ansible_collections.stowage.oci.tests.contract import kept
from ansible_collections.stowage.oci.tests.unit import images

SERVER = Path("/usr/bin/docker-registry")
OLD = images.image([images.layer({"app": b"old"})])
NEW = images.image([images.layer({"app": b"new"})])


def server_image() -> images.Made:
    """Debian's docker-registry with the libraries that it needs."""
    libraries = re.findall(r"(/\S+) \(", subprocess.run(["ldd", SERVER], capture_output=True, text=True, check=True).stdout)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in (SERVER, *map(Path, libraries)):
            member = tarfile.TarInfo(str(path).lstrip("/"))
            member.size, member.mode = path.stat().st_size, 0o755
            archive.addfile(member, io.BytesIO(path.read_bytes()))
    return images.image([images.Layer(out.getvalue(), out.getvalue(), "")], names=["registry:2"])


def test_a_server_in_a_container(docker20: engines.Engine, tmp_path: Path) -> None:
    docker20.call("POST", "/images/load", images.write_docker_archive(tmp_path / "registry.tar", [server_image()]).read_bytes())
    with kept.host() as host:
        who = pwd.getpwnam(kept.USER)
        run = host.folder / "run"
        run.mkdir()
        host.settings["user"] = None
        host.settings["program"] = [
            shutil.which("docker"), "--host", docker20.url, "run", "--rm", "--network=host", "--log-driver=none", "--read-only", "--cap-drop=ALL",
            "--security-opt=no-new-privileges", f"--user={who.pw_uid}:{who.pw_gid}", f"--volume={host.config_path}:{host.config_path}:ro",
            f"--volume={run}:{run}:ro", f"--volume={host.data}:{host.data}", f"--entrypoint={SERVER}", "registry:2",
        ]
        host.configure()
        assert host.done("trial", "--config", str(host.config_path))["written"] is True
        host.start()
        for item in (OLD, NEW):
            host.push("app:1", item)
        expected = host.done("collect", "--dry-run")
        assert expected["blobs"] == 3 and host.done("collect") == expected
        host.pull("app:1")
        assert host.done("backup", str(tmp_path / "copy.tar"), "--prove")["blobs"] == 3
        shutil.rmtree(host.data / "docker")
        assert host.done("restore", str(tmp_path / "copy.tar")) == {"changed": True}
        assert (host.data / "docker/registry").stat().st_uid == who.pw_uid
        host.pull("app:1")
        host.push("app:2", OLD)
        assert docker20.json("GET", "/containers/json?all=1") == [] and os.listdir(run) == ["keeper.lock"]
