# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._plan.build import (
    ALWAYS,
    DIGEST_LABEL,
    INPUTS_LABEL,
    Build,
    Files,
    Image,
    Inputs,
    Keep,
    Last,
    Rule,
    compared,
    decide,
    differences,
    hashed,
    listed,
)

NOW = Inputs("sha256:c", "sha256:d", {"VERSION": "sha256:1"}, {"target": "sha256:t"}, {"alpine:3": "sha256:base"})
OTHER = NOW._replace(context="sha256:other")


def image(inputs=NOW, image_id="sha256:image", **more):
    return Image(image_id, dict(inputs.stamp() if inputs else {}, **more))


def test_the_build_digest_is_of_the_text_that_the_image_carries():
    stamp = NOW.stamp()

    assert stamp == {INPUTS_LABEL: NOW.text, DIGEST_LABEL: Digest.of(NOW.text.encode())}
    assert json.loads(NOW.text) == NOW._asdict()
    assert image().stamped == NOW


@pytest.mark.parametrize(
    "other",
    [
        OTHER,
        NOW._replace(dockerfile="sha256:e"),
        NOW._replace(arguments={"VERSION": "sha256:2"}),
        NOW._replace(arguments={}),
        NOW._replace(options={}),
        NOW._replace(bases={"alpine:3": "sha256:moved"}),
        NOW._replace(bases={"alpine:4": "sha256:base"}),
    ],
)
def test_anything_else_has_another_build_digest(other):
    assert other.digest != NOW.digest


def test_order_of_names_is_nothing():
    first, second = (NOW._replace(arguments=dict(pairs)) for pairs in ([("A", "1"), ("B", "2")], [("B", "2"), ("A", "1")]))
    assert first.digest == second.digest


def test_there_is_no_build_digest_while_a_base_is_not_known():
    assert NOW._replace(bases={"alpine:3": "sha256:base", "busybox:1": None}).digest is None


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {DIGEST_LABEL: NOW.digest},
        {INPUTS_LABEL: NOW.text},
        {DIGEST_LABEL: OTHER.digest, INPUTS_LABEL: NOW.text},
        {DIGEST_LABEL: Digest.of(b"{"), INPUTS_LABEL: "{"},
        {DIGEST_LABEL: Digest.of(b"[]"), INPUTS_LABEL: "[]"},
        {DIGEST_LABEL: Digest.of(b'{"context":1}'), INPUTS_LABEL: '{"context":1}'},
    ],
)
def test_a_stamp_that_is_none_says_nothing(labels):
    assert Image("sha256:image", labels).stamped is None


@pytest.mark.parametrize(
    ("tags", "rule", "last", "plan"),
    [
        # Built already, under the main tag or under another.
        ({"app:1": image()}, Rule(), None, Keep("sha256:image")),
        ({"app:1": None, "app:2": image()}, Rule(), None, Keep("sha256:image")),
        ({"app:1": image(OTHER), "app:2": image(image_id="sha256:second")}, Rule(), None, Keep("sha256:second")),
        ({"app:1": image(), "app:2": image(image_id="sha256:second")}, Rule(), None, Keep("sha256:image")),
        # An old cache is nothing to an image that is there.
        ({"app:1": image()}, Rule(cache=False), None, Keep("sha256:image")),
        # To be built, and why.
        ({"app:1": None}, Rule(), None, Build(("app:1 names no image",))),
        ({"app:1": image(None)}, Rule(), None, Build(("app:1 names an image that does not say what it was built from",))),
        ({"app:1": image(OTHER)}, Rule(), None, Build(("the context changed",))),
        # Always; whether another image comes of it is for the cache to say.
        ({"app:1": image()}, Rule(ALWAYS), None, Build(("rebuild is always",), "sha256:image")),
        ({"app:1": image(OTHER)}, Rule(ALWAYS), None, Build(("rebuild is always",))),
        ({"app:1": image()}, Rule(ALWAYS, cache=False), None, Build(("rebuild is always",))),
        # Without a stamp the host's memory foretells.
        ({"app:1": image()}, Rule(stamp=False), None, Build(("without a stamp the engine's cache decides",))),
        (
            {"app:1": image(None)}, Rule(stamp=False), Last(NOW.digest, "sha256:image"),
            Build(("without a stamp the engine's cache decides",), "sha256:image"),
        ),
        (
            {"app:1": image(None)}, Rule(stamp=False), Last(NOW.digest, "sha256:other"),
            Build(("without a stamp the engine's cache decides",)),
        ),
        (
            {"app:1": image(None)}, Rule(stamp=False), Last(OTHER.digest, "sha256:image"),
            Build(("without a stamp the engine's cache decides",)),
        ),
        # An image with the stamp is not the one without.
        (
            {"app:1": image()}, Rule(stamp=False), Last(NOW.digest, "sha256:image"),
            Build(("without a stamp the engine's cache decides",)),
        ),
        ({"app:1": None}, Rule(ALWAYS, stamp=False), Last(NOW.digest, "sha256:image"), Build(("rebuild is always",))),
    ],
)
def test_decides(tags, rule, last, plan):
    assert decide(tags, NOW, rule, last) == plan


def test_a_base_that_is_not_known_is_never_taken_for_the_one_of_the_image():
    now = NOW._replace(bases={"alpine:3": None})
    assert decide({"app:1": Image("sha256:image", {DIGEST_LABEL: "None"})}, now, Rule()) == Build(
        ("app:1 names an image that does not say what it was built from",)
    )
    assert decide({"app:1": image()}, now, Rule()) == Build(("the base alpine:3 is not on this host",))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (NOW, []),
        (NOW._replace(dockerfile="x", context="y"), ["the Dockerfile changed", "the context changed"]),
        (
            NOW._replace(arguments={"NEW": "1", "VERSION": "sha256:2"}),
            ["the argument NEW is new", "the argument VERSION changed"],
        ),
        (NOW._replace(arguments={}, options={}), ["the argument VERSION is gone", "the option target is gone"]),
        (NOW._replace(bases={"alpine:3": "sha256:x"}), ["the base alpine:3 is another image now"]),
        (NOW._replace(bases={"alpine:4": "sha256:x"}), ["the base alpine:3 is used no more", "the base alpine:4 is new"]),
    ],
)
def test_says_what_differs(now, words):
    assert list(differences(NOW, now)) == words


def test_says_which_files_differ():
    files = Files(["a\nb", "new"], ["%d" % number for number in range(7)], [])

    assert list(differences(NOW, OTHER, files)) == [r"the context changed: added 'a\nb', new; changed 0, 1, 2, 3, 4 and 2 more"]
    assert listed(Files(removed=["gone"])) == "removed gone"


def test_compares_paths():
    assert compared({"same": 1, "other": 1, "old": 1}, {"same": 1, "other": 2, "new": 1}) == (["new"], ["other"], ["old"])


def test_a_secret_value_is_slow_to_guess():
    assert hashed("word") == hashed("word") != hashed("other")
    assert hashed("word", secret=True) == hashed("word", secret=True) != hashed("other", secret=True)
    assert hashed("word", secret=True).startswith("pbkdf2:") and "word" not in hashed("word", secret=True)
