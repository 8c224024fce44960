# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput, RegistryError
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.plugins.module_utils._registry.keychain import HUB_KEY, Credential, Keychain, places

OPTIONS = {"username": None, "password": None, "auth_file": None, "registry_timeout": 5}


def entry(username, password):
    return {"auth": base64.b64encode(("%s:%s" % (username, password)).encode()).decode()}


def write(path, **document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return str(path)


def of_file(path, **options):
    return Keychain.of(dict(OPTIONS, auth_file=str(path), **options), [])


def found(keychain, text):
    credential = keychain.find(parse(text))
    return credential and (credential.username, credential.secret)


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Makes docker-credential-NAME of these shell lines; what it was asked is in the file that is returned."""

    def make(name, lines):
        asked = tmp_path / ("asked-" + name)
        program = tmp_path / "bin" / ("docker-credential-" + name)
        program.parent.mkdir(exist_ok=True)
        program.write_text('#!/bin/sh\nread key\necho "$# $1 $key" >> %s\n%s\n' % (asked, lines))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % program.parent)
        return asked

    return make


# Entries


@pytest.mark.parametrize(
    ("key", "reference", "matches"),
    [
        ("registry.example", "registry.example/app", True),
        ("registry.example", "registry.example:5000/app", False),
        ("registry.example:5000", "registry.example:5000/a/b", True),
        ("https://registry.example", "registry.example/app", True),
        ("http://registry.example/v1/", "registry.example/app", True),
        ("registry.example/a", "registry.example/a/b", True),
        ("registry.example/a", "registry.example/ab/c", False),
        ("registry.example/a/b", "registry.example/a/b:1", True),
        (HUB_KEY, "nginx", True),
        ("docker.io", "nginx", True),
        ("index.docker.io", "ann/app", True),
        ("registry-1.docker.io", "ann/app", True),
        ("docker.io/library", "nginx", True),
        ("docker.io/library", "ann/app", False),
        (HUB_KEY, "registry.example/nginx", False),
    ],
)
def test_finds_the_entry_of_a_repository(tmp_path, key, reference, matches):
    path = write(tmp_path / "auth.json", auths={key: entry("ann", "secret")})
    assert found(of_file(path), reference) == (("ann", "secret") if matches else None)


def test_the_longest_prefix_comes_first(tmp_path):
    names = ["registry.example", "registry.example/a", "registry.example/a/b"]
    path = write(tmp_path / "auth.json", auths={name: entry("user-of-" + name, "x") for name in names})
    keychain = of_file(path)
    assert found(keychain, "registry.example/a/b:1") == ("user-of-registry.example/a/b", "x")
    assert found(keychain, "registry.example/a/c:1") == ("user-of-registry.example/a", "x")
    assert found(keychain, "registry.example/z:1") == ("user-of-registry.example", "x")


@pytest.mark.parametrize(
    ("stored", "credential"),
    [
        ({"auth": base64.b64encode(b"ann:se:cret\0\0").decode()}, ("ann", "se:cret")),
        ({"username": "ann", "password": "secret"}, ("ann", "secret")),
        (dict(entry("00000000", ""), identitytoken="refresh-me"), ("", "refresh-me")),
        ({}, None),
        ({"auth": ""}, None),
    ],
)
def test_reads_what_an_entry_holds(tmp_path, stored, credential):
    assert found(of_file(write(tmp_path / "config.json", auths={"registry.example": stored})), "registry.example/app") == credential


@pytest.mark.parametrize("stored", [{"auth": "not base64!"}, {"auth": "YW5u"}, {"auth": 7}, {"username": "ann"}, "text"])
def test_says_which_entry_is_malformed(tmp_path, stored):
    path = write(tmp_path / "config.json", auths={"registry.example": stored})
    with pytest.raises(InvalidInput, match="config.json: the entry of registry.example is not base64 of user:password: log in to it again"):
        found(of_file(path), "registry.example/app")


@pytest.mark.parametrize(("text", "why"), [("{", "not a JSON object"), ("[]", "not a JSON object"), ('{"auths": [1]}', "auths is a JSON object")])
def test_says_which_file_is_malformed(tmp_path, text, why):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match="config.json: " + why):
        of_file(path)


# Options


def test_a_username_is_for_the_one_registry_of_the_task(tmp_path):
    unused = write(tmp_path / "unused.json", auths={"registry.example": entry("bob", "x")})
    options = dict(OPTIONS, username="ann", password="secret", auth_file=unused)
    assert found(Keychain.of(options, ["registry.example", "registry.example"]), "registry.example/app") == ("ann", "secret")
    with pytest.raises(InvalidInput, match="would be shown to docker.io and registry.example: make a task of each, or use auth_file"):
        Keychain.of(options, ["registry.example", "docker.io"])


@pytest.mark.parametrize(("given", "missing"), [({"username": "ann"}, "password"), ({"password": "secret"}, "username")])
def test_username_and_password_go_together(given, missing):
    with pytest.raises(InvalidInput, match="go together: %s is missing" % missing) as error:
        Keychain.of(dict(OPTIONS, **given), ["registry.example"])
    assert "secret" not in str(error.value)


def test_an_auth_file_that_is_named_must_be_there(tmp_path):
    with pytest.raises(InvalidInput, match="auth_file .*/nowhere.json: there is no such file, or it may not be read"):
        of_file(tmp_path / "nowhere.json")


# Places


def test_looks_where_docker_and_podman_write():
    assert places({"HOME": "/home/ann", "XDG_RUNTIME_DIR": "/run/user/7"}) == [
        "/home/ann/.docker/config.json",
        "/run/user/7/containers/auth.json",
        "/home/ann/.config/containers/auth.json",
    ]
    environ = {"HOME": "/home/ann", "DOCKER_CONFIG": "/etc/docker-ann", "REGISTRY_AUTH_FILE": "/etc/auth.json", "XDG_CONFIG_HOME": "/cfg"}
    assert places(environ, podman=True) == ["/etc/auth.json", "/cfg/containers/auth.json", "/etc/docker-ann/config.json"]
    assert places({"HOME": "/root"})[1].startswith("/run/containers/")


@pytest.mark.parametrize(("podman", "user"), [(False, "of-docker"), (True, "of-podman")])
def test_an_engines_own_file_comes_first(tmp_path, podman, user):
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    write(tmp_path / ".docker/config.json", auths={"registry.example": entry("of-docker", "x"), "docker.example": entry("d", "x")})
    write(tmp_path / "run/containers/auth.json", auths={"registry.example": entry("of-podman", "x"), "podman.example": entry("p", "x")})
    keychain = Keychain.of(OPTIONS, [], podman, environ)
    assert found(keychain, "registry.example/app") == (user, "x")
    assert found(keychain, "docker.example/app") == ("d", "x")
    assert found(keychain, "podman.example/app") == ("p", "x")
    assert found(keychain, "another.example/app") is None
    assert "there are none for it in %s:" % ", ".join(places(environ, podman)) in str(keychain.denied(parse("another.example/app"), "HTTP 401"))


# Helpers


def test_a_helper_is_asked_on_its_standard_input_and_once(tmp_path, helper):
    asked = helper("vault", """echo '{"ServerURL":"x","Username":"ann","Secret":"secret"}'""")
    keychain = of_file(write(tmp_path / "config.json", credHelpers={"registry.example": "vault"}))
    assert found(keychain, "registry.example/app") == ("ann", "secret")
    assert found(keychain, "registry.example/other") == ("ann", "secret")
    assert found(keychain, "another.example/app") is None
    assert asked.read_text() == "1 get registry.example\n"


def test_a_store_knows_what_no_helper_is_named_for(tmp_path, helper):
    helper("vault", """echo '{"Username":"<token>","Secret":"refresh-me"}'""")
    asked = helper("desktop", """echo '{"Username":"bob","Secret":"word"}'""")
    path = write(tmp_path / "config.json", credHelpers={"registry.example": "vault"}, credsStore="desktop", auths={HUB_KEY: {}})
    keychain = of_file(path)
    assert found(keychain, "registry.example/app") == ("", "refresh-me")
    assert found(keychain, "nginx") == ("bob", "word")
    assert found(keychain, "another.example:5000/a/b") == ("bob", "word")
    assert asked.read_text() == "1 get %s\n1 get another.example:5000\n" % HUB_KEY


@pytest.mark.parametrize("lines", ["echo credentials not found in native keychain; exit 1", """echo '{"Username":"","Secret":""}'"""])
def test_a_helper_may_know_nothing(tmp_path, helper, lines):
    helper("vault", lines)
    path = write(tmp_path / "config.json", credHelpers={"registry.example": "vault"}, auths={"registry.example": entry("ann", "secret")})
    assert found(of_file(path), "registry.example/app") == ("ann", "secret")
    assert found(of_file(write(tmp_path / "store.json", credsStore="vault")), "registry.example/app") is None


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("echo the vault is locked >&2; exit 1", r"failed \(the vault is locked\)"),
        ("exit 3", r"failed \(exit code 3\)"),
        ("echo nonsense", "printed something else than Username and Secret in JSON"),
        ("""echo '{"Username":"ann"}'""", "printed something else than Username and Secret in JSON"),
        ("exec sleep 30", "did not answer for 0.2 seconds"),
    ],
)
def test_says_which_helper_fails(tmp_path, helper, lines, why):
    helper("vault", lines)
    path = write(tmp_path / "config.json", credHelpers={"registry.example": "vault"})
    message = "the credential helper docker-credential-vault, which .*config.json names for registry.example, %s: repair it, or log in again"
    with pytest.raises(RegistryError, match=message % why):
        found(of_file(path, registry_timeout=0.2 if "sleep" in lines else 5), "registry.example/app")


@pytest.mark.parametrize(("name", "why"), [("nowhere", r"cannot be run \(No such file or directory\)"), ("../../tmp/x", "is no program's name")])
def test_says_which_helper_cannot_be_run(tmp_path, helper, name, why):
    helper("vault", "exit 0")
    with pytest.raises(RegistryError, match=why):
        found(of_file(write(tmp_path / "config.json", credsStore=name)), "registry.example/app")


# Credentials


def test_says_how_to_be_known_to_one_registry_or_to_several(tmp_path):
    path = write(tmp_path / "auth.json", auths={})
    options = {"username": None, "password": None, "auth_file": None, "registry_timeout": 1}
    several = "put those of each registry into auth_file, or log in (docker login, podman login) to each"
    for hosts, todo in ((["a.example"], "give username and password, or log in"), (["a.example", "b.example"], several)):
        said = str(Keychain.of(options, hosts, environ={"HOME": str(tmp_path)}).denied(parse("a.example/app"), "HTTP 401"))
        assert "(HTTP 401): none were given, and there are none for it in %s/.docker/config.json, " % tmp_path in said and said.endswith(": " + todo)
        said = str(Keychain.of(dict(options, auth_file=str(path)), hosts).denied(parse("a.example/app"), "HTTP 401"))
        assert said.endswith("(HTTP 401): auth_file %s has none for it: %s" % (path, todo))


def test_a_credential_goes_to_a_registry_or_an_engine_and_into_no_message():
    ann = Credential("ann", "sécret", "here")
    assert base64.b64decode(ann.basic[len("Basic "):]).decode() == "ann:sécret"
    assert json.loads(base64.urlsafe_b64decode(ann.for_engine("registry.example"))) == {
        "username": "ann", "password": "sécret", "serveraddress": "registry.example"
    }
    token = Credential("", "refresh-me", "here")
    assert json.loads(base64.urlsafe_b64decode(token.for_engine("docker.io"))) == {"identitytoken": "refresh-me", "serveraddress": HUB_KEY}
    assert "cret" not in repr(ann) + str(ann) and "refresh" not in repr(token)
