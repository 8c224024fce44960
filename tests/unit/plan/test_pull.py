# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import NotInRegistry
from ansible_collections.stowage.oci.plugins.module_utils._oci import platform
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.plugins.module_utils._plan.pull import Content, Keep, Local, Pull, Remote, Wish, decide, settled

OLD, NEW, INDEX, CONFIG, OTHER = (Digest.of(word) for word in (b"old", b"new", b"index", b"config", b"other"))


def wish(text="registry.example/app:1", policy="digest", wanted=None, host="linux/amd64"):
    return Wish(parse(text), policy, wanted and platform.parse(wanted), platform.parse(host))


def local(digests=(OLD,), of="linux/amd64", config=CONFIG, fingerprint="as-seen", complete=True):
    digest = digests[0] if digests else None
    return Local("the-id", digest, frozenset(digests), config, fingerprint, platform.Platform(*of.split("/")), complete)


def image(digest=NEW):
    return Remote(Descriptor(OCI_MANIFEST, digest, 7), None)


def index(*platforms):
    return Remote(Descriptor(OCI_INDEX, INDEX, 7), tuple(map(platform.parse, platforms)) or None)


@pytest.mark.parametrize(
    ("wished", "here", "plan"),
    [
        # A tag may have been moved, unless that does not matter.
        (wish(), local(), None),
        (wish(policy="missing"), local(), Keep("present")),
        (wish(policy="missing"), None, None),
        # A digest says it all, whatever the policy.
        (wish("registry.example/app@" + OLD), local(), Keep("same_digest")),
        (wish("registry.example/app:9@" + OLD, "missing"), local([INDEX, OLD]), Keep("same_digest")),
        (wish("registry.example/app@" + OLD), local([NEW]), None),
        (wish("registry.example/app@" + OLD), local([]), None),
        (wish("registry.example/app@" + OLD), None, None),
        # What is not all there settles nothing, nor does another platform than the wanted one.
        (wish(policy="missing"), local(complete=False), None),
        (wish("registry.example/app@" + OLD), local(complete=False), None),
        (wish(policy="missing", wanted="linux/arm64"), local(), None),
        (wish("registry.example/app@" + OLD, wanted="linux/arm64"), local(), None),
        (wish(policy="missing", wanted="linux/arm64"), local(of="linux/arm64"), Keep("present")),
        (wish(policy="missing", wanted="linux/arm/v7"), local(of="linux/arm/v6"), Keep("present")),
        (wish(policy="missing", wanted="linux/arm/v6"), local(of="linux/arm/v7"), None),
        (wish(policy="missing", wanted="linux/arm/v6"), local(of="linux/arm"), Keep("present")),
    ],
)
def test_settles_what_the_host_alone_can(wished, here, plan):
    assert settled(wished, here) == plan


