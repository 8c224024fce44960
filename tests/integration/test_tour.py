# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The five minutes of the README: each of its playbooks does what it says, and the second time nothing.

The images come from a registry of the test instead of Docker Hub; the roles run in molecule's scenarios.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout

ROOT = Path(__file__).resolve().parents[2]
TOUR = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Five minutes\n")[2].partition("\n## ")[0]
OLDER, BASE = (image([layer({"bin/base": version}, "gzip")], config={"Cmd": ["/bin/base"]}) for version in (b"1.36", b"1.37"))
PRELOAD = "ansible-playbook stowage.oci.preload -i fleet.ini -e preload_bundle=site.tar"


def steps(host: str) -> list[dict[str, Any]]:
    """The plays of the tour on this machine, in their order, with the test's registry at `host`."""
    text = TOUR.replace("library/busybox", "tour/busybox").replace("busybox:", f"{host}/tour/busybox:").replace("', image)", "', image, plain_http=true)")
    return [play for block in re.findall(r"```yaml\n(.*?)```", text, re.S) for play in yaml.safe_load(block) if play["hosts"] == "localhost"]


@pytest.fixture
def offered(registry: Any, tmp_path: Path) -> Any:
    """A registry that has what the tour takes from Docker Hub."""
    for tag, made in (("1.36", OLDER), ("1.37", BASE)):
        folder = write_layout(tmp_path / tag, [made])
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false"]
        subprocess.run([*command, f"oci:{folder}", f"docker://{registry.host}/tour/busybox:{tag}"], check=True)
    return registry


def test_every_step_twice(offered: Any, playbook: Callable, classic: Any, podman: Any, tmp_path: Path) -> None:
    pull, build, bundle, search, copy = steps(offered.host)
    hosts = {"localhost": {"engine": classic.url}}
    defaults = {
        "group/stowage.oci.engine": {"engine_host": "{{ engine }}"},
        "group/stowage.oci.registry": {"plain_http": True, "retries": 1},
        # Which registry is asked; the tour asks Docker Hub.
        "stowage.oci.registry_search": {"registry": offered.host, "plain_http": True, "retries": 1},
    }

    def run(play: dict, *options: str) -> Any:
        done = playbook([{**play, "gather_facts": False, "module_defaults": defaults}], hosts, *options)
        assert done.code == 0, done.screen
        return done.results

    for play in (pull, build, bundle):
        assert [run(play)[-1].status, run(play)[-1].status, run(play, "--check")[-1].status] == ["changed", "ok", "ok"]
    assert [line["RepoTags"] for line in classic.json("GET", "/images/json") if "shop/hello:1" in line["RepoTags"]]

    assert PRELOAD in TOUR
    options = ["-e", f"preload_bundle={tmp_path}/site.tar", "-e", f"engine_host={podman.url}", "-e", f"preload_staging_dir={tmp_path}/staging"]
    assert [playbook("stowage.oci.preload", hosts, *options).one().status for _time in range(2)] == ["changed", "ok"]
    assert {name for line in podman.json("GET", "/images/json") for name in line["RepoTags"]} == {
        f"{offered.host}/tour/busybox:1.37", "docker.io/shop/hello:1"
    }

    found, shown = run(search)
    assert [tag["name"] for tag in found.result["repositories"][0]["tags"]] == ["1.37", "1.36"]
    assert shown.result["msg"] == [found.result["repositories"], f"{offered.host}/tour/busybox:1.37@{BASE.digest}"]

    task = copy["tasks"][0]["stowage.oci.image_copy"]
    assert (task.pop("username"), task.pop("password")) == ("deploy", "{{ vault_deploy_password }}")
    assert task.pop("ca_cert") == "{{ playbook_dir }}/registry-authority.pem"
    task["destination"] = f"{offered.host}/site"
    assert [run(copy)[-1].status, run(copy)[-1].status] == ["changed", "ok"]
