# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of the program that keeps a registry on its host."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from datetime import datetime, timezone

import pytest
from ansible_collections.stowage.oci.tests.unit import keeping
import cache  # these are the program's: keeping is imported first
import explain
import inventory
import private
import reach
import retention
import variants
from reach import Manifest, Repository
from settings import Failure

NOW = 1700000000.0
DAY = 86400


def graph(**manifests):
    """name -> children, after a `/` its subject."""
    found = {}
    for name, text in manifests.items():
        children, _slash, subject = text.partition("/")
        found[name] = Manifest(children=tuple(children.split()), subject=subject or None)
    return found


def test_reach_goes_down_and_along_subjects_in_circles_too():
    manifests = graph(index="amd arm missing", amd="", arm="", sign="/amd", attest="/sign", other="", loop="loop2", loop2="loop")
    assert reach.reach(manifests, ["index"]) == {"index", "amd", "arm", "sign", "attest"}
    assert reach.reach(manifests, ["attest"]) == {"sign", "attest", "amd"}
    assert reach.reach(manifests, ["loop", "nowhere"]) == {"loop", "loop2"}


def decide(manifests, tags, going=(), untagged=True):
    return reach.decide(Repository("app", tags, manifests), dict.fromkeys(going, "rule"), untagged)


def test_what_is_held_in_several_ways_stays():
    manifests = graph(index="amd arm", other="amd x", amd="", arm="", x="", free="")
    verdict = decide(manifests, {"1": "index"})
    assert verdict.doomed == {
        "free": "no tag, index or subject reaches it", "other": "no tag, index or subject reaches it", "x": "it is part of other, which goes",
    }
    assert list(verdict.doomed).index("other") < list(verdict.doomed).index("x")
    assert verdict.tags == {} and verdict.kept_tags == {}


@pytest.mark.parametrize("tags, going, gone, kept", [
    ({"1": "amd", "latest": "amd"}, ["1"], [], {"1": "it is the same manifest as latest, and the registry deletes manifests, not tags"}),
    ({"1": "amd", "latest": "amd"}, ["1", "latest"], ["1", "latest"], {}),
    ({"amd": "amd", "all": "index"}, ["amd"], [], {"amd": "it is part of index, which stays"}),
    ({"amd": "amd", "all": "index"}, ["amd", "all"], ["all", "amd"], {}),
    ({"amd": "amd", "s": "sign"}, ["amd"], [], {"amd": "something that stays refers to it"}),
    ({"amd": "amd", "s": "sign"}, ["s"], [], {"s": "something that stays refers to it"}),
    ({"amd": "amd", "old": "schema1"}, ["old"], [], {"old": "its manifest cannot be read"}),
    ({"amd": "amd", "lost": "nowhere"}, ["lost"], [], {"lost": "it names nowhere, which is not there"}),
])
def test_tags_that_rules_let_go_and_that_the_registry_cannot_drop(tags, going, gone, kept):
    manifests = dict(graph(index="amd", amd="", sign="/amd"), schema1=Manifest(opaque=True))
    verdict = decide(manifests, tags, going)
    assert sorted(verdict.tags) == gone and verdict.kept_tags == kept
    assert "schema1" not in verdict.doomed


def test_without_untagged_all_stays_that_those_tags_did_not_hold():
    manifests = graph(index="amd arm", amd="", arm="", free="arm")
    assert set(decide(manifests, {"1": "index"}, ["1"], False).doomed) == {"index", "amd"}
    assert decide(manifests, {"1": "index"}, (), False).doomed == {}


def test_tags_of_referrers_follow_what_they_describe():
    one, two, lost = ("sha256:" + letter * 64 for letter in "abc")
    tags = {"1": one, "2": two, **{digest.replace(":", "-") + end: end for digest, end in ((one, ".sig"), (two, ""), (lost, ".att"))}}
    manifests = dict(graph(**{".sig": "", "": "", ".att": ""}), **{one: Manifest(), two: Manifest()})
    verdict = decide(manifests, tags, ["2"])
    assert verdict.tags == {"2": "rule", two.replace(":", "-"): "it describes %s, which goes" % two}
    assert set(verdict.doomed) == {two, ""}


