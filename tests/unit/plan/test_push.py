# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci import platform
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_MANIFEST, Descriptor
from ansible_collections.stowage.oci.plugins.module_utils._plan.pull import Content, Keep, Local, Remote
from ansible_collections.stowage.oci.plugins.module_utils._plan.push import Push, Sends, decide, sent, wished

OURS, THEIRS, INDEX, CONFIG, OTHER = (Digest.of(word) for word in (b"ours", b"theirs", b"index", b"config", b"other"))


def local(digests=(OURS,), config=CONFIG, fingerprint="as-seen"):
    return Local("the-id", None, frozenset(digests), config, fingerprint, platform.parse("linux/amd64"))


def remote(digest):
    return Remote(Descriptor(OCI_MANIFEST, digest, 7), None)


@pytest.mark.parametrize(
    ("here", "sends", "there", "content", "plan"),
    [
        (local(), Sends(OURS), None, None, Push("absent")),
        # The digest settles it: one under which the store knows the image, or the one that it would send.
        (local(), Sends(None), remote(OURS), None, Keep("same_digest")),
        (local([INDEX]), Sends(OURS), remote(OURS), None, Keep("same_digest")),
        (local([INDEX]), Sends(OURS), remote(INDEX), None, Keep("same_digest")),
        # Else the content does, where it is known.
        (local(), Sends(None), remote(THEIRS), None, Push("other_content")),
        (local(), Sends(None), remote(THEIRS), Content(CONFIG), Keep("same_content")),
        (local(), Sends(None), remote(THEIRS), Content(OTHER), Push("other_content")),
        (local([], config=None), Sends(OURS), remote(THEIRS), Content(OTHER, "as-seen"), Keep("same_content")),
        (local([], config=None), Sends(OURS), remote(THEIRS), Content(OTHER, "otherwise"), Push("other_content")),
        # One image is not the same as an index of several that has it.
        (local([INDEX]), Sends(INDEX, True), remote(OURS), Content(CONFIG, "as-seen"), Push("other_content")),
    ],
)
def test_pushes_what_the_registry_has_not(here, sends, there, content, plan):
    assert decide(here, sends, there, content) == plan


def child(digest, available, kind="image"):
    return {"ID": digest, "Available": available, "Kind": kind}


@pytest.mark.parametrize(
    ("children", "sends"),
    [
        (None, Sends(INDEX)),
        ([], Sends(INDEX)),
        ([child(OURS, True)], Sends(INDEX, True)),
        ([child(OURS, True), child(OTHER, True, "attestation")], Sends(INDEX, True)),
        ([child(OURS, True), child(OTHER, False, "attestation")], Sends(OURS)),
        ([child(OURS, True), child(THEIRS, False)], Sends(OURS)),
        ([child(OURS, True), child(THEIRS, False), child(OTHER, True, "attestation")], Sends(OURS)),
        ([child(OURS, True), child(THEIRS, True), child(OTHER, False)], Sends(None)),
        ([child(OURS, False), child(THEIRS, False)], Sends(None)),
    ],
)
def test_knows_what_is_sent_of_an_index(children, sends):
    assert sent(INDEX, children) == sends


def test_a_digest_is_not_pushed_to():
    assert str(wished("app")) == "docker.io/library/app:latest"
    for text, instead in (("app:1@" + OURS, "app:1"), ("app@" + OURS, "app:TAG")):
        with pytest.raises(InvalidReference, match="%s: a digest follows from what is pushed and cannot be pushed to: write %s$" % (text, instead)):
            wished(text)
