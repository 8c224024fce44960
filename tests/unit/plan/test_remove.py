# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._errors import EngineError
from ansible_collections.stowage.oci.plugins.module_utils._oci.named import parse as parse_named
from ansible_collections.stowage.oci.plugins.module_utils._plan.remove import Container, Host, Image, Layers, Removal, after, freed, left_behind, plan

A, B, C = ("sha256:" + 64 * letter for letter in "abc")
D, E = ("sha256:" + 64 * digit for digit in "12")
APP, HUB = "docker.io/library/app", "quay.io/team/app"


def image(image_id, *names, digests=(), once=(), parent=None):
    return Image(image_id, names, frozenset(digests), frozenset(once), parent)


def host(*images, containers=(), store="classic"):
    """What the flow says of a store."""
    classic = store == "classic"
    found = {one.image_id: one for one in images}
    return Host(found, tuple(containers), holds_parents=classic, drops_parents=store != "containerd", digests_follow=classic)


def planned(where, text, force=False):
    return plan(where, parse_named(text), force)


TWO = image(A, APP + ":1", APP + ":2")
PULLED = image(A, APP + ":1", APP + "@" + D, digests=[APP + "@" + D])
MIXED = image(A, APP + ":1", HUB + "@" + D, digests=[HUB + "@" + D])
BY_DIGEST = image(A, HUB + "@" + D, digests=[HUB + "@" + D])
BOTH = image(A, HUB + "@" + D, HUB + "@" + E, digests=[HUB + "@" + D, HUB + "@" + E])
LISTED = image(A, HUB + ":1", digests=[HUB + "@" + D, HUB + "@" + E])


@pytest.mark.parametrize(
    "one, store, text, action, calls, names",
    [
        # What is not there
        (TWO, "classic", "app:3", "absent", [], []),
        (TWO, "classic", "other:1", "absent", [], []),
        (TWO, "classic", B, "absent", [], []),
        (TWO, "classic", "app@" + D, "absent", [], []),
        (TWO, "classic", "app:1@" + D, "absent", [], []),
        (LISTED, "podman", "quay.io/team/app:2@" + D, "absent", [], []),
        # Tags
        (TWO, "classic", "app:1", "untagged", [APP + ":1"], [APP + ":1"]),
        (image(A, APP + ":1"), "classic", "app:1", "removed", [APP + ":1"], [APP + ":1"]),
        (PULLED, "classic", "app:1", "removed", [APP + ":1"], [APP + ":1", APP + "@" + D]),
        (PULLED, "podman", "app:1", "untagged", [APP + ":1"], [APP + ":1"]),
        (MIXED, "classic", "app:1", "untagged", [APP + ":1"], [APP + ":1"]),
        (PULLED, "classic", "app:1@" + D, "removed", [APP + ":1"], [APP + ":1", APP + "@" + D]),
        (LISTED, "podman", "quay.io/team/app:1@" + E, "removed", [HUB + ":1"], [HUB + ":1"]),
        # Digests alone
        (PULLED, "classic", "app@" + D, "removed", [APP + ":1"], [APP + ":1", APP + "@" + D]),
        (PULLED, "containerd", "app@" + D, "removed", [APP + ":1", APP + "@" + D], [APP + ":1", APP + "@" + D]),
        (MIXED, "classic", "quay.io/team/app@" + D, "untagged", [HUB + "@" + D], [HUB + "@" + D]),
        (BY_DIGEST, "classic", "quay.io/team/app@" + D, "removed", [HUB + "@" + D], [HUB + "@" + D]),
        (BOTH, "classic", "quay.io/team/app@" + D, "untagged", [HUB + "@" + D], [HUB + "@" + D]),
        (LISTED, "podman", "quay.io/team/app@" + E, "removed", [HUB + ":1"], [HUB + ":1"]),
        (BY_DIGEST._replace(digests=BOTH.digests), "podman", "quay.io/team/app@" + E, "removed", [HUB + "@" + D], [HUB + "@" + D]),
        (image(A, digests=[HUB + "@" + D]), "podman", "quay.io/team/app@" + D, "removed", [A], []),
        (image(A), "containerd", "quay.io/team/app@" + A, "removed", [A], []),
        (image(A, APP + ":1"), "containerd", "quay.io/team/app@" + A, "absent", [], []),
        # IDs
        (image(A, APP + ":1"), "classic", A, "removed", [A], [APP + ":1"]),
        (image(A, APP + ":1"), "classic", A[7:], "removed", [A], [APP + ":1"]),
        (image(A, APP + ":1"), "classic", A[7:19], "removed", [A], [APP + ":1"]),
        (PULLED, "classic", A, "removed", [A], [APP + ":1", APP + "@" + D]),
        (image(A), "classic", A, "removed", [A], []),
        # Digits that are a name as well
        (image(A, "docker.io/library/%s:latest" % A[7:19]), "classic", A[7:19], "removed", ["docker.io/library/%s:latest" % A[7:19]], None),
    ],
)
def test_plan(one, store, text, action, calls, names):
    found = planned(host(one, store=store), text)
    assert (found.action, list(found.calls)) == (action, calls)
    assert found.gone == ((A,) if action == "removed" else ())
    assert found.names == frozenset(calls if names is None else names)


@pytest.mark.parametrize("one", [TWO, MIXED, BOTH._replace(names=BOTH.names + (APP + ":1",))])
def test_an_id_with_several_names_needs_force(one):
    with pytest.raises(EngineError) as caught:
        planned(host(one), A)
    assert str(caught.value) == "%s is named %s: remove those names, or set force to remove all of them" % (A, ", ".join(one.names))
    assert planned(host(one), A, force=True) == Removal("removed", one, (A,), frozenset(one.names), (A,))


