# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""image_load as a task of a playbook: its four states, its options, and where src is looked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer, write_docker_archive, write_layout

BASE = layer({"bin/base": bytes(range(256)) * 400}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], names=["registry.example.com/app:1"], config={"Cmd": ["/app"]})
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], names=["registry.example.com/app:1"], config={"Cmd": ["/app"]})
TOOL = image([BASE, layer({"tool": b"1"}, "gzip")], names=["registry.example.com/tool:1"])


@pytest.fixture
def bundle(tmp_path):
    """A layout in a tar, with two images that share their base."""
    return write_layout(tmp_path / "bundle.tar", [APP, TOOL])


def load(src, name="load", **more):
    """A task; what does not belong to the module goes before its options: ``load(src, "name", {"check_mode": True}, ...)``."""
    return {"name": name, "stowage.oci.image_load": {"src": str(src), "engine_host": "{{ engine }}", **more}}


def play(*tasks, **more):
    return [{"hosts": "all", "gather_facts": False, "tasks": list(tasks), **more}]


def names(engine):
    """References that the engine has, with the digests of the configs that they name where its IDs are that."""
    return {tag: summary["Id"] for summary in engine.json("GET", "/images/json") for tag in summary["RepoTags"] or []}


def size(*blobs):
    return sum(map(len, blobs))


def test_check_real_check_again_real_again(engine, playbook, bundle, tmp_path):
    staging = tmp_path / "staging"
    stat = {"ansible.builtin.stat": {"path": str(staging)}}
    tasks = []
    for name, check in (("check", True), ("real", False), ("check again", True), ("again", False)):
        tasks += [dict(load(bundle, name, staging_dir=str(staging)), check_mode=check), dict(stat, name="after " + name)]
    run = playbook(play(*tasks), {"machine": {"engine": engine.url}}, "--diff")

    assert run.code == 0, run.screen
    check, real, check_again, again = (run.one(task=name) for name in ("check", "real", "check again", "again"))
    for foretold, done in ((check, real), (check_again, again)):
        assert foretold.status == done.status
        for key in ("changed", "diff", "sent_bytes", "sent_blobs", "held_bytes", "held_blobs"):
            assert foretold.result[key] == done.result[key], key
        for one, other in zip(foretold.result["images"], done.result["images"]):
            assert {**one, "image_id": None, "digest": None} == {**other, "image_id": None, "digest": None}
    blobs = {**APP.blobs, **TOOL.blobs}
    assert (real.status, real.result["sent_bytes"], real.result["sent_blobs"]) == ("changed", size(*blobs.values()), len(blobs))
    assert (real.result["held_bytes"], real.result["held_blobs"]) == (0, 0)
    assert [entry["action"] for entry in real.result["images"]] == ["loaded", "loaded"]
    assert (again.status, again.result["sent_bytes"], again.result["sent_blobs"]) == ("ok", 0, 0)
    assert (again.result["held_bytes"], again.result["held_blobs"]) == (size(*blobs.values()), len(blobs))
    assert [entry["action"] for entry in again.result["images"]] == ["kept", "kept"]
    assert [entry["config_digest"] for entry in again.result["images"]] == [APP.config_digest, TOOL.config_digest]
    assert set(names(engine)) == {"registry.example.com/app:1", "registry.example.com/tool:1"}
    # Check mode makes no staging folder; the real run leaves none of its own.
    assert not run.one(task="after check").result["stat"]["exists"]
    assert not staging.exists() or not os.listdir(staging)


def test_an_update_sends_the_new_layer_and_shows_both_digests(engine, playbook, bundle, tmp_path):
    newer = write_layout(tmp_path / "newer.tar", [NEXT, TOOL])
    hosts = {"machine": {"engine": engine.url}}
    assert playbook(play(load(bundle)), hosts).code == 0
    before = names(engine)["registry.example.com/app:1"]
    check = playbook(play(load(newer)), hosts, "--check", "--diff")
    real = playbook(play(load(newer)), hosts, "--diff")

    new = NEXT.layers[1]
    for run in (check, real):
        assert run.code == 0, run.screen
        result = run.one().result
        assert result["sent_bytes"] == size(new.blob, NEXT.config, NEXT.manifest)
        assert result["sent_blobs"] == 3
        assert result["held_bytes"] == size(BASE.blob, *set(TOOL.blobs.values()) - {BASE.blob})
        for text in ("registry.example.com/app:1", before, NEXT.config_digest, new.digest):
            assert text in run.screen
        assert BASE.digest not in run.screen and "tool:1" not in run.screen
    assert real.one().result["diff"] == check.one().result["diff"]
    assert names(engine)["registry.example.com/app:1"] != before


