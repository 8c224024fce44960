# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of the role trust: merged into what is there, and exactly that taken out again."""

from __future__ import annotations

import json
import re
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("plans are made on controllers, with tomllib", allow_module_level=True)

import tomllib

from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._server import trust, trust_json, trust_toml, trust_wish

HOST = "reg.example.com:5000"
CA = "-----BEGIN CERTIFICATE-----\nca\n-----END CERTIFICATE-----\n"
USERS = {"root": ["x", "0", "0", "root", "/root", "/bin/sh"], "ann": ["x", "1000", "1001", "", "/home/ann", "/bin/sh"], "ghost": None}
ANN = {"user": "ann", "username": "reader", "password": "secret"}
ENGINES = ["docker", "podman", "containerd"]
ETC = ("/etc", "/etc/docker", "/etc/containers", "/etc/containers/registries.conf.d", "/etc/containerd")
FOLDERS = ETC + ("/root", "/home", "/home/ann", "/var/lib")


def wish(**more):
    return {
        "registry": HOST, "state": "present", "ca": "", "client_certificate": "", "client_key": "", "insecure": "never", "mirror_of": [],
        "logins": [], **more,
    }


class Host:
    """A host's files and folders, on which plans are carried out as the role does it."""

    def __init__(self, files=(), folders=FOLDERS, links=(), dockerd="", dump=""):
        self.files, self.folders, self.links, self.dockerd, self.dump = dict(files), set(folders), set(links), dockerd, dump

    def plan(self, engines=tuple(ENGINES), **variables):
        wanted = wish(**variables)
        state = self.files.get(trust_wish.STATE, "")
        trust_wish.check(wanted)
        places = trust_wish.places(wanted, state, USERS)
        entries = [(path, "l f" if path in self.links else "f f") for path in self.files] + [(path, "d d") for path in self.folders]
        found = [(path, kind) for path, kind in entries if path in places["paths"] or path.rpartition("/")[0] in places["folders"]]
        facts = {
            "engines": list(engines), "state": state, "found": ["%s 640 1000 1001 %s" % (kind, path) for path, kind in found],
            "texts": {path: self.files[path] for path, kind in found if kind.endswith("f") and re.match(places["read"], path)},
            "users": USERS, "dump": self.dump, "dockerd": self.dockerd, "made": places["made"],
        }
        return trust.plan(wanted, facts, tomllib.loads)

    def run(self, **variables):
        """Carry out the plan; whether that changed something."""
        before = (dict(self.files), set(self.folders))
        plan = self.plan(**variables)
        for path in plan["gone"]:
            del self.files[path]
        self.folders -= set(plan["emptied"])
        self.files.update({trust_wish.STATE: plan["state"]} if plan["state"] else {})
        if not plan["state"]:
            self.files.pop(trust_wish.STATE, None)
        self.folders |= {folder["path"] for folder in plan["folders"]}
        self.files.update({one["path"]: one["content"] for one in plan["files"]})
        self.files.update(dict.fromkeys(plan["client_keys"], "key"))
        for one in plan["logins"]:
            login = variables["logins"][one["login"]] if one["login"] is not None else None
            pair = (login["username"], login["password"]) if login else None
            self.files[one["path"]] = trust_json.with_login(self.files.get(one["path"], ""), one["path"], one["key"], pair)
        for path in self.files:
            assert path.rpartition("/")[0] in self.folders, path
        return (self.files, self.folders) != before


EVERYTHING = {
    "ca": CA, "client_certificate": CA, "client_key": "key.pem", "mirror_of": ["docker.io"], "logins": [ANN, dict(ANN, user="root")],
}
WISHES = {
    "a ca": {"ca": CA},
    "everything": EVERYTHING,
    "insecure": {"insecure": "plain_http"},
    "an insecure mirror": {"insecure": "unverified", "mirror_of": ["docker.io"]},
    "nothing but a login": {"logins": [ANN]},
}
HOSTS = {
    "empty": {},
    "everything is there": {
        trust_wish.DAEMON: '{\n    "debug": true,\n'
                           '    "registry-mirrors": ["https://old.example.com/"],\n    "insecure-registries": ["10.0.0.0/8"]\n}\n',
        trust_wish.REGISTRIES: 'unqualified-search-registries = ["docker.io"]\n',
        trust_wish.DROP_INS + "/00-site.conf": '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "old.example.com"\n',
        trust_wish.CONTAINERD: 'version = 2\n[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/usr/lib/cni"\n',
        "/etc/containerd/certs.d/docker.io/hosts.toml": 'server = "https://registry-1.docker.io"\n\n[host."https://old.example.com"]\n',
        "/home/ann/.docker/config.json": '{\n\t"auths": {\n\t\t"other": {"auth": "eDp5"}\n\t},\n\t"credHelpers": {"gcr.io": "gcloud"}\n}',
        "/root/.config/containers/auth.json": "{}",
    },
}
MORE = ("/etc/containerd/certs.d", "/etc/containerd/certs.d/docker.io", "/home/ann/.docker", "/root/.config", "/root/.config/containers")


