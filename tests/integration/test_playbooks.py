# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The collection's own playbooks, run by name: preload brings a bundle to a fleet, declare gives hosts the images that they shall have."""

from __future__ import annotations

import subprocess

import engines
import pytest
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer, write_layout

BASE = layer({"bin/base": bytes(range(256)) * 400}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], names=["registry.example.com/shop/app:1"], config={"Cmd": ["/app"]})
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], names=["registry.example.com/shop/app:1"], config={"Cmd": ["/app"]})
TOOL = image([BASE, layer({"tool": b"1"}, "gzip")], names=["registry.example.com/shop/tool:1"])
ARM = image([layer({"bin/base": b"arm"})], platform="linux/arm64", config={"Cmd": ["/app"]})

LOAD, PULL, TAG, REMOVE = "Load what this host lacks", "Have what these references name now", "Give images further names", "Have none of these"
STATES = (("--check", "--diff"), ("--diff",), ("--check", "--diff"), ("--diff",))


def host(engine, **more):
    return {"engine_host": engine.url, **more}


def names(engine):
    return {tag for summary in engine.json("GET", "/images/json") for tag in summary["RepoTags"] or []}


def image_id(engine, name):
    return engine.json("GET", f"/images/{name}/json")["Id"]


def size(*blobs):
    return sum(map(len, blobs))


def extra(**variables):
    """These variables as options of ansible-playbook, as a user would type them."""
    return [option for name, value in variables.items() for option in ("-e", f"{name}={value}")]


def msg(result):
    """Why a task failed; white space is as Ansible breaks its lines."""
    assert result.status == "failed"
    return " ".join(result.result["msg"].split())


@pytest.fixture
def fleet(docker20, docker28, containerd, podman):
    """A host of each kind, by name."""
    return {"old": docker20, "new": docker28, "store": containerd, "pod": podman}


# preload


@pytest.fixture
def bundle(tmp_path):
    return write_layout(tmp_path / "bundle.tar", [APP, TOOL])


def test_preload_brings_a_bundle_to_a_fleet(fleet, playbook, bundle, tmp_path):
    hosts = {name: host(engine, preload_staging_dir=str(tmp_path / "staging")) for name, engine in fleet.items()}
    runs = [playbook("stowage.oci.preload", hosts, *extra(preload_bundle="bundle.tar"), *state) for state in STATES]

    everything = {**APP.blobs, **TOOL.blobs}
    assert [run.code for run in runs] == [0] * 4, runs[0].screen + runs[1].screen
    for name, engine in fleet.items():
        results = [run.one(name) for run in runs]
        assert [result.status for result in results] == ["changed", "changed", "ok", "ok"]
        assert [result.result["sent_bytes"] for result in results] == [size(*everything.values())] * 2 + [0] * 2
        assert results[0].result["diff"] == results[1].result["diff"] and results[2].result["diff"] == results[3].result["diff"]
        assert names(engine) == {*APP.names, *TOOL.names}

    write_layout(bundle, [NEXT, TOOL])
    runs = [playbook("stowage.oci.preload", hosts, *extra(preload_bundle="bundle.tar"), *state) for state in STATES]
    for name in fleet:
        sent = [run.one(name).result["sent_bytes"] for run in runs]
        assert sent == [size(NEXT.layers[1].blob, NEXT.config, NEXT.manifest)] * 2 + [0] * 2


def test_preload_hands_its_variables_to_the_module(docker20, playbook, tmp_path):
    multi = index([ARM, APP], names=APP.names)
    write_layout(tmp_path / "multi.tar", [multi, TOOL])
    variables = {
        "preload_bundle": str(tmp_path / "multi.tar"),
        "preload_remote_src": True,
        "preload_images": list(APP.names),
        "preload_names": {"registry.example.com/": "site.example.org/mirror/"},
        "preload_platform": "linux/arm64",
        "preload_staging_dir": str(tmp_path),
    }
    run = playbook("stowage.oci.preload", {"machine": host(docker20, **variables)})

    assert run.code == 0, run.screen
    assert names(docker20) == {"site.example.org/mirror/shop/app:1"}
    assert image_id(docker20, "site.example.org/mirror/shop/app:1") == ARM.config_digest
    given = run.one().result["invocation"]["module_args"]
    assert (given["remote_src"], given["staging_dir"], given["engine_host"]) == (True, str(tmp_path), docker20.url)


