# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The certificates of the role registry. Each host of a play is a case, with a folder of its own for what a registry has in /etc."""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Address

import engines
import peers
import pytest
from ansible_collections.stowage.oci.tests.integration.conftest import BIN
from ansible_collections.stowage.oci.tests.unit.test_certificate_faults import key_of, make, pem
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

NAME = "registry.example"
PLAY = {
    "hosts": "all",
    "gather_facts": False,
    "tasks": [
        {"ansible.builtin.include_role": {"name": "stowage.oci.registry", "tasks_from": "tls", "public": True}},
        {"ansible.builtin.debug": {"var": "registry__tls_changed"}, "name": "Told"},
    ],
}
WITHIN = json.dumps({"registry__folder": "{{ folder }}", "registry__user": "root"})
SIGNS = x509.BasicConstraints(ca=True, path_length=0)
PASSPHRASE = "secret-of-the-authority"
# What the role puts into a certificate where there are no facts and no other variables.
HERE = [x509.DNSName(NAME), x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]


@pytest.fixture
def role(prepared, collections, tmp_path):
    """Gives `role(hosts, *options)`: runs the role's tasks for TLS on these hosts, each with its variables."""

    def run(hosts, *options):
        for name in hosts:
            (tmp_path / name / "tls").mkdir(parents=True, exist_ok=True)
        hosts = {name: {"folder": str(tmp_path / name), "registry_name": NAME, **variables} for name, variables in hosts.items()}
        path = f"{collections}:{peers.collections()}"
        return prepared([PLAY], hosts, "-e", WITHIN, *options, ANSIBLE_COLLECTIONS_PATH=path, ANSIBLE_PIPELINING="1").run()

    return run


def files(path):
    """Text by name of all files below."""
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


def write(path, texts):
    """As the role would, whose file modes are part of the state."""
    for name, text in texts.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
        (path / name).chmod(0o640)


def told(run):
    """Host -> whether the registry must start anew, of those that came to the end."""
    return {one.host: one.result["registry__tls_changed"] for one in run.results if one.task == "Told"}


def changed(run):
    return {one.host for one in run.results if one.status == "changed"}


def messages(run):
    """Host -> the last failure."""
    return {one.host: one.result["msg"].strip() for one in run.results if one.status == "failed"}


def warnings(run):
    return {one.host: one.result["msg"].strip() for one in run.results if str(one.result.get("msg")).startswith("WARNING")}


def verified(authority, certificate, *options):
    """Whether a client that trusts the authority accepts the server's certificate."""
    command = ["openssl", "verify", *options, "-purpose", "sslserver", "-verify_hostname", NAME, "-CAfile", authority, certificate]
    return subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0