def host(name):
    return Host(HOSTS[name], FOLDERS + (MORE if HOSTS[name] else ()))


def meant(files):
    """What files say; JSON that has been written anew means the same."""
    return {path: json.loads(text) if path.endswith(".json") else text for path, text in files.items()}


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("variables", WISHES.values(), ids=WISHES)
def test_a_second_run_changes_nothing_and_absent_leaves_what_was_there(kind, variables):
    machine = host(kind)
    files, folders = dict(machine.files), set(machine.folders)
    assert machine.run(**variables)
    assert not machine.run(**variables)
    assert machine.run(state="absent")
    assert meant(machine.files) == meant(files) and machine.folders == folders
    assert not machine.run(state="absent")


@pytest.mark.parametrize("first", WISHES)
@pytest.mark.parametrize("second", WISHES)
def test_what_is_wished_no_more_goes(first, second):
    changed, straight = host("everything is there"), host("everything is there")
    changed.run(**WISHES[first])
    changed.run(**WISHES[second])
    straight.run(**WISHES[second])
    for machine in (changed, straight):
        del machine.files[trust_wish.STATE]
    assert meant(changed.files) == meant(straight.files)


def test_several_registries_come_and_go_in_any_order():
    machine = host("everything is there")
    files, folders = dict(machine.files), set(machine.folders)
    names = ("a.example.com", "b.example.com", "c.example.com")
    for name in names:
        assert machine.run(**{**EVERYTHING, "registry": name})
    for name in names:
        assert not machine.run(**{**EVERYTHING, "registry": name}), name
    assert json.loads(machine.files[trust_wish.DAEMON])["registry-mirrors"] == [
        "https://c.example.com", "https://b.example.com", "https://a.example.com", "https://old.example.com/"]
    mirrors = tomllib.loads(machine.files[trust_wish.DROP_IN])["registry"][0]["mirror"]
    assert [mirror["location"] for mirror in mirrors] == [*reversed(names), "old.example.com"]
    for name in ("b.example.com", "a.example.com", "c.example.com"):
        assert machine.run(registry=name, state="absent")
    assert meant(machine.files) == meant(files) and machine.folders == folders


# What is there decides how it is written


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "registry-mirrors": [\n    "https://%s"\n  ]\n}\n'),
        ("{}", '{"registry-mirrors": ["https://%s"]}'),
        ('{"debug": true}\n', '{"debug": true, "registry-mirrors": ["https://%s"]}\n'),
        ('{\n\t"debug": true\n}', '{\n\t"debug": true,\n\t"registry-mirrors": [\n\t\t"https://%s"\n\t]\n}'),
        ('{"registry-mirrors": null, "a": "é"}', '{"registry-mirrors": ["https://%s"], "a": "é"}'),
        ('{ "registry-mirrors" : ["https://%s/"] }', '{ "registry-mirrors" : ["https://%s/"] }'),
        ('{"registry-mirrors": ["https://x", "https://%s"]}', '{"registry-mirrors": ["https://x", "https://%s"]}'),
    ],
)
def test_daemon_json_keeps_its_manner(before, after):
    before, after = (text.replace("%s", HOST) for text in (before, after))
    machine = Host({trust_wish.DAEMON: before} if before else {})
    machine.run(mirror_of=["docker.io"], engines=["docker"])
    assert machine.files[trust_wish.DAEMON] == after
    assert not machine.run(mirror_of=["docker.io"], engines=["docker"])
    machine.run(state="absent")
    assert json.loads(machine.files.get(trust_wish.DAEMON, "{}")).get("registry-mirrors") in (json.loads(before or "{}").get("registry-mirrors"), [])