def going(rules, **ages):
    full = [dict({"repositories": ".*", "tags": ".*", "keep": None, "days": None}, **rule) for rule in rules]
    ages = {tag.replace("_", "."): None if days is None else NOW - days * DAY for tag, days in ages.items()}
    return sorted(retention.going("team/app", ages, full, NOW))


@pytest.mark.parametrize("rules, ages, gone", [
    ([], {"a": 100}, []),
    ([{"keep": 2}], {"a": 3, "b": 1, "c": 2}, ["a"]),
    ([{"keep": 0}], {"a": 3}, ["a"]),
    ([{"keep": 5}], {"a": 3}, []),
    ([{"days": 2}], {"a": 3, "b": 1, "undated": None}, ["a"]),
    ([{"keep": 1, "days": 2}], {"a": 5, "b": 4, "c": 1, "undated": None}, ["a", "b", "undated"]),
    ([{"keep": 1}], {"v1_9": None, "v1_10": None, "v1_2": None}, ["v1.2", "v1.9"]),
    ([{"keep": 1}], {"v1": 5, "v2": 5}, ["v1"]),
    ([{"keep": 1}], {"old": 1000, "v9": None}, ["v9"]),
    ([{"keep": 1, "tags": "v.*"}, {"days": 10}], {"v1": 20, "v2": 5, "v3": 3, "x": 20}, ["v1", "x"]),
    ([{"keep": 1, "tags": "v"}], {"v1": 5, "v": 5}, []),
    ([{"keep": 0, "repositories": "app"}], {"a": 5}, []),
    ([{"keep": 0, "repositories": "team/.*"}], {"a": 5}, ["a"]),
])
def test_retention(rules, ages, gone):
    assert going(rules, **ages) == gone


def test_what_describes_a_manifest_is_no_tag_for_the_rules():
    rule = {"repositories": ".*", "tags": ".*", "keep": 1, "days": None}
    described = "sha256-" + "a" * 64
    assert retention.matched("app", ["1", described, described + ".sig"], [rule]) == {"1"}
    assert retention.going("app", {"1": None, described: NOW}, [rule], NOW) == {}
    assert retention.matched("app", ["1"], [dict(rule, repositories="other")]) == set()


@pytest.mark.parametrize("text, expected", [
    ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
    ("2024-05-01T10:00:00.123456789Z", datetime(2024, 5, 1, 10, tzinfo=timezone.utc)),
    ("2024-05-01T10:00:00+02:30", datetime(2024, 5, 1, 7, 30, tzinfo=timezone.utc)),
    ("2024-05-01T10:00:00-01:00", datetime(2024, 5, 1, 11, tzinfo=timezone.utc)),
    ("1979-12-31T23:59:59Z", None), ("0001-01-01T00:00:00Z", None), ("1970-01-01T00:00:00Z", None),
    ("2024-13-01T10:00:00Z", None), ("yesterday", None), ("", None), (None, None), (5, None),
])
def test_times_of_configs(text, expected):
    found = retention.seconds(text)
    assert found == (expected.timestamp() if expected else None)


def test_what_the_program_prints():
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    printed = inventory.printed([
        "empty", "team/app", "team/app: marking manifest %s " % one, "team/app: marking blob %s" % two, "",
        "2 blobs marked, 1 blobs and 0 manifests eligible for deletion", "blob eligible for deletion: %s" % two,
        "team/app: layer link eligible for deletion: %s" % one, "next: marking manifest %s " % two,
    ])
    assert printed == ({"empty": [], "team/app": [one], "next": [two]}, {two})


def test_parse():
    document = {"config": {"digest": "c", "size": 1}, "layers": [{"digest": "l", "size": 2}], "subject": {"digest": "s"}, "annotations": None}
    raw = json.dumps(document)
    assert inventory.parse(raw.encode()) == Manifest(len(raw), (), "s", {"c": 1, "l": 2}, "c", None)
    raw = json.dumps({"manifests": [{"digest": "a", "size": 1}, {"digest": "b"}], "annotations": {"org.opencontainers.image.created": "x"}})
    assert inventory.parse(raw.encode()) == Manifest(len(raw), ("a", "b"), None, {"a": 1, "b": 0}, None, "x")