def served(root, authority, folder):
    """What a real registry answers with these files to a client that trusts the authority."""
    tls = engines.TLS(authority, folder / "certificate.pem", folder / "key.pem")
    with engines.registry(root, tls=tls) as registry:
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", authority, f"{registry.url}/v2/"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.wide
def test_own_authorities(role, tmp_path):
    """On empty hosts, in check mode, real, and both again. Two hosts make an authority on the controller at once, and share it."""
    shared = {"registry_tls_authority": "controller", "registry_tls_authority_path": str(tmp_path / "shared")}
    shared |= {"registry_tls_authority_passphrase": PASSPHRASE, "registry_tls_authority_fetch": str(tmp_path / "fetched.pem")}
    hosts = {
        "alone": {"registry_names": ["192.0.2.9", "Other.example"]},
        "east": shared,
        "west": {**shared, "registry_address": "2001:db8:0:0:0:0:0:1"},
    }
    trial = role(hosts, "--check")
    assert (trial.code, told(trial)) == (0, dict.fromkeys(hosts, True)), trial.screen
    assert not any(files(tmp_path / name) for name in [*hosts, "shared"])
    assert not (tmp_path / "fetched.pem").exists()

    real = role(hosts, "--diff")
    assert (real.code, told(real)) == (0, dict.fromkeys(hosts, True)), real.screen
    state = {name: files(tmp_path / name) for name in [*hosts, "shared"]}
    alone = state["alone"]
    host = ["restart-pending", "tls/certificate.pem", "tls/key.pem"]
    assert list(alone) == ["authority/certificate.pem", "authority/key.pem", "authority/passphrase", *host]
    assert list(state["east"]) == list(state["west"]) == host
    assert list(state["shared"]) == ["certificate.pem", "key.pem"]
    modes = {"alone/authority": 0o700, "shared": 0o700, "alone/authority/key.pem": 0o600, "alone/authority/passphrase": 0o600}
    modes |= {"shared/key.pem": 0o600, "alone/tls/key.pem": 0o640, "alone/tls/certificate.pem": 0o640}
    assert {name: (tmp_path / name).stat().st_mode & 0o777 for name in modes} == modes
    assert all("BEGIN ENCRYPTED PRIVATE KEY" in key for key in (alone["authority/key.pem"], state["shared"]["key.pem"]))
    for secret in (PASSPHRASE, alone["authority/passphrase"], alone["tls/key.pem"].splitlines()[1]):
        assert secret not in real.screen + json.dumps([one.result for one in real.results])

    assert (tmp_path / "fetched.pem").read_text() == state["shared"]["certificate.pem"]
    assert verified(tmp_path / "alone/authority/certificate.pem", tmp_path / "alone/tls/certificate.pem", "-x509_strict")
    for name in ("east", "west"):
        assert verified(tmp_path / "fetched.pem", tmp_path / name / "tls/certificate.pem", "-x509_strict")
        assert not verified(tmp_path / "alone/authority/certificate.pem", tmp_path / name / "tls/certificate.pem")
    assert served(tmp_path / "registry", tmp_path / "fetched.pem", tmp_path / "west/tls") == "{}"
    leaf = x509.load_pem_x509_certificate(alone["tls/certificate.pem"].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == {NAME, "Other.example", "localhost", "127.0.0.1", "192.0.2.9"}
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days == 397
    root = x509.load_pem_x509_certificate(alone["authority/certificate.pem"].encode())
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value == SIGNS

    for options in (["--check"], []):
        again = role(hosts, *options)
        assert (again.code, changed(again), told(again)) == (0, set(), dict.fromkeys(hosts, False)), again.screen
    assert {name: files(tmp_path / name) for name in state} == state


@pytest.mark.wide
def test_made_anew_or_not_at_all(role, tmp_path):
    """A certificate is made when it must be, once; and an authority that cannot sign is never replaced."""
    ca, other = make(extensions=[SIGNS], subject="authority"), make(extensions=[SIGNS], subject="authority")
    leaf, ending = make(HERE, issuer=ca), make(HERE, issuer=ca, end=20)
    good = {
        "authority/certificate.pem": pem(ca), "authority/key.pem": key_of(ca, PASSPHRASE), "authority/passphrase": f"{PASSPHRASE}\n",
        "tls/certificate.pem": pem(leaf), "tls/key.pem": key_of(leaf),
    }
    ended = make(extensions=[SIGNS], subject="authority", begin=-9, end=-1, key=ca[1])
    cases = {
        "named": ({"registry_names": ["new.example"]}, {}),
        "ending": ({}, {"tls/certificate.pem": pem(ending), "tls/key.pem": key_of(ending)}),
        "foreign": ({}, {"tls/certificate.pem": pem(make(HERE, issuer=other, key=leaf[1]))}),
        # A run before ended between the two.
        "torn": ({}, {"tls/key.pem": key_of(other)}),
        "late": ({}, {"authority/certificate.pem": pem(make(extensions=[SIGNS], subject="authority", end=9.5, key=ca[1]))}),
    }
    restore = "Restore certificate.pem and key.pem there, and the passphrase in %s; or remove key.pem and certificate.pem, so that another authority"
    passphrase = {"registry_tls_authority_passphrase": "another-passphrase"}
    lost = {
        "keyless": ({}, {"authority/key.pem": None}, " cannot sign: its certificate.pem has no key. " + restore % "the file passphrase"),
        "locked": (passphrase, {}, " cannot sign: its certificate.pem has a key with another passphrase. " + restore % [*passphrase][0]),
        "ended": ({}, {"authority/certificate.pem": pem(ended)}, " ended on "),
    }
    for name, (_variables, texts, *_said) in {**cases, **lost}.items():
        write(tmp_path / name, {file: text for file, text in {**good, **texts}.items() if text is not None})
    before = {name: files(tmp_path / name) for name in [*cases, *lost]}
    hosts = {name: case[0] for name, case in {**cases, **lost}.items()}
    made = dict.fromkeys(cases, True) | {"late": False}

    trial = role({name: hosts[name] for name in cases}, "--check")
    assert (trial.code, told(trial), changed(trial)) == (0, made, set(cases) - {"late"}), trial.screen
    assert {name: files(tmp_path / name) for name in hosts} == before
    real = role(hosts)
    assert told(real) == made
    assert {name: files(tmp_path / name) for name in lost} == {name: before[name] for name in lost}
    for name, (_variables, _texts, said) in lost.items():
        assert messages(real)[name].startswith(f"The authority in {tmp_path}/{name}/authority on the host{said}")
    assert ". Remove its certificate.pem, so that another is made for the same key, which every client must" in messages(real)["ended"]
    assert warnings(real)["late"].startswith(f"WARNING: The authority in {tmp_path}/late/authority on the host ends in 9 days, on 20")
    for name in cases:
        now = files(tmp_path / name)
        assert {file for file in now if now[file] != before[name].get(file)} == ({"restart-pending", "tls/certificate.pem"} if made[name] else set())
        assert name == "late" or verified(tmp_path / name / "authority/certificate.pem", tmp_path / name / "tls/certificate.pem")

    for options in (["--check"], []):
        again = role({name: hosts[name] for name in ("named", "torn")}, *options)
        assert (again.code, changed(again), told(again)) == (0, set(), {"named": False, "torn": False}), again.screen


@pytest.mark.wide
def test_given_files(role, tmp_path):
    """Each thing that makes a given certificate useless has a message of its own, and nothing is written."""
    ca = make(extensions=[SIGNS], subject="authority")
    good, client = make(HERE, issuer=ca), make(HERE, extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])])
    wild = make([x509.DNSName("*.example")], issuer=ca, end=20.5)
    write(tmp_path / "given", {
        "ca.pem": pem(ca), "good.pem": pem(good) + pem(ca), "good.key": key_of(good), "locked.key": key_of(good, PASSPHRASE), "other.key": key_of(ca),
        "ended.pem": pem(make(HERE, key=good[1], begin=-9, end=-2)), "early.pem": pem(make(HERE, key=good[1], begin=2)), "rubbish": "rubbish",
        "others.pem": pem(make([x509.DNSName("other.example")], key=good[1])), "client.pem": pem(client), "client.key": key_of(client),
        "wild.pem": pem(wild) + pem(ca), "secret.key": key_of(wild), "password": "of-the-vault",
    })  # fmt: skip
    where = f"{tmp_path}/given/"

    def given(certificate="good.pem", key="good.key", **more):
        return {"registry_tls": "files", "registry_tls_certificate": where + certificate, "registry_tls_key": where + key, **more}

    refused = {
        "lacking": (given("none.pem"), "registry_tls_certificate, {}none.pem, cannot be read on the controller: "),
        "keyless": (given(key="none.key"), "registry_tls_key, {}none.key, cannot be read on the controller: "),
        "rubbish": (given("rubbish"), "registry_tls_certificate, {}rubbish, is no PEM certificate. Give a text file with BEGIN CERTIFICATE in it."),
        "mute": (given(key="rubbish"), "registry_tls_certificate, {}good.pem, has a key that is no PEM key (registry_tls_key, {}rubbish). Give a"),
        "locked": (given(key="locked.key"), "registry_tls_certificate, {}good.pem, has a key with a passphrase (registry_tls_key, {}locked.key)"),
        "other": (given(key="other.key"), "registry_tls_certificate, {}good.pem, does not belong to the key (registry_tls_key, {}other.key). Give"),
        "ended": (given("ended.pem"), "registry_tls_certificate, {}ended.pem, ended on 20"),
        "early": (given("early.pem"), "registry_tls_certificate, {}early.pem, is not valid before 20"),
        "others": (given("others.pem"), f"registry_tls_certificate, {{}}others.pem, lacks the name {NAME}; it has other.example. Have one made for"),
        "client": (given("client.pem", "client.key"), "registry_tls_certificate, {}client.pem, is not for servers. Have one made for servers."),
        "port": (given(registry_name="a.example:5000"), "a.example:5000 is neither a name nor an address for a certificate: give it without port"),
        "leaf": (given(registry_tls_client_authority=where + "good.pem"), "registry_tls_client_authority, {}good.pem, is not an authority's. Give"),
    }
    accepted = {
        "plain": given(),
        "wild": given("wild.pem", "secret.key", registry_tls_client_authority=where + "ca.pem"),
        "none": {"registry_tls": "none"},
    }
    vault = ["--vault-password-file", where + "password"]
    subprocess.run([BIN / "ansible-vault", "encrypt", *vault, where + "secret.key"], check=True, capture_output=True)
    hosts = {name: case[0] for name, case in refused.items()} | accepted

    trial = role(accepted, "--check", *vault)
    assert (trial.code, told(trial)) == (0, {"plain": True, "wild": True, "none": False}), trial.screen
    assert not any(files(tmp_path / name) for name in accepted)
    real = role(hosts, "--diff", *vault)
    assert told(real) == told(trial)
    assert set(messages(real)) == set(refused)
    assert {name: message for name, message in messages(real).items() if refused[name][1].replace("{}", where) not in message} == {}
    assert not any(files(tmp_path / name) for name in refused)
    assert warnings(real) == {"wild": warnings(real)["wild"]}
    assert warnings(real)["wild"].startswith(f"WARNING: registry_tls_certificate, {where}wild.pem, ends in 20 days, on 20")
    for key in (good, wild):
        assert key_of(key).splitlines()[1] not in real.screen + json.dumps([one.result for one in real.results])
    state = {name: files(tmp_path / name) for name in accepted}
    assert state == {
        "plain": {"restart-pending": "", "tls/certificate.pem": pem(good) + pem(ca), "tls/key.pem": key_of(good)},
        "wild": {"restart-pending": "", "tls/certificate.pem": pem(wild) + pem(ca), "tls/key.pem": key_of(wild), "tls/clients.pem": pem(ca)},
        "none": {},
    }
    for options in (["--check"], []):
        again = role(accepted, *options, *vault)
        assert (again.code, changed(again), told(again)) == (0, set(), dict.fromkeys(accepted, False)), again.screen
    assert {name: files(tmp_path / name) for name in accepted} == state