def test_docker_reloads_only_if_its_file_changes():
    machine = Host()
    assert not machine.plan(ca=CA)["docker"]["reload"]
    docker = machine.plan(mirror_of=["docker.io"], insecure="plain_http")["docker"]
    machine.run(mirror_of=["docker.io"], insecure="plain_http")
    assert docker == {"reload": True, "told": machine.files[trust_wish.DAEMON], "known": ["http://" + HOST, HOST], "unknown": []}
    assert not machine.plan(mirror_of=["docker.io"], insecure="plain_http")["docker"]["reload"]
    docker = machine.plan(state="absent")["docker"]
    assert json.loads(docker.pop("told")) == {"registry-mirrors": [], "insecure-registries": []}
    assert docker == {"reload": True, "known": [], "unknown": ["http://" + HOST, HOST]}


def test_a_run_that_broke_off_is_made_good():
    """The memory is written first: what it remembers may never have come."""
    machine, broken = Host(), Host()
    machine.run(**EVERYTHING)
    broken.files[trust_wish.STATE] = broken.plan(**EVERYTHING)["state"]
    assert broken.run(**EVERYTHING)
    assert broken.files == machine.files
    broken.run(state="absent")
    assert not broken.files and broken.folders == set(FOLDERS)


def test_modes_stay_and_a_link_is_written_through():
    machine = Host({trust_wish.DAEMON: "{}", trust_wish.CONTAINERD: "version = 2\n"}, links=[trust_wish.CONTAINERD])
    modes = {one["path"]: one["mode"] for one in machine.plan(insecure="unverified")["files"]}
    assert modes[trust_wish.DAEMON] == "0640" and modes[trust_wish.CONTAINERD] is None and modes[trust_wish.DROP_IN] == "0644"


def test_logins_belong_to_their_user():
    plan = Host().plan(logins=[ANN])
    assert plan["logins"] == [
        {"path": "/home/ann/" + name, "key": HOST, "login": 0, "uid": 1000, "gid": 1001}
        for name in (".docker/config.json", ".config/containers/auth.json")
    ]
    homes = [one for one in plan["folders"] if one["path"].startswith("/home")]
    assert [one["path"] for one in homes] == ["/home/ann/.config", "/home/ann/.config/containers", "/home/ann/.docker"]
    assert all((one["mode"], one["uid"], one["gid"]) == ("0700", 1000, 1001) for one in homes)
    assert "secret" not in json.dumps(plan)


def test_docker_knows_the_hub_by_another_name():
    keys = {one["path"]: one["key"] for one in Host().plan(registry="docker.io", logins=[ANN])["logins"]}
    assert keys == {"/home/ann/.docker/config.json": "https://index.docker.io/v1/", "/home/ann/.config/containers/auth.json": "docker.io"}


def test_a_login_that_was_there_gets_the_new_password_and_stays():
    path = "/root/.docker/config.json"
    text = '{"auths": {"%s": {"auth": "cmVhZGVyOm9sZA=="}}}' % HOST  # reader:old
    machine = Host({path: text}, FOLDERS + ("/root/.docker",))
    machine.run(logins=[dict(ANN, user="root")], engines=["docker"])
    new = machine.files[path]
    assert json.loads(new) == {"auths": {HOST: {"auth": "cmVhZGVyOnNlY3JldA=="}}}
    machine.run(state="absent")
    assert machine.files == {path: new}


def test_a_login_of_ours_may_become_another():
    machine = Host()
    machine.run(logins=[ANN])
    machine.run(logins=[dict(ANN, username="writer")])
    assert json.loads(machine.files["/home/ann/.docker/config.json"])["auths"] == {HOST: {"auth": "d3JpdGVyOnNlY3JldA=="}}
    machine.run(state="absent")
    assert not machine.files and machine.folders == set(FOLDERS)