CONFIG = {
    "version": 0.1,
    "storage": {
        "s3": {"bucket": "b", "secretkey": "hidden-key"}, "cache": {"blobdescriptor": "redis"}, "maintenance": {"readonly": {"enabled": False}},
    },
    "redis": {"addr": "r:1", "password": "hush"},
    "http": {"addr": ":5000", "debug": {"addr": ":1"}, "tls": {"certificate": "c", "key": "k", "letsencrypt": {"email": "e"}}},
    "notifications": {"endpoints": [{"name": "n", "headers": {"X": ["header-hidden"]}}]},
    "auth": {"token": {"realm": "r", "service": "visible"}},
    "log": {"level": "info", "hooks": [1]},
    "health": {"file": [1], "tcp": [2]},
}


def test_variants_of_a_configuration():
    before = json.dumps(CONFIG)
    read_only = variants.read_only(CONFIG)
    assert variants.is_read_only(read_only) and not variants.is_read_only(CONFIG)
    assert "cache" not in read_only["storage"] and read_only["http"] == CONFIG["http"]
    trial = variants.trial(CONFIG, "/run/s")
    assert trial == {
        "version": 0.1, "redis": CONFIG["redis"], "auth": CONFIG["auth"], "log": {"level": "info"}, "health": {"tcp": [2]},
        "http": {"addr": "/run/s", "net": "unix", "tls": {"certificate": "c", "key": "k"}},
        "storage": dict(CONFIG["storage"], maintenance={"readonly": {"enabled": False}, "uploadpurging": {"enabled": False}}),
    }
    private = variants.private(CONFIG, "/run/s", False)
    assert private["storage"] == {
        "s3": CONFIG["storage"]["s3"], "delete": {"enabled": True}, "redirect": {"disable": True},
        "maintenance": {"uploadpurging": {"enabled": False}},
    }
    assert set(private) == {"version", "log", "storage", "http"}
    assert variants.is_read_only(variants.private(CONFIG, "/run/s", True))
    assert variants.private(CONFIG, "/run/s", True, "/folder")["storage"]["filesystem"] == {"rootdirectory": "/folder"}
    assert json.dumps(CONFIG) == before


@pytest.mark.parametrize("http, expected", [
    ({"addr": ":5000"}, "127.0.0.1:5000"), ({"addr": "0.0.0.0:5000"}, "127.0.0.1:5000"), ({"addr": "[::]:5000"}, "[::1]:5000"),
    ({"addr": "192.0.2.1:443"}, "192.0.2.1:443"), ({"addr": "[2001:db8::1]:443"}, "[2001:db8::1]:443"), ({"addr": "/run/s", "net": "unix"}, "/run/s"),
])
def test_where_a_server_is_reached(http, expected):
    assert str(variants.address({"http": http})) == expected


@pytest.mark.parametrize("given", ["", "host", "host:", "host:http"])
def test_an_address_without_a_port(given):
    with pytest.raises(Failure, match="must be host:port"):
        variants.address({"http": {"addr": given}})


def test_storage_and_redis_of_a_configuration():
    assert variants.driver(CONFIG) == ("s3", CONFIG["storage"]["s3"]) and variants.root(CONFIG) is None
    assert variants.root({"storage": {"filesystem": None}}) == "/var/lib/registry"
    assert variants.redis(CONFIG) == CONFIG["redis"]
    assert variants.redis({"storage": {"cache": {"layerinfo": "redis"}}, "redis": {"addrs": []}}) == {"addrs": []}
    assert variants.redis({"storage": {"cache": {"blobdescriptor": "inmemory"}}, "redis": {"addr": "x"}}) is None
    for storage, words in (({}, "it names none"), ({"s3": {}, "gcs": {}}, "it names gcs, s3")):
        with pytest.raises(Failure, match=words):
            variants.driver({"storage": storage})


def test_secrets_are_not_shown():
    text = "hidden-key header-hidden hush hushed visible https://ann:word@host redis://:word@r"
    assert explain.discreet(text, CONFIG) == "******** ******** ******** hushed visible https://********@host redis://********@r"


