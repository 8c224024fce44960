# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: what of a fleet is one image, where it drifts, what is shared, and hosts that say nothing."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._plan.report import report

MANIFEST, INDEX, OTHER_INDEX = ("sha256:" + digit * 64 for digit in "abc")
CONFIG, OTHER = ("sha256:" + digit * 64 for digit in "12")
NAME = "docker.io/library/app:1"


def layers(*diff_ids, **more):
    """Layers of 10 bytes each, with a chain ID that says what is below."""
    return [
        dict(dict(diff_id=one, chain_id=">".join(diff_ids[: at + 1]), digest=None, size=10, command=None, shared_with=[]), **more)
        for at, one in enumerate(diff_ids)
    ]


def copied(tags=(NAME,), digest=None, config=CONFIG, **more):
    """An image as a host tells of it; ``digest`` is that of its manifest or index."""
    repository = (tags[0] if tags else NAME).rpartition(":")[0]
    entry = dict(
        reference=tags[0] if tags else digest or config, image_id=config or digest, digest=digest, config_digest=config, changed=False,
        action="found", tags=list(tags), digests=["%s@%s" % (repository, digest)] if digest else [], platform="linux/amd64", complete=True,
        created="2026-04-22T09:14:03.5Z", size=1, labels={"a": "b"}, layers=layers("base", "app"),
    )
    return dict(entry, **more)


def told(*images, **more):
    """What image_info tells of a host."""
    facts = dict(
        images=list(images), missing=[], store="classic", engine=dict(name="Docker", version="28.5.2", api="1.51", url="unix:///d.sock"),
        storage=dict(driver="overlay2", backing_file_system="extfs", root="/var/lib/docker"), weaknesses=["It is weak."],
    )
    return dict(facts, **more)


def fleet(*images):
    """A host for each image, named by letters."""
    return {letter: told(image) for letter, image in zip("abcdefgh", images)}


def grouped(facts):
    """Of the only name, the hosts of each version; those that differ have a mark."""
    [image] = report(facts)["images"]
    assert image["drifts"] == any(version["differs"] for version in image["versions"])
    return [("!" if version["differs"] else "") + "".join(version["hosts"]) for version in image["versions"]]


INCOMPLETE = dict(complete=False, platform=None, layers=[])


@pytest.mark.parametrize(
    ("images", "versions"),
    [
        # By a digest in common
        ([copied(), copied()], ["ab"]),
        ([copied(), copied(config=OTHER)], ["!a", "!b"]),
        ([copied(), copied(config=OTHER), copied()], ["ac", "!b"]),
        ([copied(config=OTHER), copied(), copied(), copied(config=OTHER), copied()], ["bce", "!ad"]),
        ([copied(digest=INDEX), copied(digest=INDEX, config=None, labels={})], ["ab"]),
        ([copied(labels={}), copied(digest=MANIFEST, image_id=MANIFEST)], ["ab"]),
        ([copied(digest=INDEX), copied(digest=OTHER_INDEX)], ["ab"]),
        ([copied(digest=INDEX, config=None), copied(digest=INDEX), copied(digest=MANIFEST), copied(digest=MANIFEST, config=None)], ["abcd"]),
        # By what they are, where a store tells no config digest
        ([copied(digest=MANIFEST, config=None), copied()], ["ab"]),
        ([copied(digest=INDEX, config=None), copied(digest=MANIFEST, config=None)], ["ab"]),
        ([copied(created=None), copied(digest=MANIFEST, config=None)], ["ab"]),
        ([copied(created="2026-04-22T09:14:03.500Z"), copied(digest=MANIFEST, config=None)], ["ab"]),
        ([copied(), copied(digest=MANIFEST, config=None, created="2026-04-23T09:14:03Z")], ["!a", "!b"]),
        ([copied(), copied(digest=MANIFEST, config=None, labels={})], ["!a", "!b"]),
        ([copied(), copied(digest=MANIFEST, config=None, layers=layers("base", "new"))], ["!a", "!b"]),
        # If that could be two images, it is neither
        ([copied(), copied(), copied(config=OTHER), copied(digest=MANIFEST, config=None)], ["ab", "!c", "!d"]),
        # Platforms are not compared
        ([copied(), copied(config=OTHER, platform="linux/arm64")], ["a", "b"]),
        ([copied(), copied(config=OTHER, platform="linux/arm64"), copied(), copied(config=OTHER)], ["ac", "!d", "b"]),
        # What is not complete
        ([copied(digest=INDEX), copied(digest=INDEX, config=None, **INCOMPLETE)], ["a", "!b"]),
        ([copied(digest=INDEX, config=None, **INCOMPLETE), copied(digest=MANIFEST, config=None, **INCOMPLETE)], ["!a", "!b"]),
    ],
)
def test_what_is_one_image_and_what_drifts(images, versions):
    assert grouped(fleet(*images)) == versions
    assert report(fleet(*images))["summary"]["distinct"] == len(versions)


