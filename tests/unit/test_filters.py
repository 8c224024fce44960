# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters, as Ansible finds them."""

from __future__ import annotations

import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

from ansible.errors import AnsibleFilterError
from ansible_collections.stowage.oci.plugins.filter import pin as _pin
from ansible_collections.stowage.oci.plugins.filter import reference as _reference
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest

DIGEST, OTHER = Digest.of(b"this"), Digest.of(b"other")

pin = _pin.FilterModule().filters()["pin"]
reference = _reference.FilterModule().filters()["reference"]


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest", "familiar"),
    [
        ("nginx", "docker.io", "library/nginx", "latest", None, "nginx:latest"),
        ("docker.io/library/nginx:1.27", "docker.io", "library/nginx", "1.27", None, "nginx:1.27"),
        ("index.docker.io/grafana/grafana:11", "docker.io", "grafana/grafana", "11", None, "grafana/grafana:11"),
        ("registry.example:5000/team/app:2", "registry.example:5000", "team/app", "2", None, "registry.example:5000/team/app:2"),
        ("app@" + DIGEST, "docker.io", "library/app", None, DIGEST, "app@" + DIGEST),
        ("quay.io/app:2@" + DIGEST, "quay.io", "app", "2", DIGEST, "quay.io/app:2@" + DIGEST),
        # Without its registry this would be of another one.
        ("docker.io/a.b/app:1", "docker.io", "a.b/app", "1", None, "docker.io/a.b/app:1"),
    ],
)
def test_takes_a_reference_apart(text, registry, repository, tag, digest, familiar):
    parts = reference(text)
    rest = (":" + tag if tag else "") + ("@" + digest if digest else "")
    name = "%s/%s" % (registry, repository)
    assert parts == dict(registry=registry, repository=repository, tag=tag, digest=digest, name=name, reference=name + rest, familiar=familiar)
    assert {type(part) for part in parts.values()} <= {str, type(None)}
    assert reference(familiar) == reference(parts["reference"]) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not/A/reference", "must be lower case"),
        ("", "an image reference is empty"),
        (None, "an image reference is empty"),
        (7, "^7 is not an image reference: it is a number, and one reference is one text"),
        (["nginx"], "^\\['nginx'\\] is not an image reference: it is a list"),
        ("nginx ", "leave out the blanks"),
        ("https://quay.io/app", "leave out https://"),
        ("deploy:secret@host/app", r"^'deploy:\*\*\*@host/app' is not an image reference: credentials do not belong in it"),
    ],
)
def test_says_what_is_no_reference(text, message):
    for work in (reference, lambda wrong: pin(wrong, DIGEST)):
        with pytest.raises(AnsibleFilterError, match=message):
            work(text)


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("nginx:1.27", "nginx:1.27@" + DIGEST),
        ("nginx", "nginx:latest@" + DIGEST),
        ("registry.example:5000/app", "registry.example:5000/app:latest@" + DIGEST),
        ("registry.example:5000/app:latest", "registry.example:5000/app:latest@" + DIGEST),
        ("latest", "latest:latest@" + DIGEST),
        ("app@" + DIGEST, "app@" + DIGEST),
        ("app:2@" + DIGEST, "app:2@" + DIGEST),
    ],
)
def test_pins_a_reference(text, pinned):
    assert pin(text, DIGEST) == pinned
    assert pin(pinned, DIGEST) == pinned


def test_a_password_in_what_is_no_digest_is_not_shown():
    with pytest.raises(AnsibleFilterError, match=r"^'ann:\*\*\*@host' is not a digest"):
        pin("app:2", "ann:geheim@host")


def test_another_digest_is_not_overwritten():
    message = "^app:2@%s has another digest, and cannot be pinned to %s: leave one of them away$" % (OTHER, DIGEST.short)
    with pytest.raises(AnsibleFilterError, match=message):
        pin("app:2@" + OTHER, DIGEST)


@pytest.mark.parametrize("digest", [(), ("",), (None,)])
@pytest.mark.parametrize(("text", "shown"), [("app:2", "app:2"), ("deploy:secret@host", "deploy:***@host")])
def test_wants_a_digest(text, shown, digest):
    with pytest.raises(AnsibleFilterError) as caught:
        pin(text, *digest)
    assert str(caught.value) == (
        "no digest to pin %s to: give it as in 'nginx:1.27' | stowage.oci.pin(lookup('stowage.oci.digest', 'nginx:1.27'))" % shown
    )


def test_says_what_is_no_digest():
    for text in ("sha256:1", "latest", ["a", "b"], 7):
        with pytest.raises(AnsibleFilterError, match="is not a digest: write algorithm:hex|has 64 lower-case hex digits"):
            pin("app:2", text)
