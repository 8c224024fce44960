# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""From registries to a fleet without a network: the playbooks bundle and preload, whole and differential."""

from __future__ import annotations

import json
import random

from ansible_collections.stowage.oci.tests.unit.images import image, layer, layout, tar

BASE = layer({"bin/base": random.Random(1).randbytes(200_000)}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], config={"Cmd": ["/app"]})
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], config={"Cmd": ["/app"]})
BUNDLE, LOAD = "Have a bundle of exactly these images", "Load what this host lacks"
STATES = (("--check", "--diff"), ("--diff",), ("--check", "--diff"), ("--diff",))


def extra(**variables):
    return ["-e", json.dumps(variables)]


def size(*layers):
    return sum(len(one.blob) for one in layers)


def test_from_a_registry_to_a_fleet(playbook, offer, docker20, podman, tmp_path):
    """The second bundle holds what the first has not; a host that has the first needs no more, another one needs both."""
    app = offer("fleet/app:1", APP)
    first = dict(bundle_images=[app], bundle_path=f"{tmp_path}/first.tar", bundle_plain_http=True)
    runs = [playbook("stowage.oci.bundle", {"localhost": {}}, *extra(**first), *state).one(task=BUNDLE) for state in STATES]
    assert [run.status for run in runs] == ["changed", "changed", "ok", "ok"]
    assert runs[1].result["fetched_bytes"] == size(*APP.layers)
    assert runs[1].result["images"][0]["digest"] == APP.digest

    hosts = {"old": {"engine_host": docker20.url}}
    playbook("stowage.oci.preload", hosts, *extra(preload_bundle=str(tmp_path / "first.tar")))

    following = offer("fleet/app:2", NEXT)
    second = {**first, "bundle_images": [following], "bundle_path": f"{tmp_path}/second.tar", "bundle_base": [f"{tmp_path}/first.tar"]}
    made = playbook("stowage.oci.bundle", {"localhost": {}}, *extra(**second)).one(task=BUNDLE).result
    assert made["fetched_bytes"] == size(NEXT.layers[1]) and made["size"] < size(BASE)

    hosts["pod"] = {"engine_host": podman.url}
    run = playbook("stowage.oci.preload", hosts, *extra(preload_bundle="second.tar"))
    assert run.one(host="old", task=LOAD).status == "changed"
    message = " ".join(run.one(host="pod", task=LOAD).result["msg"].split())
    assert f"lacks layer 1 of {following} ({BASE.digest}), and the host does not have it: name an archive that holds it as base" in message

    wish = extra(preload_bundle="second.tar", preload_base="first.tar")
    runs = [playbook("stowage.oci.preload", hosts, *wish, *state) for state in STATES]
    assert [run.one(host="pod", task=LOAD).status for run in runs] == ["changed", "changed", "ok", "ok"]
    assert [run.one(host="old", task=LOAD).status for run in runs] == ["ok"] * 4
    for engine in (docker20, podman):
        assert engine.json("GET", f"/images/{following}/json")["Id"] == NEXT.config_digest


def test_a_base_on_the_host_itself(playbook, offer, docker20, tmp_path):
    app, following = offer("remote/app:1", APP), offer("remote/app:2", NEXT)
    for name, images, base in (("one.tar", [app], []), ("two.tar", [following], [f"{tmp_path}/one.tar"])):
        wish = dict(bundle_images=images, bundle_path=f"{tmp_path}/{name}", bundle_base=base, bundle_plain_http=True)
        playbook("stowage.oci.bundle", {"localhost": {}}, *extra(**wish)).one(task=BUNDLE)
    task = {"name": LOAD, "stowage.oci.image_load": {"src": "{{ playbook_dir }}/two.tar", "base": ["{{ playbook_dir }}/one.tar"], "remote_src": True}}
    task["stowage.oci.image_load"]["engine_host"] = docker20.url
    run = playbook([{"hosts": "all", "gather_facts": False, "tasks": [task]}], {"old": {}})
    assert run.one(task=LOAD).status == "changed", run.screen
    assert docker20.json("GET", f"/images/{following}/json")["Id"] == NEXT.config_digest


def test_a_bundle_of_what_an_engine_has(playbook, docker20, tmp_path):
    named = APP._replace(names=("docker.io/library/app:1",))
    docker20.call("POST", "/images/load", tar(layout([named], docker=True)))
    wish = dict(bundle_images=["docker.io/library/app:1"], bundle_path=f"{tmp_path}/engine.tar", bundle_source="engine", engine_host=docker20.url)
    run = playbook("stowage.oci.bundle", {"localhost": {}}, *extra(**wish))
    assert run.one(task=BUNDLE).result["images"][0]["config_digest"] == APP.config_digest


def test_relative_paths_start_where_ansible_playbook_was_started(playbook, offer, collections, tmp_path):
    """Not in the folder of the playbook, which lies in the installed collection."""
    installed = sorted(collections.rglob("*"))
    (tmp_path / "auth.json").write_text("{}")
    names = dict(bundle_plain_http=True, bundle_auth_file="auth.json")
    for state, status in zip(STATES, ("changed", "changed", "ok", "ok")):
        wish = dict(names, bundle_images=[offer("relative/app:1", APP)], bundle_path="first.tar", bundle_fetch="copy/")
        run = playbook("stowage.oci.bundle", {"localhost": {}}, *extra(**wish), *state)
        assert run.one(task=BUNDLE).status == status, run.screen
        assert run.one(task=BUNDLE).result["path"] == str(tmp_path / "first.tar")
        assert (tmp_path / "first.tar").exists() == (tmp_path / "copy/first.tar").exists() == (state != STATES[0] or status == "ok")
    following = offer("relative/app:2", NEXT)
    for number, base in enumerate((["first.tar"], "first.tar", ["~/first.tar"], [f"{tmp_path}/first.tar"])):
        wish = dict(names, bundle_images=[following], bundle_path=f"./second-{number}.tar", bundle_base=base)
        run = playbook("stowage.oci.bundle", {"localhost": {}}, *extra(**wish))
        assert run.one(task=BUNDLE).result["fetched_bytes"] == size(NEXT.layers[1]), run.screen
        assert (tmp_path / f"second-{number}.tar").exists()
    assert sorted(collections.rglob("*")) == installed


def test_a_failure_says_how_options_are_called_here(playbook, offer, tmp_path):
    wish = dict(bundle_images=[offer("called/app:1", APP)], bundle_path=f"{tmp_path}/app.tar", bundle_retries=0)
    run = playbook("stowage.oci.bundle", {"localhost": {}}, *extra(**wish))
    assert run.code == 2
    assert "plain_http" in run.one(task=BUNDLE).result["msg"]
    assert "with bundle_ before its name" in run.one(task="Say how the options are called here").result["msg"]