def test_loads_the_images_that_are_asked_for(docker20, playbook, bundle):
    hosts = {"machine": {"engine": docker20.url}}
    run = playbook(play(load(bundle, images=["registry.example.com/tool:1"])), hosts)
    assert run.code == 0, run.screen
    assert set(names(docker20)) == {"registry.example.com/tool:1"}

    run = playbook(play(load(bundle, images=["registry.example.com/none:1"])), hosts)
    assert run.one().status == "failed"
    assert run.one().result["msg"] == (
        f"registry.example.com/none:1 is not in {bundle}, which holds registry.example.com/app:1, registry.example.com/tool:1"
    )


def test_a_password_in_a_reference_is_refused_and_not_shown(docker20, playbook, bundle):
    for options in {"images": ["deploy:geheim@host/app"]}, {"names": {"registry.example.com/": "deploy:geheim@host/"}}:
        run = playbook(play(load(bundle, **options)), {"machine": {"engine": docker20.url}})
        assert "deploy:***@host/" in run.one().result["msg"], run.screen
        assert "geheim" not in json.dumps(run.one().result)


@pytest.mark.parametrize("option", ["src", "base"])
def test_a_url_is_refused_and_not_shown(docker20, playbook, bundle, option):
    url = "https://ann:geheim@host/x.tar"
    task = load(url) if option == "src" else load(bundle, base=[url])
    run = playbook(play(task), {"machine": {"engine": docker20.url}})
    assert run.one().result["msg"] == f"{option}: https://ann:***@host/x.tar is no path, and URLs are not read: give a file or folder"
    assert "geheim" not in json.dumps(run.one().result)


def test_gives_images_other_names(docker20, playbook, bundle):
    renamed = {"registry.example.com/": "site.example.org/mirror/", "registry.example.com/tool:1": "hammer:2"}
    run = playbook(play(load(bundle, names=renamed), load(bundle, "again", names=renamed)), {"machine": {"engine": docker20.url}})
    assert run.code == 0, run.screen
    assert set(names(docker20)) == {"site.example.org/mirror/app:1", "hammer:2"}
    assert run.one(task="again").status == "ok"


def test_takes_the_platform_of_the_host_or_the_one_that_is_asked_for(docker20, playbook, tmp_path):
    here = image([BASE], config={"Cmd": ["/here"]})
    there = image([layer({"bin/base": b"arm"})], platform="linux/arm64", config={"Cmd": ["/there"]})
    bundle = write_layout(tmp_path / "multi.tar", [index([there, here], names=["registry.example.com/multi:1"])])
    hosts = {"machine": {"engine": docker20.url}}
    run = playbook(play(load(bundle), load(bundle, "other", platform="linux/arm64")), hosts)
    assert run.code == 0, run.screen
    assert run.one(task="load").result["images"][0]["config_digest"] == here.config_digest
    assert run.one(task="other").result["images"][0]["config_digest"] == there.config_digest

    run = playbook(play(load(bundle, platform="linux/s390x")), hosts)
    assert run.one().status == "failed"
    assert "linux/s390x" in run.one().result["msg"] and "linux/arm64, linux/amd64" in run.one().result["msg"]


def test_an_image_without_a_name_must_get_one(docker20, playbook, tmp_path):
    nameless = write_docker_archive(tmp_path / "nameless.tar", [APP._replace(names=())])
    hosts = {"machine": {"engine": docker20.url}}
    run = playbook(play(load(nameless)), hosts)
    assert run.one().status == "failed"
    assert "has no name: give it one with names" in run.one().result["msg"]

    run = playbook(play(load(nameless, names={APP.config_digest: "named:1"})), hosts)
    assert run.code == 0, run.screen
    assert set(names(docker20)) == {"named:1"}


