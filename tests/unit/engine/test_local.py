# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._engine import local as _local
from ansible_collections.stowage.oci.plugins.module_utils._engine.engine import Engine
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Transport
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer

A, B, C = ("sha256:" + 64 * letter for letter in "abc")


def shown(**more):
    rootfs = {"Type": "layers", "Layers": [B]}
    return dict({"Id": A, "RepoTags": ["app:1"], "RepoDigests": [], "RootFS": rootfs, "Os": "linux", "Architecture": "arm64"}, **more)


def test_a_classic_image():
    found = _local.of_inspect(shown(RepoDigests=["app@" + B, "quay.io/x/app@" + C], Variant="v8"), "classic")
    assert found == _local.LocalImage(
        image_id=A,
        digest=None,
        config_digest=A,
        diff_ids=(B,),
        repo_tags=("docker.io/library/app:1",),
        repo_digests=("docker.io/library/app@" + B, "quay.io/x/app@" + C),
        platform=("linux", "arm64", ""),
        complete=True,
    )


@pytest.mark.parametrize(
    "store, digests, name, expected",
    [
        ("classic", [], "app:1", None),
        ("classic", [], None, None),
        ("classic", ["app@" + B], None, B),
        ("classic", ["app@" + B, "x.io/app@" + B], None, B),
        ("classic", ["app@" + B, "x.io/app@" + C], None, None),
        ("classic", ["app@" + B, "x.io/app@" + C], "x.io/app:9", C),
        ("classic", ["app@" + B, "x.io/app@" + C], "y.io/app:9", None),
        ("classic", ["app@" + B, "app@" + C], "app@" + C, C),
        ("podman", ["app@" + B, "app@" + C], "y.io/app:9", B),
        ("podman", [], "app:1", None),
        ("containerd", [], "app:1", A),
        ("containerd", ["app@" + B], None, A),
    ],
)
def test_digest(store, digests, name, expected):
    assert _local.of_inspect(shown(RepoDigests=digests), store, parse(name) if name else None).digest == expected


def test_of_podmans_digests_it_is_the_one_that_came():
    assert _local.of_inspect(shown(RepoDigests=["app@" + B, "app@" + C], Digest=C), "podman").digest == C


@pytest.mark.parametrize(
    "shape",
    [dict(RepoTags=["<none>:<none>"], RepoDigests=["<none>@<none>"]), dict(RepoTags=None, RepoDigests=None), dict(RepoTags=[], RepoDigests=[A])],
)
def test_untagged_images_in_the_shapes_of_all_engines(shape):
    found = _local.of_inspect(shown(**shape), "classic")
    assert (found.repo_tags, found.repo_digests) == ((), ())


def test_a_name_by_digest_is_no_tag():
    found = _local.of_inspect(shown(RepoTags=["app@" + B, "app:1"], RepoDigests=["app@" + B]), "podman")
    assert (found.repo_tags, found.repo_digests) == (("docker.io/library/app:1",), ("docker.io/library/app@" + B,))


def test_our_annotation_tells_the_config():
    noted = {"annotations": {"io.stowage.config.digest": C}}
    assert _local.of_inspect(shown(Descriptor=noted), "containerd").config_digest == C
    assert _local.of_inspect(shown(Descriptor={}), "containerd").config_digest is None


@pytest.mark.parametrize("store, rootfs, complete", [("containerd", {}, False), ("containerd", {"Type": "layers"}, True), ("classic", {}, True)])
def test_complete(store, rootfs, complete):
    found = _local.of_inspect(shown(RootFS=rootfs), store)
    assert (found.complete, found.diff_ids) == (complete, ())


# Asked for


APP = image([layer({"app": b"1"}, "gzip")], names=["docker.io/library/app:1"])


@pytest.fixture(name="fake", params=["classic", "containerd", "podman"])
def _fake(request):
    with FakeEngine(request.param) as fake:
        yield fake


def connected(fake):
    return Engine(Transport(fake.url, 10))


def test_local(fake):
    fake.hold(APP)
    engine = connected(fake)
    identity = fake.image_id("app:1")

    assert _local.local(engine, "app:1").image_id == identity
    assert _local.local(engine, parse("docker.io/library/app:1")).image_id == identity
    assert _local.local(engine, identity).image_id == identity
    assert _local.local(engine, identity[7:20]).image_id == identity
    assert _local.local(engine, "app:2") is None
    assert _local.local(engine, A) is None
    assert _local.tags(engine) == ["docker.io/library/app:1"]


def test_the_digest_is_that_of_the_index_which_was_pulled(fake):
    digest = fake.offer("127.0.0.1:5000/multi:1", index([APP, image([], platform="linux/arm64")]))
    fake.pull("127.0.0.1:5000/multi:1")
    engine = connected(fake)

    for name in ("127.0.0.1:5000/multi:1", "127.0.0.1:5000/multi@" + digest, fake.image_id("127.0.0.1:5000/multi:1")):
        assert _local.local(engine, name).digest == digest
    assert engine.digest(fake.image_id("127.0.0.1:5000/multi:1")) == (digest if fake.store.name == "podman" else None)
    assert engine.digest(A) is None


def test_digits_that_an_engine_takes_for_a_short_name_are_no_id():
    with FakeEngine("podman") as fake:
        fake.hold(APP)
        fake.tag("app:1", "localhost/abcdefabcdef:latest")
        assert _local.local(connected(fake), "abcdefabcdef") is None


def test_what_vanishes_is_left_out(fake):
    fake.hold(APP)
    engine = connected(fake)
    identity = fake.image_id("app:1")
    assert list(_local.documents(engine, [identity, A], 4)) == [identity]
    assert _local.documents(engine, [], 4) == {}
