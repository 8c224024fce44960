# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""What asks registries, from playbooks as a user writes them: check mode, for real, and both again."""

from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.tests.unit.images import attestation, image, index, layer, layout, tar

BASE = layer({"bin/base": bytes(range(256)) * 400}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], config={"Cmd": ["/app"]})
ARM = image([layer({"app": b"arm"}, "gzip")], platform="linux/arm64", config={"Cmd": ["/app"]})
MULTI = index([APP, ARM, attestation(APP)])
STATES = (("--check", "--diff"), ("--diff",), ("--check", "--diff"), ("--diff",))


@pytest.fixture
def states(playbook):
    """Gives `states(module, hosts, **options)`: the results of a task of this module in each of the four states, by host."""

    def run(module, hosts, **options):
        task = {"name": module, f"stowage.oci.{module}": options}
        runs = [playbook([{"hosts": "all", "gather_facts": False, "tasks": [task]}], hosts, *state) for state in STATES]
        found = {host: [run.one(host=host) for run in runs] for host in hosts}
        for results in found.values():
            assert [result.status for result in results] == ["changed", "changed", "ok", "ok"], runs[1].screen
            assert results[0].result["diff"] == results[1].result["diff"] and results[2].result["diff"] == results[3].result["diff"]
        return found

    return run


def test_a_bundle_fills_the_registry_of_a_site(states, offer, secured, playbook, tmp_path):
    """With accounts and a CA of its own; the digest is what it was, and a copy within it sends manifests alone."""
    source = offer("fill/multi:1", MULTI)
    made = states("image_archive", {"here": {}}, path=f"{tmp_path}/bundle.tar", images=[source], plain_http=True)
    assert made["here"][1].result["images"][0]["digest"] == MULTI.digest

    copied = states("image_copy", {"here": {}}, src=f"{tmp_path}/bundle.tar", destination=f"{secured.host}/site", **secured.options)
    assert copied["here"][1].result["images"][0]["digest"] == MULTI.digest

    within = states("image_copy", {"here": {}}, src=f"{secured.host}/site", images=["fill/multi:1"], destination=f"{secured.host}/live", **secured.options)
    assert within["here"][1].result["sent_bytes"] < 65536

    tasks = [
        {
            "name": "search",
            "stowage.oci.registry_search": {"registry": secured.host, "query": "live/fill/*", "digests": True, **secured.options},
            "register": "offered",
        },
        {
            "name": "pinned",
            "ansible.builtin.debug": {"msg": "{{ ref | stowage.oci.pin(lookup('stowage.oci.digest', ref, **known)) }}"},
            "vars": {"ref": f"{secured.host}/live/fill/multi:1", "known": secured.options},
        },
    ]
    run = playbook([{"hosts": "all", "gather_facts": False, "tasks": tasks}], {"here": {}})
    found = run.one(task="search").result["repositories"]
    assert [(one["name"], [(tag["name"], tag["digest"]) for tag in one["tags"]]) for one in found] == [("live/fill/multi", [("1", MULTI.digest)])]
    assert run.one(task="pinned").result["msg"] == f"{secured.host}/live/fill/multi:1@{MULTI.digest}"
    assert secured.options["password"] not in run.screen


def test_hosts_push_and_pull(states, registry, docker20, docker28, podman):
    """What one host pushed all others have then, and pushing it again from there changes nothing."""
    name = f"{registry.host}/hosts/app:1"
    docker20.call("POST", "/images/load", tar(layout([APP._replace(names=(name,))], docker=True)))
    pushed = states("image_push", {"old": {}}, images=[name], engine_host=docker20.url, plain_http=True)
    digest = pushed["old"][1].result["images"][0]["digest"]

    hosts = {"new": {"engine_host": docker28.url}, "pod": {"engine_host": podman.url}}
    pulled = states("image_pull", hosts, images=[name], engine_host="{{ engine_host }}", plain_http=True)
    assert {results[1].result["images"][0]["digest"] for results in pulled.values()} == {digest}


def test_a_password_is_not_shown(playbook, secured):
    """Not on the screen at the highest verbosity, nor in the processes' arguments, which would show there."""
    task = {"name": "copy", "stowage.oci.image_copy": {"src": secured.host, "images": ["none/app:1"], "destination": f"{secured.host}/x", **secured.options}}
    run = playbook([{"hosts": "all", "gather_facts": False, "tasks": [task]}], {"here": {}}, "-vvvvv")
    assert run.one(task="copy").status == "failed" and "has no such image" in run.screen
    assert secured.options["password"] not in run.screen