def test_an_archive_on_the_host_is_read_there(docker28, playbook, bundle):
    task = {"remote_src": True, "images": ["registry.example.com/app:1"]}
    tasks = [dict(load(bundle, name, **task), check_mode=name.startswith("check")) for name in ("check", "real", "check again", "again")]
    run = playbook(play(*tasks), {"machine": {"engine": docker28.url}})
    assert run.code == 0, run.screen
    assert [result.status for result in run.results] == ["changed", "changed", "ok", "ok"]
    for check, real in (run.results[:2], run.results[2:]):
        assert {key: check.result[key] for key in ("changed", "diff", "sent_bytes")} == {
            key: real.result[key] for key in ("changed", "diff", "sent_bytes")
        }
    assert [result.result["sent_bytes"] for result in run.results] == [0, 0, 0, 0]
    assert set(names(docker28)) == {"registry.example.com/app:1"}


@pytest.mark.parametrize("remote", [False, True], ids=["from the controller", "on the host"])
def test_async_needs_the_archive_on_the_host(docker20, playbook, bundle, tmp_path, remote):
    task = dict(load(bundle, remote_src=remote), **{"async": 60, "poll": 1})
    run = playbook(play(task), {"machine": {"engine": docker20.url}}, ANSIBLE_ASYNC_DIR=str(tmp_path / "async"))
    if remote:
        assert run.code == 0, run.screen
        assert set(names(docker20)) == {"registry.example.com/app:1", "registry.example.com/tool:1"}
    else:
        assert run.one().status == "failed"
        assert run.one().result["msg"] == (
            "async is not possible while src is on the controller, which takes part in the transfer: leave it out"
        )
        assert not names(docker20)


def test_the_wish_is_not_for_playbooks(docker20, playbook, bundle):
    run = playbook(play(load(bundle, wish={"images": []})), {"machine": {"engine": docker20.url}})
    assert run.one().status == "failed"
    assert run.one().result["msg"] == "wish is what the action plugin hands to the module: leave it out"


def test_reports_options_with_their_defaults_and_without_the_wish(docker20, playbook, bundle):
    run = playbook(play(load(bundle)), {"machine": {"engine": docker20.url}})
    given = run.one().result["invocation"]["module_args"]
    assert (given["src"], given["engine_host"], given["engine_timeout"]) == (str(bundle), docker20.url, 600)
    assert "wish" not in given


def test_unknown_options_are_refused_before_anything_happens(docker20, playbook, bundle):
    run = playbook(play(load(bundle, path="/x")), {"machine": {"engine": docker20.url}})
    assert run.one().status == "failed"
    assert "image_load) module: path. Supported parameters include: base, engine_ca_cert, " in run.one().result["msg"]
    assert not names(docker20)


@pytest.mark.parametrize("place", ["files", ".", "roles/preload/files"])
def test_a_relative_src_is_looked_for_as_copy_does(docker20, playbook, bundle, tmp_path, place):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    shutil.move(bundle, tmp_path / place / "moved.tar")
    task = load("moved.tar")
    if place.startswith("roles"):
        (tmp_path / "roles/preload/tasks").mkdir()
        (tmp_path / "roles/preload/tasks/main.yml").write_text(json.dumps([task]))
        plays = [{"hosts": "all", "gather_facts": False, "roles": ["preload"]}]
    else:
        plays = play(task)
    run = playbook(plays, {"machine": {"engine": docker20.url}})
    assert run.code == 0, run.screen
    assert run.one().status == "changed"


def test_a_folder_is_an_archive_too(docker20, playbook, tmp_path):
    (tmp_path / "files").mkdir()
    write_layout(tmp_path / "files/bundle", [APP])
    run = playbook(play(load("bundle"), load("bundle/", "again")), {"machine": {"engine": docker20.url}})
    assert run.code == 0, run.screen
    assert [result.status for result in run.results] == ["changed", "ok"]