def test_a_version_tells_its_digests_its_own_repository_first():
    mirrored = copied(digest=INDEX, digests=["docker.io/library/app@" + INDEX, "mirror.example.com/app@" + MANIFEST])
    [image] = report(fleet(copied(digest=MANIFEST, digests=["mirror.example.com/app@" + MANIFEST]), mirrored))["images"]
    [version] = image["versions"]
    assert (version["digests"], version["config_digest"]) == ([INDEX, MANIFEST], CONFIG)
    assert (version["size"], version["layers"], version["shared_layers"]) == (20, 2, 0)


def test_names_are_those_of_tags_and_without_them_digests():
    both = copied(tags=[NAME, "docker.io/library/app:2"])
    untagged = copied(tags=[], digest=INDEX, config=OTHER)
    nameless = copied(tags=[], config=OTHER)
    images = report({"a": told(both, untagged), "b": told(nameless)})["images"]
    assert [image["reference"] for image in images] == [NAME, "docker.io/library/app:2", "docker.io/library/app@" + INDEX, OTHER]
    assert [image["absent"] for image in images] == [["b"], ["b"], ["b"], ["a"]]


def test_what_drifts_comes_first_and_numbers_are_sorted_as_numbers():
    names = ["docker.io/library/app:%d" % number for number in (2, 9, 10)]
    facts = {
        "web-10": told(*(copied(tags=[name]) for name in names)),
        "web-9": told(copied(tags=names[:2]), copied(tags=[names[2]], config=OTHER)),
        "web-11": told(copied(tags=names)),
    }
    found = report(facts)
    assert [image["reference"] for image in found["images"]] == [names[2], names[0], names[1]]
    assert [(host["name"], host["differs"]) for host in found["hosts"]] == [("web-9", 1), ("web-10", 0), ("web-11", 0)]
    assert found["images"][0]["versions"][0]["hosts"] == ["web-10", "web-11"]


def test_layers_that_are_shared_and_bytes_that_are_saved():
    one, other = copied(), copied(tags=["docker.io/library/tool:1"], config=OTHER, layers=layers("base", "tool", "more"))
    dark = copied(tags=["docker.io/library/dark:1"], config=MANIFEST, layers=layers("base", "dark", size=None))
    found = report({"a": told(one, other), "b": told(one, other, dark), "c": told(one)})
    figures = [(host["apart_bytes"], host["stored_bytes"], host["saved_bytes"], host["unsized"]) for host in found["hosts"]]
    # That of "base" is known from the images that tell it.
    assert figures == [(50, 40, 10, 0), (60, 40, 20, 1), (20, 20, 0, 0)]
    assert [found["summary"][key] for key in ("apart_bytes", "stored_bytes", "saved_bytes", "unsized")] == [130, 100, 30, 1]
    references = ["docker.io/library/app:1", "docker.io/library/dark:1", "docker.io/library/tool:1"]
    shared = {"chain_id": "base", "command": None, "size": 10, "references": references, "hosts": 2, "saved_bytes": 30}
    assert found["layers"] == [shared] and found["summary"]["shared_layers"] == 1


def test_the_layers_that_save_most_are_listed():
    below = [layers(*["%d" % number for number in range(150)], size=size) for size in (10, 10)]
    found = report({"a": told(copied(layers=below[0]), copied(config=OTHER, layers=below[1]))})
    assert (len(found["layers"]), found["summary"]["shared_layers"]) == (100, 150)


def test_hosts_that_say_nothing_have_a_reason_and_are_in_no_sum():
    facts = {
        "ok": told(copied()),
        "far": {"unreachable": True, "msg": "no route"},
        "bare": {"failed": True, "msg": "no engine answers"},
        "half": {"failed": True, "msg": "corrupt", "images": [copied(config=OTHER)]},
        "odd": {},
    }
    found = report(facts)
    reasons = [("bare", "no engine answers"), ("far", "no route"), ("half", "corrupt"), ("odd", "It gave neither an answer nor a reason.")]
    assert [(host["name"], host["message"]) for host in found["silent"]] == reasons
    assert (found["summary"]["hosts"], found["summary"]["silent"]) == (1, 4)
    assert [image["absent"] for image in found["images"]] == [[]]


def test_a_fleet_that_says_nothing_at_all():
    found = report({"far": {"unreachable": True, "msg": "no route"}})
    assert found["images"] == found["hosts"] == found["layers"] == found["notes"] == []
    assert found["summary"]["apart_bytes"] == 0


def test_notes_are_said_once():
    found = report({"b": told(), "a": told(weaknesses=["It is slow.", "It is weak."])})
    assert found["notes"] == [{"text": "It is weak.", "hosts": ["a", "b"]}, {"text": "It is slow.", "hosts": ["a"]}]


def test_the_same_facts_in_any_order_give_the_same_report():
    images = [copied(), copied(digest=INDEX, config=None), copied(config=OTHER), copied(digest=MANIFEST)]
    facts = fleet(*images)
    before = copy.deepcopy(facts)
    turned = dict(reversed(list(facts.items())))
    assert json.dumps(report(facts)) == json.dumps(report(turned))
    assert facts == before