def test_several_ids_that_begin_so():
    with pytest.raises(EngineError, match="aaaaaaaaaaaa: 2 images have IDs that begin so"):
        planned(host(image(A), image(A[:-1] + "b")), A[7:19])


@pytest.mark.parametrize("text", ["app:1", A])
def test_in_use(text):
    one = image(A, APP + ":1")
    stopped, running, other = Container("old", A, False), Container("web", A, True), Container("else", B, True)
    with pytest.raises(EngineError, match="is in use by the stopped container old, older: remove it first, or set force"):
        planned(host(one, containers=[stopped, other, Container("older", A, False)]), text)
    assert planned(host(one, containers=[stopped, other]), text, force=True).action == "removed"
    for force in (False, True):
        with pytest.raises(EngineError, match="is in use by the running container web: stop and remove it first"):
            planned(host(one, containers=[stopped, running]), text, force)


def test_a_name_that_is_not_the_last_may_go_from_an_image_in_use():
    assert planned(host(TWO, containers=[Container("web", A, True)]), "app:1").action == "untagged"


# Parents


def test_a_parent_stays_on_the_classic_store():
    parent, child = image(A, APP + ":1"), image(B, HUB + ":1", parent=A)
    assert planned(host(parent, child), "app:1") == Removal("untagged", parent, (APP + ":1",), frozenset([APP + ":1"]), ())
    with pytest.raises(EngineError, match="quay.io/team/app:1 was built on it, and the engine keeps it as long: remove that first"):
        planned(host(parent, child), A, force=True)
    with pytest.raises(EngineError, match=B + " was built on it"):
        planned(host(image(A), image(B, parent=A)), A)
    for store in ("podman", "containerd"):
        assert planned(host(parent, child, store=store), "app:1").action == "removed"


@pytest.mark.parametrize(
    "images, containers, store, gone",
    [
        ([image(B), image(C)], [], "classic", [A, B, C]),
        ([image(B), image(C)], [], "podman", [A, B, C]),
        ([image(B), image(C)], [], "containerd", [A]),
        ([image(B, "x:1"), image(C)], [], "classic", [A]),
        ([image(B), image(C, "x:1")], [], "classic", [A, B]),
        ([image(B), image(C)], [Container("web", B, False)], "classic", [A]),
        ([image(B), image(C), image(D, parent=C)], [], "classic", [A, B]),
        ([], [], "classic", [A]),
    ],
)
def test_untagged_parents_go_along(images, containers, store, gone):
    """A was built from B, and B from C."""
    parents = {A: B, B: C}
    family = [one._replace(parent=one.parent or parents.get(one.image_id)) for one in [image(A, APP + ":1")] + images]
    assert list(planned(host(*family, containers=containers, store=store), "app:1").gone) == gone


# One after the other


def test_after():
    where = host(TWO, image(B))
    untagged = planned(where, "app:1")
    where = after(where, untagged)
    assert where.images[A].names == (APP + ":2",)
    removed = planned(where, "app:2")
    assert removed.action == "removed"
    assert set(after(where, removed).images) == {B}
    assert after(where, planned(where, "nothing:1")) == where


# Untagged images


@pytest.mark.parametrize(
    "one, store, expected",
    [
        (BY_DIGEST._replace(once=frozenset([HUB])), "classic", ("removed", [HUB + "@" + D])),
        (BY_DIGEST._replace(once=frozenset([HUB])), "podman", None),
        (image(A, once=[HUB, APP]), "podman", ("removed", [A])),
        (image(A, once=[APP]), "podman", None),
        (image(A), "containerd", None),
        (image(A, HUB + ":1", once=[HUB]), "classic", None),
        (image(A, HUB + "@" + D, APP + "@" + D, once=[HUB, APP]), "classic", None),
    ],
)
def test_left_behind(one, store, expected):
    found = left_behind(host(one, store=store), {HUB}, False)
    assert [(removal.action, list(removal.calls)) for removal in found] == ([expected] if expected else [])


def test_left_behind_and_in_use():
    one = image(A, once=[HUB])
    used = host(one, containers=[Container("old", A, False)], store="podman")
    assert left_behind(used, {HUB}, False) == [Removal("kept", one)]
    assert [removal.action for removal in left_behind(used, {HUB}, True)] == ["removed"]
    running = host(one, containers=[Container("web", A, True)], store="podman")
    assert left_behind(running, {HUB}, True) == [Removal("kept", one)]
    assert left_behind(host(one, image(B, parent=A)), {HUB}, True) == [Removal("kept", one)]


# What went


def on_disk(beside=0, **sizes):
    """A layer's chain ID is its name, and its first letter its diff ID."""
    return Layers(sizes, frozenset(name[0] for name in sizes), beside)


@pytest.mark.parametrize(
    "gone, kept, expected",
    [
        ([], [], 0),
        ([on_disk(x=10, y=5)], [], 15),
        ([on_disk(x=10, y=5)], [on_disk(x=None)], 5),
        ([on_disk(x=10, y=5), on_disk(x=10, z=1)], [], 16),
        ([on_disk(x=None, y=5)], [], 5),
        ([on_disk(x=10, beside=3)], [], 13),
        ([on_disk(x=10, y=5, beside=3)], [on_disk(x=None)], 5),
        ([on_disk(x1=10, beside=3)], [on_disk(x2=None)], 10),
        ([on_disk(x=10, y=1, beside=3), on_disk(x=10, z=2, beside=4), on_disk(v=20, beside=5)], [], 33 + 4 + 5),
        ([on_disk(beside=3)], [on_disk(x=None)], 3),
    ],
)
def test_freed(gone, kept, expected):
    assert freed(gone, kept) == expected
