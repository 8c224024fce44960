# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role `registry` refuses before it changes anything, each with what to do; on this machine, which may well have no systemd."""

from __future__ import annotations

import hashlib
import json
import socket

import peers
import pytest

ROLE = "stowage.oci.registry"
SYSTEMD = {"name": "Be a host with systemd", "ansible.builtin.set_fact": {"service_mgr": "systemd", "cacheable": True}}

CASES = {
    "files": ({"registry_tls": "files"}, "registry_tls is files. Name the files by registry_tls_certificate and registry_tls_key."),
    "file": ({"registry_tls_key": "/x"}, "registry_tls_certificate and registry_tls_key are used with registry_tls: files alone, and it is own."),
    "plain": (
        {"registry_tls": "none", "registry_tls_client_authority": "/x"},
        "registry_tls_client_authority asks clients for certificates, and registry_tls none has no TLS. Choose own or files.",
    ),
    "authority": (
        {"registry_tls_authority": "controller", "registry_tls_authority_path": "/x"},
        "The authority is kept on the controller. Say where by registry_tls_authority_path, and encrypt its key by registry_tls_authority_passphrase.",
    ),
    "renewing": (
        {"registry_tls_days": 20}, "registry_tls_renew_days is 30, and certificates are made for registry_tls_days, 20: every run would make a new one."
    ),
    "nobody": ({"registry_auth": "htpasswd"}, "registry_auth is htpasswd and registry_users is empty, so that nobody could log in."),
    "unasked": (
        {"registry_auth": "none", "registry_users": {"ann": "hush-hush"}},
        "registry_users has accounts that registry_auth none does not ask for. Remove one of the two.",
    ),
    "token": ({"registry_auth": "token"}, "registry_auth is token. Name the token server by registry_token."),
    "collecting": (
        {"registry_proxy_url": "https://registry.example.com", "registry_collect_schedule": "daily"},
        "A registry that passes on another (registry_proxy_url) forgets by itself. Leave registry_collect_schedule empty.",
    ),
}
CLUSTER = {
    "no secret": (
        {"registry_cluster": ["one"]}, "The hosts of registry_cluster serve one registry: one needs registry_secret, the same on all of them."
    ),
    "folder": (
        {"registry_cluster": ["one"], "registry_secret": "s"},
        "registry_cluster needs a storage that all its hosts reach, and registry_storage is filesystem: choose s3, azure, gcs or swift.",
    ),
    "memory": (
        {"registry_cluster": ["one"], "registry_secret": "s", "registry_storage": "s3"},
        "registry_cache is inmemory, and each host of registry_cluster would remember blobs that another deleted: choose redis or none.",
    ),
    "timer": (
        {
            "registry_cluster": ["one"], "registry_secret": "s", "registry_storage": "s3", "registry_cache": "none", "registry_collect_schedule": "daily",
        },
        "A timer on one host of registry_cluster cannot stop pushes to the others. Leave registry_collect_schedule empty and run stowage.oci.collect.",
    ),
}


def role(tasks):
    return {"name": "Ask the role", "ansible.builtin.include_role": {"name": ROLE, "tasks_from": tasks}}


def refused(case, variables, tasks="preflight"):
    """Tasks that add to the fact `refused` what the role says to these variables, and null if it says nothing."""
    note = {"ansible.builtin.set_fact": {"refused": "{{ (refused | default({})) | combine({%r: said}) }}" % case}}
    return {
        "name": f"Try {case}",
        "vars": variables,
        "block": [role(tasks), {"name": "Note", "vars": {"said": None}, **note}],
        "rescue": [{"name": "Note", "vars": {"said": "{{ ansible_failed_result }}"}, **note}],
    }


@pytest.fixture
def answers(prepared, collections):
    """Gives `answers(plays)`: what each case was refused with."""

    def run(tasks, hosts=("one",)):
        play = {
            "name": "Try", "hosts": "all", "gather_facts": False,
            "tasks": [role("facts"), SYSTEMD, *tasks, {"name": "Tell", "ansible.builtin.debug": {"var": "refused"}}],
        }
        done = prepared([play], {host: {} for host in hosts}, ANSIBLE_COLLECTIONS_PATH=f"{collections}:{peers.collections()}").run()
        assert done.code == 0, done.screen
        return {result.host: result.result["refused"] for result in done.results if result.task == "Tell"}

    return run


def messages(answer):
    """All that a failed task said."""
    return json.dumps(answer)


@pytest.mark.timeout(300)
def test_variables_that_do_not_go_together_are_refused(answers):
    tasks = [refused(name, variables, "preflight_variables") for name, (variables, _message) in CASES.items()]
    tasks += [refused(name, variables, "preflight_cluster") for name, (variables, _message) in CLUSTER.items()]
    found = answers([*tasks, refused("default", {})])["one"]
    assert found["default"] is None
    assert [name for name, (_variables, message) in {**CASES, **CLUSTER}.items() if message not in messages(found[name])] == []
    assert "hush-hush" not in messages(found)