def test_says_where_a_missing_src_was_looked_for(docker20, playbook, bundle, tmp_path):
    hosts = {"machine": {"engine": docker20.url}}
    run = playbook(play(load("none.tar")), hosts)
    assert run.one().status == "failed"
    assert run.one().result["msg"].startswith("src: Could not find or access 'none.tar'")
    assert str(tmp_path / "files/none.tar") in run.one().result["msg"]

    run = playbook(play(load(bundle, base=["none.tar"])), hosts)
    assert run.one().result["msg"].startswith("base: Could not find or access 'none.tar'")
    run = playbook(play(load(bundle, base=["record.jsonl"])), hosts)
    assert run.one().result["msg"].startswith(f"base: {tmp_path}/record.jsonl: ")

    run = playbook(play(load(tmp_path / "none.tar", remote_src=True)), hosts)
    assert run.one().status == "failed"
    assert run.one().result["msg"] == f"src: {tmp_path}/none.tar: cannot be read: No such file or directory"


def test_refuses_a_number_that_is_too_low(docker20, playbook, bundle):
    run = playbook(play(load(bundle, engine_timeout=0)), {"machine": {"engine": docker20.url}})
    assert run.one().status == "failed"
    assert run.one().result["msg"] == "engine_timeout: 0 is too low: give 1 or more"


def test_group_defaults_name_the_engine_once(docker20, playbook, bundle):
    task = {"stowage.oci.image_load": {"src": str(bundle)}}
    run = playbook(play(task, module_defaults={"group/stowage.oci.engine": {"engine_host": docker20.url}}), {"machine": {}})
    assert run.code == 0, run.screen
    assert len(names(docker20)) == 2


def test_delegates(docker20, podman, playbook, bundle):
    """The engine is that of the delegate, with its variables, and the image comes once however many hosts there are."""
    hosts = {"one": {"engine": "unix:///none.sock"}, "two": {"engine": "unix:///none.sock"}, "store": {"engine": podman.url}}
    task = load(bundle, engine_host="{{ hostvars['store'].engine }}")
    run = playbook([{"hosts": "one:two", "gather_facts": False, "tasks": [dict(task, delegate_to="store", run_once=True)]}], hosts)
    assert run.code == 0, run.screen
    assert run.one().status == "changed"
    assert len(names(podman)) == 2


def test_loops(docker20, playbook, tmp_path):
    sources = [str(write_layout(tmp_path / f"{number}.tar", [one])) for number, one in enumerate((APP, TOOL))]
    run = playbook(play(dict(load("{{ item }}"), loop=sources)), {"machine": {"engine": docker20.url}})
    assert run.code == 0, run.screen
    # The second one finds the base that the first one brought.
    assert [item["sent_blobs"] for item in run.one().result["results"]] == [4, 3]


def test_the_interpreter_that_ansible_finds_becomes_a_fact(docker20, playbook, bundle):
    hosts = {"machine": {"engine": docker20.url, "ansible_python_interpreter": "auto_silent"}}
    run = playbook(play(load(bundle)), hosts, PATH="/usr/bin:/bin")
    assert run.code == 0, run.screen
    assert run.one().result["ansible_facts"]["discovered_interpreter_python"].startswith("/usr/bin/python3")


def test_a_host_that_is_away_is_unreachable(playbook, bundle):
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    run = playbook(play(load(bundle)), {"machine": {"engine": "unix:///none.sock", **away}})
    assert run.one().status == "unreachable"


def test_what_no_log_hides_is_hidden(docker20, playbook, bundle):
    run = playbook(play(dict(load(bundle), no_log=True)), {"machine": {"engine": docker20.url}}, "-vvv")
    assert run.code == 0, run.screen
    assert "registry.example.com/app" not in run.screen


def test_ansible_doc_shows_it(collections, tmp_path):
    environ = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"}
    command = [Path(sys.executable).parent / "ansible-doc", "stowage.oci.image_load"]
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    for text in ("remote_src", "engine_host", "check_mode", "held_bytes", "Preload every host from one bundle"):
        assert text in shown.stdout
    assert "WARNING" not in shown.stderr