def test_podman_has_what_others_say_of_the_same_registry():
    files = {
        trust_wish.REGISTRIES: '[[registry]]\nprefix = "docker.io"\nlocation = "one"\n',
        trust_wish.DROP_INS + "/10.conf": '[[registry]]\nprefix = "docker.io"\n'
                                          'location = "two"\nblocked = false\n[[registry.mirror]]\nlocation = "m"\n',
        trust_wish.DROP_INS + "/20.conf": 'short-name-mode = "enforcing"\n',
    }
    machine = Host(files)
    machine.run(mirror_of=["docker.io"], insecure="unverified", engines=["podman"])
    tables = {table["prefix"]: table for table in tomllib.loads(machine.files[trust_wish.DROP_IN])["registry"]}
    mirror = [{"location": HOST, "insecure": True}, {"location": "m"}]
    assert tables == {
        "docker.io": {"prefix": "docker.io", "location": "two", "blocked": False, "mirror": mirror},
        HOST: {"prefix": HOST, "location": HOST, "insecure": True},
    }


def test_podman_needs_nothing_that_others_say_already():
    text = '[[registry]]\nlocation = "%s"\ninsecure = true\n[[registry]]\nlocation = "a.io"\n[[registry.mirror]]\nlocation = "%s"\ninsecure = true\n'
    machine = Host({trust_wish.REGISTRIES: text % (HOST, HOST)})
    machine.run(mirror_of=["a.io"], insecure="plain_http", engines=["podman"])
    assert trust_wish.DROP_IN not in machine.files


V2, V3 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n', 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n'
PATH = 'config_path = "/etc/containerd/certs.d"\n'


@pytest.mark.parametrize(
    ("dump", "enough"),
    [
        ("", False),
        (V2 + PATH, True),
        (V3 + 'config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"\n', True),
        (V2 + 'config_path = "/etc/elsewhere"\n', False),
        ('disabled_plugins = ["cri"]\n', True),
        ('disabled_plugins = ["io.containerd.grpc.v1.cri"]\n', True),
        ('disabled_plugins = ["io.containerd.internal.v1.critical"]\n', False),
    ],
)
def test_containerd_is_told_where_to_look_if_it_does_not_know(dump, enough):
    machine = Host(dump=dump)
    plan = machine.plan(ca=CA, engines=["containerd"])
    assert plan["restart"] is not enough
    assert (trust_wish.CONTAINERD in [one["path"] for one in plan["files"]]) is not enough


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("", V2),
        ("version = 2\n", V2),
        ("version = 3\n[grpc]\ngid = 0", V3),
        ('version = 2\n[plugins]\n[plugins."io.containerd.grpc.v1.cri"]\n[plugins."io.containerd.grpc.v1.cri".cni]\nbin_dir = "/b"\n', V2),
    ],
)
def test_containerd_config_gets_a_block(text, table):
    machine = Host({trust_wish.CONTAINERD: text} if text else {})
    machine.run(ca=CA, engines=["containerd"])
    wanted = tomllib.loads(table + PATH)
    for plugin, settings in tomllib.loads(text).get("plugins", {}).items():
        wanted["plugins"][plugin].update(settings)
    written = tomllib.loads(machine.files[trust_wish.CONTAINERD])
    assert {key: written[key] for key in ("version", "plugins")} == wanted
    machine.run(state="absent")
    assert machine.files.get(trust_wish.CONTAINERD, "").rstrip("\n") == text.rstrip("\n")


def test_hosts_toml_says_how_the_registry_is_reached():
    machine = Host(dump=V2 + PATH)
    folder = "/etc/containerd/certs.d/%s/" % HOST
    machine.run(ca=CA, client_certificate=CA, client_key="k", mirror_of=["quay.io"], engines=["containerd"])
    security = {"ca": folder + "stowage.crt", "client": [[folder + "stowage.cert", folder + "stowage.key"]]}
    assert tomllib.loads(machine.files[folder + "hosts.toml"]) == {"server": "https://" + HOST, **security, "host": {"https://" + HOST: security}}
    quay = {"host": {"https://" + HOST: {"capabilities": ["pull", "resolve"], **security}}}
    assert tomllib.loads(machine.files["/etc/containerd/certs.d/quay.io/hosts.toml"]) == quay
    machine.run(insecure="plain_http", engines=["containerd"])
    assert tomllib.loads(machine.files[folder + "hosts.toml"]) == {"server": "http://" + HOST, "host": {"http://" + HOST: {}}}
    machine.run(insecure="unverified", engines=["containerd"])
    assert tomllib.loads(machine.files[folder + "hosts.toml"]) == {
        "server": "https://" + HOST, "skip_verify": True, "host": {"https://" + HOST: {"skip_verify": True}}}
    machine.run(engines=["containerd"])
    assert folder + "hosts.toml" not in machine.files


