# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._oci.platform import Platform, normalise, of, parse


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", ("linux", "amd64", "")),
        ("amd64", ("linux", "amd64", "")),
        (" ARM64 ", ("linux", "arm64", "")),
        ("x86_64", ("linux", "amd64", "")),
        ("linux/x86_64", ("linux", "amd64", "")),
        ("linux/aarch64", ("linux", "arm64", "")),
        ("linux/arm64/v8", ("linux", "arm64", "")),
        ("linux/amd64/v1", ("linux", "amd64", "")),
        ("linux/amd64/v3", ("linux", "amd64", "v3")),
        ("linux/arm", ("linux", "arm", "v7")),
        ("armhf", ("linux", "arm", "v7")),
        ("linux/armel", ("linux", "arm", "v6")),
        ("linux/arm/V5", ("linux", "arm", "v5")),
        ("i386", ("linux", "386", "")),
        ("windows/amd64", ("windows", "amd64", "")),
    ],
)
def test_reads_a_platform(text, platform):
    found = parse(text)
    assert found == Platform(*platform)
    assert parse(str(found)) == found


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux//v8", "linux/arm64/v8/x", "vax"])
def test_says_how_a_platform_is_written(text):
    with pytest.raises(InvalidInput, match="is not a platform: write os/architecture"):
        parse(text)


def test_an_empty_operating_system_is_linux():
    assert normalise("", "amd64") == Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("host", "offered", "rank"),
    [
        ("linux/amd64", "linux/amd64", 0),
        ("linux/amd64", "linux/arm64", None),
        ("linux/amd64", "windows/amd64", None),
        ("linux/amd64", "linux/amd64/v3", None),
        ("linux/amd64/v3", "linux/amd64", 2),
        ("linux/amd64/v3", "linux/amd64/v2", 1),
        ("linux/arm/v7", "linux/arm/v6", 1),
        ("linux/arm/v7", "linux/arm/v5", 2),
        ("linux/arm/v6", "linux/arm/v7", None),
        ("linux/arm64", "linux/arm64/v9", 1),
        ("linux/arm/v7", "linux/arm/v\u00b2", 0),
        ("linux/amd64/v2", "linux/amd64/v" + "9" * 5000, 1),
    ],
)
def test_ranks_what_is_offered(host, offered, rank):
    assert parse(host).rank(parse(offered)) == rank


def test_reads_the_platform_of_a_document():
    assert of({"os": "linux", "architecture": "arm", "variant": "v6"}) == Platform("linux", "arm", "v6")
    assert of({"architecture": "amd64"}) == Platform("linux", "amd64")
    assert of({}) == Platform("linux", "")


@pytest.mark.parametrize("document", [{"os": 1}, {"architecture": ["amd64"]}, {"variant": {}, "os": {"a": 1}}, {"os": "li\nnux"}, [1], "linux/amd64"])
def test_says_what_is_no_platform(document):
    with pytest.raises(InvalidInput, match="its platform is "):
        of(document)
