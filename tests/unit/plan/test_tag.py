# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._plan.tag import action, similar, targets

DIGEST = "sha256:" + 64 * "a"


def test_targets_keep_the_spelling_and_come_once():
    found = targets(["app", "quay.io/a/b:1", "docker.io/library/app:latest"])
    assert [(one.spelling, str(one)) for one in found] == [("app", "docker.io/library/app:latest"), ("quay.io/a/b:1", "quay.io/a/b:1")]


@pytest.mark.parametrize("text, advice", [("app:1@" + DIGEST, "app:1"), ("app@" + DIGEST, "app:TAG")])
def test_a_digest_cannot_be_given(text, advice):
    with pytest.raises(InvalidReference) as caught:
        targets([text])
    assert str(caught.value) == "%s: a digest follows from what an image is and cannot be given to one: write %s" % (text, advice)


@pytest.mark.parametrize("named, expected", [(None, "tagged"), ("a", "tagged"), ("b", "kept")])
def test_action(named, expected):
    assert action(named, "b") == expected


PRESENT = ["docker.io/library/app:1", "docker.io/library/app:2", "quay.io/team/app:1", "docker.io/library/apple:1", "docker.io/library/nginx:1.27"]


@pytest.mark.parametrize(
    "wanted, expected",
    [
        ("app:9", ["docker.io/library/app:1", "docker.io/library/app:2", "quay.io/team/app:1"]),
        ("ghcr.io/other/app", ["docker.io/library/app:1", "docker.io/library/app:2", "quay.io/team/app:1"]),
        ("ngnix:1.27", ["docker.io/library/nginx:1.27"]),
        ("nginx@" + DIGEST, ["docker.io/library/nginx:1.27"]),
        ("redis:7", []),
        (DIGEST[7:], []),
    ],
)
def test_similar(wanted, expected):
    assert similar(wanted, PRESENT + PRESENT[:1]) == expected


def test_similar_are_few():
    assert len(similar("app:x", ["docker.io/library/app:%d" % number for number in range(50)])) == 5
