# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What distribution knows, and what is said of what it does not."""

from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._server import keys
from ansible_collections.stowage.oci.plugins.module_utils._server.keys_check import Check, tree

VERSIONS = ("2.8", "3")

# Of each kind, what distribution takes and what it would refuse, panic at or take for something else.
GOOD = {
    keys.TEXT: ["", "x"], keys.TEXTS: [[], ["x"]], keys.FLAG: [True, False], keys.NUMBER: [0, 7], keys.OPEN: [{}, {"x": {"y": [1]}}],
    keys.TIME: ["10s", "1h30m", "1.5ms", 0], keys.HEADERS: [{}, {"X-Any": ["a", "b"]}],
}
BAD = {
    keys.TEXT: [7, None, True, ["x"], {}], keys.TEXTS: ["x", [7], None], keys.FLAG: ["true", 1, None], keys.NUMBER: ["7", 1.5, True, None],
    keys.OPEN: ["x", [], None], keys.TIME: [7, "7", "7d", "", None, False], keys.HEADERS: [{"X-Any": "a"}, ["X-Any"], None],
}


def leaves(known, path=()):
    """All that is no section, with its path; of lists the first element."""
    if isinstance(known, dict):
        for key, deeper in known.items():
            yield from leaves(deeper, path + (key,))
    elif isinstance(known, list):
        yield from leaves(known[0], path + (0,))
    else:
        yield path, known


def written(path, value):
    for part in reversed(path):
        value = [value] if part == 0 else {part: value}
    return value


def refusal(value, version="2.8", variable="registry_config_overrides", place=()):
    with pytest.raises(InvalidInput) as caught:
        Check(variable, version, place)(value)
    return str(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_key_takes_its_kind_and_no_other(version):
    check = Check("x", version)
    count = 0
    for path, kind in leaves(tree(version)):
        good, bad = (kind, ["nonsense", None]) if isinstance(kind, tuple) else (GOOD[kind], BAD[kind])
        for value in good:
            check(written(path, value))
        for value in bad:
            with pytest.raises(InvalidInput, match=r" must be "):
                check(written(path, value))
        count += 1
    assert count > 150


@pytest.mark.parametrize("version", VERSIONS)
def test_keys_are_written_as_distribution_reads_them(version):
    """In lower case; _ alone in the parameters of a driver, as it parts the names of sections in environment variables."""
    for path, _kind in leaves(tree(version)):
        assert all(part == 0 or part == part.lower() for part in path)
        assert path[0] == "storage" or not any("_" in str(part) for part in path), path


@pytest.mark.parametrize(
    ("version", "value", "message"),
    [
        ("2.8", {"http": {"adress": "x"}}, "http.adress is no key of distribution 2.8; did you mean http.addr?"),
        ("3", {"http": {"adress": "x"}}, "http.adress is no key of distribution 3; did you mean http.addr?"),
        ("2.8", {"HTTP": {}}, "HTTP is no key of distribution 2.8; did you mean http?"),
        ("2.8", {"storage": {"chache": {}}}, "storage.chache is no key of distribution 2.8; did you mean storage.cache?"),
        ("2.8", {"http": {"tls": {"minimumTLS": "x"}}}, "http.tls.minimumTLS is no key of distribution 2.8; did you mean http.tls.minimumtls?"),
        ("2.8", {"maxentries": 5}, "maxentries is no key of distribution 2.8; did you mean catalog.maxentries?"),
        ("2.8", {"bogus": 5}, "bogus is no key of distribution 2.8"),
        ("2.8", {"health": {"tcp": [{"addr": "x"}, {"host": "x"}]}}, "health.tcp[1].host is no key of distribution 2.8; did you mean http.host?"),
        ("2.8", {7: 5}, "7 is no key of distribution 2.8"),
        # Of the other version.
        ("2.8", {"proxy": {"ttl": "1h"}}, "proxy.ttl is a key of distribution 3 alone, and this is 2.8"),
        ("2.8", {"storage": {"tag": {}}}, "storage.tag is a key of distribution 3 alone, and this is 2.8"),
        ("2.8", {"redis": {"addrs": []}}, "redis.addrs is a key of distribution 3 alone, and this is 2.8"),
        ("2.8", {"validation": {"manifests": {"indexes": {}}}}, "validation.manifests.indexes is a key of distribution 3 alone, and this is 2.8"),
        ("3", {"redis": {"pool": {}}}, "redis.pool is a key of distribution 2.8 alone, and this is 3"),
        ("3", {"compatibility": {}}, "compatibility is a key of distribution 2.8 alone, and this is 3"),
        ("3", {"storage": {"swift": {}}}, "storage.swift is a key of distribution 2.8 alone, and this is 3"),
    ],
)
def test_says_what_is_no_key_and_what_was_meant(version, value, message):
    assert refusal(value, version) == "registry_config_overrides: " + message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "it must be a dict"),
        ({"http": "x"}, "http must be a dict"),
        ({"http": None}, "http must be a dict"),
        ({"health": {"file": {}}}, "health.file must be a list"),
        ({"health": {"file": ["x"]}}, "health.file[0] must be a dict"),
        ({"health": {"file": [{"interval": 10}]}}, "health.file[0].interval must be a time with its unit, as in 10s or 168h"),
        ({"http": {"tls": {"minimumtls": "1.2"}}}, "http.tls.minimumtls must be one of tls1.0, tls1.1, tls1.2, tls1.3"),
        ({"storage": {"delete": {"enabled": "false"}}}, "storage.delete.enabled must be true or false, without quotes"),
        ({"proxy": {"password": 12345}}, "proxy.password must be a text; put a number in quotes"),
    ],
)
def test_says_which_value_is_of_another_kind(value, message):
    assert refusal(value) == "registry_config_overrides: " + message


def test_paths_begin_where_the_variable_does():
    driver, endpoints = ("storage", "s3"), ("notifications", "endpoints")
    assert refusal({"buket": "x"}, variable="registry_storage_options", place=driver) == (
        "registry_storage_options: buket is no key of distribution 2.8; did you mean bucket?"
    )
    assert refusal({"forcepathstyle": True}, variable="x", place=driver) == "x: forcepathstyle is a key of distribution 3 alone, and this is 2.8"
    assert refusal([{}, {"uri": "x"}], variable="x", place=endpoints) == (
        "x: endpoints[1].uri is no key of distribution 2.8; did you mean endpoints[1].url?"
    )
    assert refusal("x", variable="x", place=endpoints) == "x: it must be a list"
    assert refusal("7d", "3", "x", ("proxy", "ttl")) == "x: it must be a time with its unit, as in 10s or 168h"


@pytest.mark.parametrize("value", [{"storage": {"s3": {"secretkey": ["hunter2"]}}}, {"redis": {"pasword": "hunter2"}}, {"http": ["hunter2"]}])
def test_no_message_has_a_value(value):
    assert "hunter2" not in refusal(value)