@pytest.mark.parametrize("log, words", [
    ("s3aws: NoSuchBucket: The specified bucket does not exist\n\tstatus code: 404", "The bucket does not exist"),
    (
        "s3aws: AuthorizationHeaderMalformed: x; the region 'eu-west-1' is wrong; expecting 'us-east-1'\n\tstatus code: 400",
        "region is us-east-1: set `region`",
    ),
    ("s3aws: InvalidAccessKeyId: The AWS Access Key Id you provided\n\tstatus code: 403", "does not take the credentials"),
    ("s3aws: SignatureDoesNotMatch: x\n\tstatus code: 403", "does not take the credentials"),
    ("s3aws: AccessDenied: Access Denied\n\tstatus code: 403", "may not read and write there"),
    ("filesystem: write /x: no space left on device", "The disk of registry_storage_path is full"),
    ("filesystem: mkdir /x/docker: read-only file system", "/x/docker (registry_storage_path) lies on a read-only file system"),
    ('level=fatal msg="open /k.pem: permission denied"', "/k.pem cannot be read by the registry's user"),
    ('level=fatal msg="tls: private key does not match public key"', "do not belong together"),
    ("dial tcp: lookup s3.example on 192.0.2.1:53: no such host", "The object store does not answer (lookup s3.example on 192.0.2.1:53: no such"),
    ("dial tcp 192.0.2.1:443: i/o timeout", "The object store does not answer (i/o timeout)"),
    ("listen tcp :5000: bind: address already in use", "Another program listens on :5000"),
    ('level=fatal msg="listen tcp 192.0.2.1:80: bind: cannot assign requested address"', "192.0.2.1:80 cannot be listened on (cannot assign"),
    ("all is well", None),
])
def test_known_troubles(log, words):
    found = explain.explain(log, {})
    assert found is None if words is None else words in found


def test_of_a_panic_its_reason_is_told():
    log = 'level=info msg="x"\npanic: reason\n\ngoroutine 1 [running]:\ngithub.com/x.f({0x1, 0x2})\n\tfile.go:1 +0x1\nmain.main()\n\tmain.go:2\n'
    assert explain.telling(log) == "panic: reason"
    assert explain.telling("level=info one\nlevel=info two\n", 1) == "level=info two"


def test_redis_commands_and_replies():
    assert cache.command("SCAN", b"0", "COUNT", 10) == b"*4\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nCOUNT\r\n$2\r\n10\r\n"

    def reply(data):
        return cache.reply(io.BytesIO(data))

    assert reply(b"*3\r\n+OK\r\n:-5\r\n*2\r\n$4\r\na\r\nb\r\n$-1\r\n") == [b"OK", -5, [b"a\r\nb", None]]
    assert reply(b"*-1\r\n") is None
    assert str(reply(b"-NOAUTH Authentication required.\r\n")) == "NOAUTH Authentication required."
    for data in (b"", b"$5", b"HTTP/1.1 400\r\n"):
        with pytest.raises(ConnectionError):
            reply(data)


@pytest.mark.parametrize("settings, expected", [
    ({"addr": "a:1"}, ("a:1",)), ({"addrs": ["a:1", "b:2"]}, ("a:1", "b:2")), ({"addr": "a:1", "addrs": []}, ("a:1",)),
])
def test_addresses_of_redis(settings, expected):
    assert cache.addresses(settings) == expected


def test_a_program_without_settings_says_so_in_json(tmp_path):
    command = [sys.executable, str(keeping.FOLDER), "--settings", str(tmp_path / "none.json"), "ready"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout.decode())["msg"].startswith("%s/none.json cannot be read" % tmp_path)
    (tmp_path / "none.json").write_text("{}")
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert "lacks the key 'program'" in json.loads(done.stdout.decode())["msg"]


def test_a_program_in_a_container_gets_folders_and_whose_they_are():
    program = private.Program(["docker", "run", "--rm", "--user=12:34", "IMAGE"], None, {})
    assert program.ids() == (12, 34)
    assert program.mounting("/run/x").command == ["docker", "run", "--volume=/run/x:/run/x", "--rm", "--user=12:34", "IMAGE"]
    program = private.Program(["/usr/bin/docker-registry"], None, {})
    assert program.ids() is None and program.mounting("/run/x") == program
    with pytest.raises(Failure, match="There is no user nobody-of-this-name on this host"):
        program._replace(user="nobody-of-this-name").ids()