def test_a_host_without_systemd_is_refused(prepared, collections):
    other = {"name": "Be another host", "ansible.builtin.set_fact": {"service_mgr": "openrc", "cacheable": True}}
    play = {"name": "Try", "hosts": "all", "gather_facts": False, "tasks": [role("facts"), other, role("preflight")]}
    done = prepared([play], {"one": {}}, ANSIBLE_COLLECTIONS_PATH=f"{collections}:{peers.collections()}").run()
    assert done.code == 2
    assert "one is run by openrc, and the registry is kept running by systemd. Choose a host with systemd." in done.screen


def test_a_port_that_is_taken_is_refused_with_who_has_it(answers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = answers([refused("taken", {"registry_port": port})])["one"]
    assert f"Port {port} of one is taken by" in messages(found["taken"]) and "Stop it, or choose another registry_port." in messages(found["taken"])


def test_a_program_that_is_not_the_one_that_was_meant_is_refused(answers, tmp_path):
    program = tmp_path / "registry.tar.gz"
    program.write_bytes(b"something else")
    digest = "sha256:" + hashlib.sha256(b"something else").hexdigest()
    variables = {"registry_install": "binary", "registry_binary_src": str(program)}
    found = answers([
        refused("other", {**variables, "registry_binary_checksum": "sha256:" + 64 * "0"}),
        refused("absent", {**variables, "registry_binary_src": str(tmp_path / "none"), "registry_binary_checksum": digest}),
        refused("right", {**variables, "registry_binary_checksum": digest}),
        refused("nameless", {"registry_install": "binary"}),
    ])["one"]
    assert "Name the archive on the controller by registry_binary_src, and what it must be by registry_binary_checksum." in messages(found["nameless"])
    assert found["right"] is None
    assert f"is {digest}, and registry_binary_checksum asks for sha256:{64 * '0'}. Do not install it before you know why." in messages(found["other"])
    assert f"registry_binary_src: the controller has no file {tmp_path}/none." in messages(found["absent"])


def test_hosts_of_one_storage_need_one_secret(prepared, collections):
    play = {
        "name": "Try", "hosts": "all", "gather_facts": False, "tasks": [role("facts"), SYSTEMD, role("preflight")],
        "vars": {"registry_cluster": ["one", "two"], "registry_storage": "s3", "registry_cache": "none"},
    }
    hosts = {"one": {"registry_secret": "first-of-two"}, "two": {"registry_secret": "second-of-two"}}
    done = prepared([play], hosts, ANSIBLE_COLLECTIONS_PATH=f"{collections}:{peers.collections()}").run()
    assert done.code == 2
    assert "registry_secret is not the same on all hosts of registry_cluster. An upload that begins on one of them would fail on another." in done.screen
    assert "first-of-two" not in done.screen and "second-of-two" not in done.screen


def test_an_older_version_is_refused(answers):
    """What the host notes of its last run is played here; that it notes it, the scenarios show."""
    noted = {"registry__last": {"version": "9.1"}, "registry__packaged": {"stdout": ""}, "registry__foretold": "2.8.2"}
    remember = {"name": "Remember", "ansible.builtin.set_fact": noted}
    found = answers([remember, {**refused("older", {}, "install"), "check_mode": True}])["one"]
    assert "one runs version 9.1 of the registry, and this would bring 2.8.2." in messages(found["older"])
    assert "make a backup, and set registry_allow_downgrade to true if you want it all the same." in messages(found["older"])


def test_a_package_that_no_source_has_is_refused(answers):
    found = answers([refused("package", {"registry_package": "no-such-package"})])["one"]
    assert "has no package no-such-package. Add a source that has it and run apt-get update, or set registry_install" in messages(found["package"])


@pytest.mark.parametrize(
    ("hosts", "name"), [("registry_hosts", "registry_tls_authority_fetch"), ("registry_clients", "trust_ca")],
)
def test_the_playbook_refuses_paths_that_roles_would_look_for_in_the_collection(playbook, hosts, name):
    run = playbook("stowage.oci.registry", {"one": {}}, "-e", f"{hosts}=all", "-e", f"{name}=ca.pem", "--check")
    assert run.code, run.screen
    failed = [result.result for result in run.results if result.status == "failed"]
    assert len(failed) == 1
    message = f"{name} is ca.pem, which the role would look for in the collection: give the whole path, such as "
    said = [item["msg"] for item in failed[0]["results"] if item.get("failed")]
    assert len(said) == 1 and said[0].startswith(message) and said[0].endswith("/ca.pem")