def test_preload_keeps_to_its_hosts(docker20, podman, playbook, bundle):
    hosts = {"one": host(docker20), "other": host(podman)}
    run = playbook("stowage.oci.preload", hosts, *extra(preload_bundle=bundle, preload_hosts="one"))
    assert run.code == 0, run.screen
    assert [result.host for result in run.results] == ["one"]
    assert not names(podman)


def test_preload_wants_a_bundle(playbook):
    run = playbook("stowage.oci.preload", {"machine": {}})
    assert run.code == 2
    assert "say which bundle, for example -e preload_bundle=site.tar" in msg(run.one(task=LOAD))


def test_plays_after_preload_have_its_result(docker20, playbook, bundle):
    plays = [
        {"import_playbook": "stowage.oci.preload", "vars": {"preload_bundle": str(bundle)}},
        {"hosts": "all", "gather_facts": False, "tasks": [{"name": "say", "ansible.builtin.debug": {"msg": "{{ preload_result.sent_blobs }}"}}]},
    ]
    run = playbook(plays, {"machine": host(docker20)})
    assert run.code == 0, run.screen
    assert run.one(task="say").result["msg"] == len({**APP.blobs, **TOOL.blobs})


# declare


def publish(folder, registry, repository, item, *options):
    """Put an image into a registry; returns its reference there."""
    reference = f"{registry.host}/{repository}"
    layout = write_layout(folder / item.digest.partition(":")[2], [item._replace(names=())])
    command = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", *options, f"oci:{layout}", f"docker://{reference}"]
    subprocess.run(command, check=True)
    return reference


def test_declare_pulls_tags_and_removes(fleet, registry, playbook, tmp_path):
    app = publish(tmp_path, registry, "declare/app:1", APP)
    old = publish(tmp_path, registry, "declare/old:1", TOOL)
    for engine in fleet.values():
        engine.call("POST", f"/images/create?fromImage={old.rpartition(':')[0]}&tag=1")
    stable = "registry.example.com/shop/app:stable"
    variables = {"declare_images": [app], "declare_tags": {app: [stable]}, "declare_absent": [old], "declare_plain_http": True}
    hosts = {name: host(engine, **variables) for name, engine in fleet.items()}
    runs, seen = [], []
    for state in STATES:
        runs.append(playbook("stowage.oci.declare", hosts, *state))
        assert runs[-1].code == 0, runs[-1].screen
        seen.append({name: names(engine) for name, engine in fleet.items()})

    assert seen == [dict.fromkeys(fleet, {old})] + [dict.fromkeys(fleet, {app, stable})] * 3
    for name in fleet:
        check, real, check_again, again = ([run.one(name, task) for task in (PULL, TAG, REMOVE)] for run in runs)
        assert [result.status for result in check] == ["changed", "skipped", "changed"]
        assert [result.status for result in real] == ["changed", "changed", "changed"]
        assert [result.status for result in check_again] == [result.status for result in again] == ["ok", "ok", "ok"]
        assert check[2].result["diff"] == real[2].result["diff"]

    # The tag means another image in the registry by now: all the names on the hosts follow.
    publish(tmp_path, registry, "declare/app:1", NEXT)
    update = playbook("stowage.oci.declare", hosts)
    for name, engine in fleet.items():
        assert [update.one(name, task).status for task in (PULL, TAG, REMOVE)] == ["changed", "changed", "ok"]
        assert image_id(engine, app) == image_id(engine, stable)
        assert engine.json("GET", f"/images/{stable}/json")["RootFS"]["Layers"] == NEXT.diff_ids


