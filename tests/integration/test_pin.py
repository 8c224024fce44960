# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The lookup digest and the filters reference and pin in playbooks, against a real registry, and a pull of what was pinned."""

from __future__ import annotations

import base64
import json
import subprocess

import debs
import engines
import pytest
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer, write_layout

BASE = layer({"bin/base": bytes(range(256)) * 400}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], config={"Cmd": ["/app"]})
NEXT = image([BASE, layer({"app": b"2"}, "gzip")], config={"Cmd": ["/app"]})
ARM = image([layer({"app": b"arm"}, "gzip")], platform="linux/arm64", config={"Cmd": ["/app"]})
MULTI = index([APP, ARM])


@pytest.fixture
def publish(tmp_path):
    """Gives `publish(registry, name, image, login)`, which pushes with skopeo; the reference."""
    debs.ensure(["skopeo"])

    def push(registry, name, made, login=()):
        folder = write_layout(tmp_path / f"push-{made.digest[7:19]}", [made])
        command = ["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--quiet", "--dest-tls-verify=false", *login]
        subprocess.run([*command, f"oci:{folder}", f"docker://{registry.host}/{name}"], check=True)
        return f"{registry.host}/{name}"

    return push


@pytest.fixture
def said(playbook):
    """Gives `said(expression, *options, variables, environ)`: what Ansible makes of an expression."""

    def evaluate(expression, *options, variables=None, **environ):
        tasks = [{"ansible.builtin.debug": {"msg": expression}}]
        return playbook([{"hosts": "all", "gather_facts": False, "tasks": tasks}], {"one": variables or {}}, *options, **environ)

    return evaluate


def message(run):
    result = run.one()
    assert result.status == "ok", run.screen
    return result.result["msg"]


def failure(run):
    assert run.code, run.screen
    return " ".join(run.screen.split())


def test_a_tag_is_pinned_once_and_every_host_has_that(registry, publish, playbook, podman, docker28):
    name = publish(registry, "pin/app:1", APP)
    pinned = f"{name}@{APP.digest}"
    fact = {"ansible.builtin.set_fact": {"pinned": "{{ name | stowage.oci.pin(lookup('stowage.oci.digest', name, plain_http=true)) }}"}}
    pull = {"stowage.oci.image_pull": {"name": "{{ pinned }}", "engine_host": "{{ engine }}", "plain_http": True}}
    plays = [{"hosts": "all", "gather_facts": False, "vars": {"name": name}, "tasks": [dict(fact, run_once=True), pull]}]
    hosts = {kind.kind: {"engine": kind.url} for kind in (podman, docker28)}
    for options, status in (["--check"], "changed"), ([], "changed"), (["--check"], "ok"), ([], "ok"):
        run = playbook(plays, hosts, *options)
        assert not run.code, run.screen
        for host in hosts:
            result = [one for one in run.results if one.host == host][-1]
            assert (result.status, result.result["images"][0]["reference"]) == (status, pinned)
            assert result.result["images"][0]["digest"] == APP.digest
    for engine in (podman, docker28):
        assert engine.json("GET", f"/images/{registry.host}/pin/app@{APP.digest}/json")["Id"] == APP.config_digest


def test_the_lookup_sees_a_tag_move(registry, publish, said):
    expression = "{{ query('stowage.oci.digest', first, second, plain_http=true) }}"
    first, second = publish(registry, "pin/moves:1", APP), publish(registry, "pin/moves:2", MULTI)
    assert message(said(expression, variables={"first": first, "second": second})) == [APP.digest, MULTI.digest]
    publish(registry, "pin/moves:1", NEXT)
    assert message(said(expression, variables={"first": first, "second": second})) == [NEXT.digest, MULTI.digest]
    expression = "{{ lookup('stowage.oci.digest', second, platform='linux/arm64', plain_http=true) }}"
    assert message(said(expression, variables={"second": second})) == ARM.digest