def test_docker_is_told_how_its_mirror_is_proved():
    path, machine = "/etc/docker/certs.d/docker.io/hosts.toml", Host()
    machine.run(ca=CA, mirror_of=["docker.io"], engines=["docker"])
    host = {"capabilities": ["pull", "resolve"], "ca": "/etc/docker/certs.d/%s/stowage.crt" % HOST}
    assert tomllib.loads(machine.files[path]) == {"host": {"https://" + HOST: host}}
    machine.run(insecure="unverified", mirror_of=["docker.io"], engines=["docker"])
    assert path not in machine.files


def test_a_registry_that_has_a_mirror_is_trusted_too():
    machine = Host(dump=V2 + PATH)
    for name, mirrored in (("a.io", []), ("b.io", ["a.io"]), ("c.io", ["a.io"]), ("a.io", [])):
        machine.run(registry=name, insecure="unverified", mirror_of=mirrored, engines=["containerd"])
    written = tomllib.loads(machine.files["/etc/containerd/certs.d/a.io/hosts.toml"])
    assert written["server"] == "https://a.io" and list(written["host"]) == ["https://c.io", "https://b.io", "https://a.io"]
    for name in ("a.io", "c.io", "b.io"):
        assert machine.run(registry=name, state="absent")
    assert not machine.files and machine.folders == set(FOLDERS)


def test_a_registry_that_the_systems_cas_know_needs_no_file():
    machine = Host(dump=V2 + PATH)
    machine.run()
    assert list(machine.files) == [trust_wish.STATE]


# What is refused, before anything is changed


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"registry": "https://reg.example.com"}, "trust_registry: https://reg.example.com is no host[:port]"),
        ({"registry": "reg.example.com/team"}, "trust_registry: reg.example.com/team is no host"),
        ({"registry": "ann:secret@reg.io"}, "trust_registry: ann:***@reg.io is no host"),
        ({"mirror_of": ["https://docker.io"]}, "trust_mirror_of: https://docker.io is no host"),
        ({"mirror_of": [HOST]}, "trust_mirror_of: %s cannot be a mirror of itself" % HOST),
        ({"client_certificate": CA}, "trust_client_certificate and trust_client_key go together"),
        ({"client_key": "k"}, "trust_client_certificate and trust_client_key go together"),
        ({"ca": "ca\n"}, "trust_ca: that file holds no certificate in PEM"),
        ({"ca": CA + "-----BEGIN PRIVATE KEY-----\n"}, "trust_ca: that file holds a private key"),
        ({"ca": CA, "insecure": "plain_http"}, "trust_ca proves the registry and trust_insecure does without"),
        ({"logins": [dict(ANN, username="")]}, "trust_logins: the username '' is empty"),
        ({"logins": [dict(ANN, username="a:b")]}, "trust_logins: the username a:b is empty or has a colon"),
        ({"logins": [dict(ANN, password="")]}, "trust_logins: the password of reader is empty"),
        ({"logins": [dict(ANN, password="secret\n")]}, "trust_logins: the password of reader is empty, or has characters"),
        ({"logins": [ANN, dict(ANN, username="other")]}, "trust_logins: ann can be logged in as one only"),
        ({"logins": [dict(ANN, user="ghost")]}, "trust_logins: this host has no user ghost"),
        ({"mirror_of": ["docker.io", "quay.io"]}, "trust_mirror_of: Docker asks mirrors for docker.io alone, and would fetch what is of quay.io"),
    ],
)
def test_variables_that_make_no_sense_are_named(variables, message):
    machine = host("everything is there")
    with pytest.raises(InvalidInput) as caught:
        machine.plan(**variables)
    assert message in str(caught.value) and "secret" not in str(caught.value)


CONFIG = "/home/ann/.docker/config.json"