def test_declare_gives_each_host_its_own(docker20, podman, registry, playbook, tmp_path):
    app, tool = publish(tmp_path, registry, "each/app:1", APP), publish(tmp_path, registry, "each/tool:1", TOOL)
    hosts = {
        "one": host(docker20, declare_images=[app]),
        "other": host(podman, declare_images=[app, tool], declare_tags={tool: ["registry.example.com/tool:1"]}),
        "none": host(docker20),
    }
    run = playbook("stowage.oci.declare", hosts, *extra(declare_plain_http=True))
    assert run.code == 0, run.screen
    assert names(docker20) == {app}
    assert names(podman) == {app, tool, "registry.example.com/tool:1"}
    assert {result.status for result in run.results if result.host == "none"} == {"skipped"}


def test_declare_removes_nothing_if_a_pull_fails(docker20, registry, playbook, tmp_path):
    app = publish(tmp_path, registry, "fails/app:1", APP)
    variables = {"declare_plain_http": True}
    assert playbook("stowage.oci.declare", {"machine": host(docker20, declare_images=[app], **variables)}).code == 0
    variables.update(declare_images=[f"{registry.host}/fails/app:2"], declare_absent=[app])
    run = playbook("stowage.oci.declare", {"machine": host(docker20, **variables)})
    assert run.code == 2
    assert f"{registry.host}/fails/app:2" in msg(run.one())
    assert names(docker20) == {app}


def test_declare_logs_in(docker20, playbook, tmp_path):
    with engines.registry(tmp_path / "registry", htpasswd={"ann": "secret"}) as closed:
        app = publish(tmp_path, closed, "shop/app:1", APP, "--dest-creds=ann:secret")
        variables = {"declare_images": [app], "declare_plain_http": True}
        refused = playbook("stowage.oci.declare", {"machine": host(docker20, **variables)})
        assert "give username and password" in msg(refused.one())
        variables.update(declare_username="ann", declare_password="secret")
        run = playbook("stowage.oci.declare", {"machine": host(docker20, **variables)}, "-vvv")
    assert run.code == 0, run.screen
    assert names(docker20) == {app}
    assert "secret" not in run.screen


def test_declare_asks_no_registry_for_what_is_there(docker20, registry, playbook, tmp_path):
    app = publish(tmp_path, registry, "missing/app:1", APP)
    hosts = {"machine": host(docker20, declare_images=[app], declare_plain_http=True, declare_policy="missing")}
    runs = []
    for item in (APP, NEXT):
        publish(tmp_path, registry, "missing/app:1", item)
        runs.append(playbook("stowage.oci.declare", hosts))
    assert [run.one(task=PULL).status for run in runs] == ["changed", "ok"]
    assert image_id(docker20, app) == APP.config_digest


def test_declare_removes_what_pulls_left_and_what_stopped_containers_use(docker20, registry, playbook, tmp_path):
    for item in (APP, NEXT):
        app = publish(tmp_path, registry, "gone/app:1", item)
        docker20.call("POST", f"/images/create?fromImage={app.rpartition(':')[0]}&tag=1")
    docker20.json("POST", "/containers/create", {"Image": app, "Cmd": ["/app"]})
    variables = {"declare_absent": [app], "declare_dangling": True}

    refused = playbook("stowage.oci.declare", {"machine": host(docker20, **variables)})
    assert "is in use by the stopped container" in msg(refused.one(task=REMOVE))
    assert image_id(docker20, app) == NEXT.config_digest
    run = playbook("stowage.oci.declare", {"machine": host(docker20, declare_force=True, **variables)})
    assert run.code == 0, run.screen
    assert docker20.json("GET", "/images/json?all=1") == []