def test_the_lookup_shows_credentials_from_options_variables_environment_and_files(publish, said, tmp_path):
    with engines.registry(tmp_path / "closed", htpasswd={"ann": "secret"}) as closed:
        name = publish(closed, "app:1", APP, ["--dest-creds", "ann:secret"])
        plain = "{{ lookup('stowage.oci.digest', name, plain_http=true) }}"
        login = "{{ lookup('stowage.oci.digest', name, plain_http=true, username='ann', password='secret') }}"
        known = {"stowage_oci_username": "ann", "stowage_oci_password": "secret"}
        assert message(said(login, variables={"name": name})) == APP.digest
        assert message(said(plain, variables={"name": name, **known})) == APP.digest
        assert message(said(plain, variables={"name": name}, STOWAGE_OCI_USERNAME="ann", STOWAGE_OCI_PASSWORD="secret")) == APP.digest
        assert f"{closed.host} wants credentials, or has no such repository" in failure(said(plain, variables={"name": name}))
        wrong = failure(said(plain, variables={"name": name, **known, "stowage_oci_password": "guess-me"}))
        assert "refuses the credentials from username and password" in wrong and "guess-me" not in wrong
        subprocess.run(["skopeo", "login", "--tls-verify=false", "--authfile", tmp_path / "auth.json", "-u", "ann", "-p", "secret", closed.host], check=True)
        assert message(said(plain, variables={"name": name, "stowage_oci_auth_file": str(tmp_path / "auth.json")})) == APP.digest


def test_variables_of_the_lookup_may_be_templates_and_the_environment_names_files(registry, secured, publish, said, tmp_path):
    publish(registry, "pin/secured:1", APP)
    name = f"{secured.host}/pin/secured:1"
    expression = "{{ lookup('stowage.oci.digest', name) }}"
    username, password, ca_cert = (secured.options[key] for key in ("username", "password", "ca_cert"))
    login = {"stowage_oci_username": "{{ user }}", "stowage_oci_password": "{{ vaulted }}", "user": username, "vaulted": password}
    trust = {"stowage_oci_ca_cert": "{{ authority }}", "authority": ca_cert}
    assert message(said(expression, variables={"name": name, **trust, **login})) == APP.digest
    assert message(said(expression, variables={"name": name, **login}, STOWAGE_OCI_CA_CERT=ca_cert)) == APP.digest
    auth = {secured.host: {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": auth}))
    files = {"STOWAGE_OCI_AUTH_FILE": str(tmp_path / "auth.json"), "STOWAGE_OCI_CA_CERT": ca_cert}
    assert message(said(expression, variables={"name": name}, **files)) == APP.digest
    assert "'nowhere' is undefined" in failure(said(expression, variables={"name": name, "stowage_oci_auth_file": "{{ nowhere }}"}, **files))


def test_the_lookup_knows_its_options(said):
    assert "there is no option plattform: platform may be meant" in failure(said("{{ lookup('stowage.oci.digest', 'nginx', plattform='arm64') }}"))
    assert "no reference is given: write lookup(" in failure(said("{{ lookup('stowage.oci.digest') }}"))
    assert message(said("{{ query('stowage.oci.digest', []) }}")) == []
    shown = failure(said("{{ lookup('stowage.oci.digest', 'https://ann:geheim' ~ '@registry.example/app') }}"))
    assert "'https://ann:***@registry.example/app' is not an image reference" in shown


def test_the_lookup_says_what_went_wrong(registry, publish, said):
    name = publish(registry, "pin/there:1", APP)
    expression = "{{ lookup('stowage.oci.digest', name, plain_http=true) }}"
    absent = failure(said(expression, variables={"name": name + "0"}))
    assert f"there:10: {registry.host} has no such image" in absent and "Traceback" not in absent
    secure = failure(said("{{ lookup('stowage.oci.digest', name, retries=0) }}", variables={"name": name}))
    assert f"{registry.host} speaks no TLS: set plain_http if it is meant to be asked without" in secure


def test_the_filters_take_apart_and_refuse(said):
    parts = message(said("{{ 'nginx:1.27' | stowage.oci.reference }}"))
    assert (parts["registry"], parts["repository"], parts["tag"], parts["digest"]) == ("docker.io", "library/nginx", "1.27", None)
    assert message(said("{{ ['nginx', 'quay.io/a/b:1'] | map('stowage.oci.reference') | map(attribute='registry') }}")) == ["docker.io", "quay.io"]
    assert "is not an image reference" in failure(said("{{ 'not/A/reference' | stowage.oci.reference }}"))
    assert "it is a list, and one reference is one text" in failure(said("{{ ['nginx'] | stowage.oci.reference }}"))
    assert "no digest to pin nginx to: give it as in" in failure(said("{{ 'nginx' | stowage.oci.pin }}"))
    assert "has another digest, and cannot be pinned to" in failure(said(f"{{{{ 'app@{APP.digest}' | stowage.oci.pin('{NEXT.digest}') }}}}"))