@pytest.mark.parametrize(
    ("files", "variables", "message"),
    [
        ({trust_wish.DAEMON: '{\n  "debug": true\n  "dns": []}'}, {"insecure": "unverified"}, "daemon.json is not valid JSON (Expecting ',' delimiter"),
        ({trust_wish.DAEMON: '{\n  "debug": true\n  "dns": []}'}, {"insecure": "unverified"}, "line 3 column 3"),
        ({trust_wish.DAEMON: "[]"}, {"insecure": "unverified"}, "/etc/docker/daemon.json is JSON, but no object"),
        ({trust_wish.DAEMON: '{"insecure-registries": "x"}'}, {"insecure": "unverified"}, "insecure-registries is no list of texts there"),
        ({trust_wish.REGISTRIES: "[[registry"}, {"insecure": "unverified"}, "/etc/containers/registries.conf is not valid TOML"),
        ({trust_wish.DROP_INS + "/zzz.conf": '[[registry]]\nlocation = "docker.io"\n'}, {"mirror_of": ["docker.io"]}, "/zzz.conf is read after ours"),
        ({trust_wish.CONTAINERD: "[plugins]\n"}, {"ca": CA}, "/etc/containerd/config.toml has no version 2 or 3"),
        ({trust_wish.CONTAINERD: V2 + 'config_path = "/x"\n'}, {"ca": CA}, 'say this yourself:\n[plugins."io.containerd.grpc.v1.cri".registry]'),
        ({"/etc/containerd/certs.d/%s/hosts.toml" % HOST: 'server = "x"'}, {"ca": CA}, "hosts.toml has such settings already"),
        ({"/etc/containerd/certs.d/%s/hosts.toml" % HOST: "server"}, {"ca": CA}, "hosts.toml is not valid TOML"),
        ({CONFIG: "{"}, {"logins": [ANN]}, CONFIG + " is not valid JSON"),
        ({CONFIG: '{"auths": [1]}'}, {"logins": [ANN]}, CONFIG + ": auths is no JSON object"),
        ({CONFIG: '{"credsStore": "pass"}'}, {"logins": [ANN]}, "a helper (docker-credential-pass) keeps the credentials"),
        ({CONFIG: '{"credHelpers": {"%s": "x"}}' % HOST}, {"logins": [ANN]}, "a helper (docker-credential-x) keeps the credentials"),
        ({CONFIG: '{"auths": {"%s": {"auth": "Ym9iOng="}}}' % HOST}, {"logins": [ANN]}, "somebody is logged in to %s there as bob" % HOST),
        ({CONFIG: '{"auths": {"%s": {"identitytoken": "x"}}}' % HOST}, {"logins": [ANN]}, "there as '', and trust_logins says reader"),
        ({trust_wish.STATE: "{"}, {}, trust_wish.STATE + " is not valid JSON"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_named(files, variables, message):
    machine = Host(files)
    with pytest.raises(InvalidInput) as caught:
        machine.plan(**variables)
    assert message in str(caught.value) and "secret" not in str(caught.value)


def test_flags_of_dockerd_that_clash_are_named():
    machine = Host(dockerd="/usr/sbin/dockerd\0--insecure-registry=10.0.0.0/8\0")
    assert machine.plan(mirror_of=["docker.io"])["docker"]["reload"]
    with pytest.raises(InvalidInput, match="dockerd runs with --insecure-registry, and does not start if"):
        machine.plan(insecure="unverified")


def test_a_link_in_a_home_is_not_followed():
    machine = Host({CONFIG: "{}"}, FOLDERS + ("/home/ann/.docker",), links=[CONFIG])
    with pytest.raises(InvalidInput, match="config.json is a link"):
        machine.plan(logins=[ANN])


def test_a_home_that_is_not_there_is_named():
    with pytest.raises(InvalidInput, match="ann has no home folder /home/ann on this host"):
        Host(folders=("/etc", "/var/lib")).plan(logins=[ANN])


@pytest.mark.parametrize("text", ['client = [\n  ["a", "b"],\n]\n', '[host."https://%s"]\n' % HOST])
def test_a_block_that_would_mean_something_else_is_refused(text):
    with pytest.raises(InvalidInput, match="hosts.toml has such settings already"):
        trust_toml.with_block(text, "hosts.toml", HOST, trust_toml.mirror_block(HOST, "never", {}), "tables", tomllib.loads)
