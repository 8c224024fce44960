# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci import named

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text, reference, image_id",
    [
        ("app:1", "docker.io/library/app:1", None),
        ("sha256:" + HEX, None, "sha256:" + HEX),
        (HEX, None, "sha256:" + HEX),
        (HEX[:12], "docker.io/library/%s:latest" % HEX[:12], HEX[:12]),
        (HEX[:63], "docker.io/library/%s:latest" % HEX[:63], HEX[:63]),
        (HEX[:11], "docker.io/library/%s:latest" % HEX[:11], None),
        ("app@sha256:" + HEX, "docker.io/library/app@sha256:" + HEX, None),
    ],
)
def test_parse(text, reference, image_id):
    found = named.parse(text)
    assert str(found) == found.spelling == text
    assert (str(found.reference) if found.reference else None, found.image_id) == (reference, image_id)


@pytest.mark.parametrize("text", ["", "App:1", None, "a b"])
def test_neither(text):
    with pytest.raises(InvalidReference):
        named.parse(text)


@pytest.mark.parametrize("text, expected", [("sha256:" + HEX, True), (HEX, True), (HEX[:12], True), (HEX[1:13], False), ("app:1", False)])
def test_is_id(text, expected):
    assert named.is_id(named.parse(text), "sha256:" + HEX) is expected
