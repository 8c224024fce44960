# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""image_copy in playbooks, as a new user writes them: a bundle fills the registry of a site, and a host pulls from it."""

from __future__ import annotations

import json
import subprocess

import debs
import pytest
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout

BASE = layer({"bin/base": bytes(range(256)) * 400}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], names=["quay.io/shop/app:1"], config={"Cmd": ["/app"]})
TOOL = image([BASE, layer({"tool": b"1"}, "gzip")], names=["tool:1"], config={"Cmd": ["/tool"]})
STATES = (("--check", "--diff"), ("--diff",), ("--check", "--diff"), ("--diff",))


def play(*tasks, **defaults):
    return [{"hosts": "all", "gather_facts": False, "module_defaults": {"group/stowage.oci.registry": defaults}, "tasks": list(tasks)}]


def copy(name, **options):
    return {"name": name, "stowage.oci.image_copy": options}


@pytest.fixture
def bundle(tmp_path):
    return str(write_layout(tmp_path / "bundle.tar", [APP, TOOL]))


def test_a_bundle_fills_a_registry_from_which_a_host_pulls(registry, podman, playbook, bundle):
    site = f"{registry.host}/site"
    runs = [playbook(play(copy("Fill the registry", src=bundle, destination=site), plain_http=True), {"machine": {}}, *state) for state in STATES]
    assert [run.code for run in runs] == [0] * 4, runs[0].screen + runs[1].screen
    results = [run.one() for run in runs]
    assert [result.status for result in results] == ["changed", "changed", "ok", "ok"]
    first, second = results[1].result, results[3].result
    assert first["images"] == results[0].result["images"] and first["diff"] == results[0].result["diff"]
    assert [(one["destination"], one["digest"]) for one in first["images"]] == [
        (f"{site}/shop/app:1", APP.digest),
        (f"{site}/library/tool:1", TOOL.digest),
    ]
    assert (first["sent_blobs"], first["mounted_blobs"]) == (5, 1) and (second["sent_bytes"], second["mounted_blobs"]) == (0, 0)
    assert f"{site}/shop/app:1" in runs[1].screen and APP.digest in runs[1].screen

    pull = {"name": "Pull", "stowage.oci.image_pull": {"images": [f"{site}/shop/app:1"], "engine_host": podman.url}}
    pulled = playbook(play(pull, plain_http=True), {"machine": {}}).one(task="Pull")
    assert pulled.status == "changed" and pulled.result["images"][0]["config_digest"] == APP.config_digest


def test_images_are_promoted_and_go_to_another_registry_with_logins_of_both(secured, registry, playbook, bundle, tmp_path):
    """Within a registry nothing but manifests is sent; a wrong name fails alone and says where it was looked for."""
    stage, live = f"{secured.host}/stage", f"{secured.host}/live"
    login = {"auths": {secured.host: {"username": "ann", "password": "secret-ann"}}}
    (tmp_path / "auth.json").write_text(json.dumps(login))
    options = {"auth_file": str(tmp_path / "auth.json"), "ca_cert": secured.options["ca_cert"]}
    tasks = [
        copy("Stage", src=bundle, destination=stage),
        copy("Promote", src=stage, images=["shop/app:1", "library/tool:1"], destination=live),
        {**copy("Mistype", src=stage, images=["shop/app:2", "shop/app:1"], destination=f"{secured.host}/more"), "ignore_errors": True},
    ]
    run = playbook(play(*tasks, **options), {"machine": {}})
    assert run.code == 0, run.screen
    promoted = run.one(task="Promote").result
    assert (promoted["sent_bytes"], promoted["mounted_blobs"]) == (0, 6)
    assert [one["digest"] for one in promoted["images"]] == [APP.digest, TOOL.digest]
    failed = run.one(task="Mistype").result
    assert failed["msg"] == f"shop/app:2: {secured.host} has no such image (HTTP 404): look at its repository and tag"
    assert [one["action"] for one in failed["images"]] == ["failed", "copied"]
    assert "secret-ann" not in run.screen

    debs.ensure(["skopeo"])
    command = ["skopeo", "inspect", "--tls-verify=false", f"docker://{registry.host}/live/library/tool:1"]
    seen = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert (seen["Digest"], seen["Layers"]) == (TOOL.digest, [one.digest for one in TOOL.layers])