@pytest.mark.parametrize(
    ("wished", "here", "remote", "plan"),
    [
        (wish(), None, image(), Pull("absent")),
        (wish(), local([OLD]), image(NEW), Pull("other_digest")),
        (wish(), local([NEW]), image(NEW), Keep("same_digest")),
        (wish(), local([OLD, NEW]), image(NEW), Keep("same_digest")),
        (wish(), local([]), image(NEW), Pull("other_digest")),
        # Of what is not all there no platform is known.
        (wish(wanted="linux/arm64"), local([NEW], of="linux/", complete=False), image(NEW), Pull("incomplete")),
        (wish(), local([INDEX], of="linux/", complete=False), index("linux/amd64"), Pull("incomplete")),
        (wish(), local([OLD], of="linux/", complete=False), image(NEW), Pull("other_digest")),
        # An image of one platform is taken as it is unless a platform is asked for.
        (wish(), local([NEW], of="linux/s390x"), image(NEW), Keep("same_digest")),
        (wish(wanted="linux/arm64"), local([NEW], of="linux/arm64"), image(NEW), Keep("same_digest")),
        (wish(wanted="linux/arm64"), local([OLD]), image(NEW), Pull("other_platform")),
        (wish(wanted="linux/arm64"), None, image(NEW), Pull("absent")),
        # Of an index it is the host's, or the one that is asked for.
        (wish(), local([INDEX]), index(), Keep("same_digest")),
        (wish(), local([INDEX], of="linux/arm64"), index(), Pull("other_platform")),
        (wish(wanted="linux/arm64"), local([INDEX]), index(), Pull("other_platform")),
        (wish(wanted="linux/arm64"), local([INDEX], of="linux/arm64"), index("linux/amd64", "linux/arm64"), Keep("same_digest")),
        (wish(), local([INDEX], of="linux/arm64"), index("linux/amd64", "linux/arm64"), Pull("other_platform")),
        # The best of those that are offered, where that is known; a platform without variant may be any.
        (wish(host="linux/arm/v7"), local([INDEX], of="linux/arm/v6"), index("linux/arm/v6"), Keep("same_digest")),
        (wish(host="linux/arm/v7"), local([INDEX], of="linux/arm/v6"), index("linux/arm/v6", "linux/arm/v7"), Pull("other_platform")),
        (wish(host="linux/arm/v7"), local([INDEX], of="linux/arm/v6"), index(), Keep("same_digest")),
        (wish(host="linux/arm/v6"), local([INDEX], of="linux/arm"), index("linux/arm/v6", "linux/arm/v7"), Keep("same_digest")),
    ],
)
def test_decides_by_digest(wished, here, remote, plan):
    assert decide(wished, here, remote) == plan


@pytest.mark.parametrize(
    ("wished", "here", "content", "plan"),
    [
        (wish(), local([]), Content(CONFIG), Keep("same_content")),
        (wish(), local([OLD]), Content(CONFIG), Keep("same_content")),
        (wish(), local([OLD]), Content(OTHER), Pull("other_digest")),
        (wish(), None, Content(CONFIG), Pull("absent")),
        # A store that tells no config digest shows what is in the config.
        (wish(), local([OLD], config=None), Content(CONFIG, "as-seen"), Keep("same_content")),
        (wish(), local([OLD], config=None), Content(CONFIG, "otherwise"), Pull("other_digest")),
        (wish(), local([OLD], config=None), Content(CONFIG), Pull("other_digest")),
        # The same content is not the digest that was asked for.
        (wish("registry.example/app@" + NEW), local([OLD]), Content(CONFIG), Pull("other_digest")),
        (wish(wanted="linux/arm64"), local([OLD]), Content(CONFIG, None, platform.parse("linux/arm64")), Pull("other_platform")),
    ],
)
def test_decides_by_content(wished, here, content, plan):
    assert decide(wished, here, image(NEW), content) == plan


@pytest.mark.parametrize(
    ("wished", "here"), [(wish(wanted="linux/s390x"), None), (wish(wanted="linux/s390x"), local([INDEX])), (wish(host="linux/s390x"), None)]
)
def test_says_that_an_index_has_no_such_platform(wished, here):
    message = "^registry.example/app:1 is not there for linux/s390x: name one of these with platform%s: linux/amd64, linux/arm64$"
    with pytest.raises(NotInRegistry, match=message % (", or leave it away" if wished.platform else "")):
        decide(wished, here, index("linux/amd64", "linux/arm64"))


@pytest.mark.parametrize(("here", "content"), [(local([NEW]), None), (None, Content(CONFIG, None, platform.parse("linux/amd64")))])
def test_says_that_an_image_is_for_another_platform(here, content):
    with pytest.raises(NotInRegistry, match="^registry.example/app:1 is not there for linux/arm64: name .*, or leave it away: linux/amd64$"):
        decide(wish(wanted="linux/arm64"), here, image(NEW), content)


@pytest.mark.parametrize(
    ("before", "same"),
    [
        (local(), True),
        (local(complete=False), True),
        (local(of="linux/arm64"), False),
        (local()._replace(image_id="another-id"), False),
        (None, False),
    ],
)
def test_tells_whether_a_name_has_moved(before, same):
    assert local().same(before) is same
