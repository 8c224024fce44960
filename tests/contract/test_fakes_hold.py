# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same assertions on the engines in memory and on the real ones, so that the fakes cannot drift.

Whatever a unit test relies on that a fake answers belongs here, or where it builds to test_fakes_build.py.
"""

from __future__ import annotations

import json

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._engine import probe
from ansible_collections.stowage.oci.tests.contract.subjects import APP, BASE, HISTORY, LIB, MISSING, NEXT, ONE, TWO, layer_tars
from ansible_collections.stowage.oci.tests.unit.images import attestation, docker_archive, image, index, layer, layout, sha256, tar

# What an image is to a store


def test_what_it_is(subject):
    engine = subject.client()
    assert (engine.store, engine.api) == (subject.store, (1, 41) if subject.old or subject.store == "podman" else (1, 51))
    driver = {"classic": "overlay2", "containerd": "overlayfs", "podman": "overlay"}[subject.store]
    assert engine.info["Driver"] == driver
    assert str(engine.platform) == "linux/amd64"
    assert bool(engine.driver_status.get("Backing Filesystem")) == (subject.store != "containerd")
    names = [one["Name"] for one in subject.call("GET", "/version")[1]["Components"]]
    assert ("Podman Engine" in names) == (subject.store == "podman")


def test_an_image_that_was_loaded(subject):
    status, said = subject.load(APP)
    assert status == 200 and "Loaded image: " in said and "error" not in said.lower()

    document = subject.inspect("docker.io/library/app:1")
    shown = "docker.io/library/app" if subject.store == "podman" else "app"
    assert document["Id"] == subject.identity(APP)
    assert document["RepoTags"] == [shown + ":1"]
    assert document["RepoDigests"] == ([] if subject.store == "classic" else [f"{shown}@{APP.digest}"])
    assert document["RootFS"] == {"Type": "layers", "Layers": APP.diff_ids}
    assert (document["Os"], document["Architecture"], document["Created"]) == ("linux", "amd64", "2024-05-01T10:00:00Z")
    assert (document["Config"]["Labels"], document["Config"]["Cmd"]) == ({"who": "me"}, ["/app"])
    if subject.store == "containerd":
        assert document["Descriptor"]["digest"] == APP.digest
        assert document["Descriptor"]["annotations"]["io.containerd.image.name"] == "docker.io/library/app:1"


def test_names_that_find_it(subject):
    subject.load(APP)
    found = {}
    for name in (
        "app:1", "app", "docker.io/library/app:1", "localhost/app:1", f"app@{APP.digest}", f"app:1@{APP.digest}", f"app:9@{APP.digest}",
        f"app@{MISSING}", f"other@{APP.digest}", APP.digest, APP.config_digest, subject.identity(APP)[7:19], subject.identity(APP)[7:], MISSING,
    ):
        found[name] = subject.call("GET", f"/images/{name}/json")[0]
    assert subject.client().digest(subject.identity(APP)) == (APP.digest if subject.store == "podman" else None)
    digests = 404 if subject.store == "classic" else 200
    assert found == {
        "app:1": 200, "app": 404, "docker.io/library/app:1": 200, "localhost/app:1": 404, MISSING: 404,
        f"app@{APP.digest}": digests, f"app:1@{APP.digest}": digests, f"app:9@{APP.digest}": digests,
        f"app@{MISSING}": 404, f"other@{APP.digest}": 200 if subject.store == "podman" else 404,
        APP.digest: 200 if subject.store == "containerd" else 404, APP.config_digest: 404 if subject.store == "containerd" else 200,
        subject.identity(APP)[7:19]: 200, subject.identity(APP)[7:]: 200,
    }


def test_what_the_list_says(subject):
    bare = image([BASE, LIB])
    subject.load(APP)
    subject.load(bare)
    one, other = subject.listed(subject.identity(APP)), subject.listed(subject.identity(bare), every=False)

    assert one["Labels"] == {"who": "me"} and one["Size"] > 0
    assert other["RepoTags"] == {"classic": ["<none>:<none>"] if subject.old else [], "containerd": [], "podman": None}[subject.store]
    if subject.store == "podman":
        assert (one["Digest"], one["History"], other["Digest"]) == (APP.digest, ["docker.io/library/app:1"], bare.digest)
        assert "History" not in other or not other["History"]


def test_history_and_sizes(subject):
    subject.load(APP)
    status, entries = subject.call("GET", "/images/app:1/history")
    assert status == 200
    assert [entry["CreatedBy"] for entry in entries] == ["COPY app", "ENV a=b", "COPY os"]
    assert [entry["Comment"] for entry in entries] == ["last", "", ""]
    assert entries[0]["Id"].rpartition(":")[2] == subject.identity(APP)[7:] and entries[1]["Id"] == entries[2]["Id"] == "<missing>"
    tars = [len(one.tar) for one in (ONE, BASE)]
    app, base = {"classic": (1500, 4000), "podman": tars, "containerd": (8192, 12288)}[subject.store]
    assert [entry["Size"] for entry in entries] == [app, 0, base]

    document = subject.inspect("app:1")
    content = sum(map(len, APP.blobs.values()))
    if subject.store == "podman":
        assert document["Size"] >= sum(tars)
    else:
        assert document["Size"] == {"classic": 5500, "containerd": content}[subject.store]
    assert subject.listed(document["Id"])["Size"] == document["Size"] + (8192 + 12288 if subject.store == "containerd" else 0)


def test_a_history_without_times(subject):
    subject.load(image([BASE], names=["docker.io/library/timeless:1"], history=[{"created_by": "COPY os"}]))
    status, entries = subject.call("GET", "/images/timeless:1/history")
    assert status == (500 if subject.store == "podman" else 200)
    assert subject.store == "podman" or [entry["CreatedBy"] for entry in entries] == ["COPY os"]


def test_an_image_without_a_time(subject):
    subject.load(image([BASE], names=["docker.io/library/timeless:1"], created=None))
    found = subject.inspect("timeless:1").get("Created")
    assert found == "0001-01-01T00:00:00Z" if subject.old else found is None if subject.store != "podman" else found


def test_an_image_without_layers_or_history(subject):
    empty = image([], names=["docker.io/library/empty:1"])
    subject.load(empty)
    assert subject.inspect("empty:1")["RootFS"] == {"Type": "layers"}
    assert not subject.call("GET", "/images/empty:1/history")[1]


# Loading


def test_untagged_load_and_then_a_tag(subject):
    made = image([BASE, ONE])
    assert subject.load(made)[0] == 200
    assert subject.inspect(subject.identity(made))["RepoTags"] == []
    assert subject.call("POST", f"/images/{subject.identity(made)}/tag", repo="docker.io/library/new", tag="1")[0] == 201
    assert subject.inspect("docker.io/library/new:1")["Id"] == subject.identity(made)


def test_annotations_come_back_on_the_containerd_store_alone(subject):
    made = image([BASE])._replace(annotations={"io.stowage.test": "yes"})
    subject.load(made)
    subject.call("POST", f"/images/{subject.identity(made)}/tag", repo="docker.io/library/new", tag="1")
    found = (subject.inspect("new:1").get("Descriptor") or {}).get("annotations")
    assert found == ({"io.stowage.test": "yes"} if subject.store == "containerd" else None)


def test_a_tag_that_a_load_moves(subject):
    subject.load(APP)
    _status, said = subject.load(NEXT)
    assert ("already exists, renaming the old one" in said) == (subject.store == "classic")
    assert subject.inspect("app:1")["Id"] == subject.identity(NEXT)
    assert subject.inspect(subject.identity(APP))["RepoTags"] == []


def test_docker_archive(subject):
    made = APP._replace(names=("app:1",))
    status, said = subject.send(tar(docker_archive([made])))
    assert status == 200 and "rror" not in said
    found = subject.inspect("localhost/app:1" if subject.store == "podman" else "docker.io/library/app:1")
    assert subject.inspect("docker.io/library/app:1") is None or subject.store != "podman"
    assert found["RootFS"]["Layers"] == APP.diff_ids
    assert (found["Id"] == APP.config_digest) == (subject.store != "containerd")
    assert bool(found["RepoDigests"]) == (subject.store != "classic")


def test_pure_layout(subject):
    status, said = subject.send(tar(layout([APP])))
    if subject.store == "classic":
        assert status == 200 and "blobs/json: no such file or directory" in said
        assert subject.inspect("app:1") is None
    else:
        assert status == 200 and subject.inspect("app:1")["Id"] == subject.identity(APP)


def test_an_index_with_an_attestation(subject):
    multi = index([APP, attestation(APP)], names=["docker.io/library/multi:1"])
    files = dict(layout([multi]), **{"manifest.json": layout([APP._replace(names=("multi:1",))], docker=True)["manifest.json"]})
    assert subject.send(tar(files))[0] == 200
    document = subject.inspect("multi:1")
    assert document["Id"] == {"classic": APP.config_digest, "podman": APP.config_digest, "containerd": multi.digest}[subject.store]
    assert document["RootFS"]["Layers"] == APP.diff_ids


def test_a_layer_that_is_there_may_be_left_out(subject):
    subject.load(image([BASE], names=["docker.io/library/base:1"]))
    assert subject.load(APP, without=(BASE.digest,))[0] == 200
    found = subject.inspect("app:1")
    if subject.store == "podman":
        # Podman knows the compressed blob that it has read.
        assert found["Id"] == APP.config_digest
    assert found["RootFS"]["Layers"] == APP.diff_ids
    raw = subject.call("GET", "/images/app:1/get")[1]
    assert _layers_of(raw) == {BASE.diff_id, ONE.diff_id}


def test_a_layer_that_is_there_in_another_compression(subject):
    # Podman remembers for good which layer a blob was that it has read once: this one must be new to it.
    packed = layer({"never": b"read" * 1000}, "gzip")
    made = image([packed, ONE], names=["docker.io/library/app:1"])
    subject.load(image([packed._replace(blob=packed.tar, kind="")], names=["docker.io/library/base:1"]))
    _status, said = subject.load(made, without=(packed.digest,))
    found = subject.inspect("app:1")
    if subject.store == "classic":
        assert found["RootFS"]["Layers"] == made.diff_ids
    elif subject.store == "podman":
        assert found is None and "no such file or directory" in said
    else:
        # It runs from the snapshots that are there, and lacks a blob.
        assert "rror" not in said
        assert found["RootFS"] == {} and found["Os"] == ""
        subject.load(made)
        assert subject.inspect("app:1")["RootFS"]["Layers"] == made.diff_ids


def test_a_layer_described_by_its_diff_id(subject):
    subject.load(image([BASE], names=["docker.io/library/base:1"]))
    plain = BASE._replace(blob=BASE.tar, kind="")
    subject.load(image([plain, ONE], names=["docker.io/library/app:1"], history=HISTORY), without=(BASE.diff_id,))
    found = subject.inspect("app:1")
    assert (found["RootFS"] == {}) if subject.store == "containerd" else (found["RootFS"]["Layers"] == APP.diff_ids)


def test_a_layer_that_is_there_on_other_layers(subject):
    subject.load(image([BASE, LIB], names=["docker.io/library/base:1"]))
    other = image([ONE, LIB], names=["docker.io/library/app:1"])
    _status, said = subject.load(other, without=(LIB.digest,))
    if subject.store == "classic":
        assert "no such file or directory" in said and subject.inspect("app:1") is None
    else:
        assert subject.inspect("app:1")["RootFS"]["Layers"] == other.diff_ids


def test_a_thin_docker_archive(subject):
    subject.send(tar(docker_archive([image([BASE], names=["base:1"])])))
    made = APP._replace(names=("thin:1",))
    files = docker_archive([made])
    left_out = next(name for name, content in files.items() if content == BASE.tar)
    status, said = subject.send(tar({name: content for name, content in files.items() if name != left_out}))
    if subject.store == "classic":
        assert subject.inspect("thin:1")["RootFS"]["Layers"] == APP.diff_ids
    elif subject.store == "podman":
        assert status == 500 and "Some layer tarfiles are missing in the tarball" in said
    else:
        assert status == 200 and "failed to resolve layers: layer" in said and "not found" in said


def test_zstd_layers(subject):
    made = image([layer({"z": b"zstd" * 100}, "zstd")], names=["docker.io/library/z:1"])
    _status, said = subject.load(made)
    if subject.old:
        assert "unexpected EOF" in said and subject.inspect("z:1") is None
    else:
        assert subject.inspect("z:1")["RootFS"]["Layers"] == made.diff_ids


def test_a_layer_that_is_missing(subject):
    subject.load(APP)
    before = subject.inspect("app:1")["Id"]
    status, said = subject.load(NEXT, without=(TWO.digest,))
    if subject.store == "classic":
        assert status == 200 and '"error"' in said and "no such file or directory" in said
    if subject.store == "podman":
        assert status == 500 and "payload does not match any of the supported image formats" in said and TWO.digest in said
    if subject.store != "containerd":
        assert subject.inspect("app:1")["Id"] == before
        assert subject.inspect(subject.identity(NEXT)) is None
        return
    assert status == 200 and '"error"' not in said
    assert "Loaded image: app:1" in said and "Error unpacking image app:1: apply layer error" in said
    assert f"content digest {TWO.digest}: not found" in said
    broken = subject.inspect("app:1")
    assert (broken["Id"], broken["RootFS"], broken["Os"]) == (NEXT.digest, {}, "")
    assert subject.inspect(APP.digest)["RepoTags"] == []
    assert [one["Available"] for one in subject.call("GET", "/images/app:1/json", manifests="1")[1]["Manifests"]] == [False]
    assert subject.listed(NEXT.digest)["RepoDigests"] == [NEXT.digest]
    subject.load(NEXT)
    assert subject.inspect("app:1")["RootFS"]["Layers"] == NEXT.diff_ids


def test_a_missing_layer_of_an_untagged_image(subject):
    made = image([BASE, TWO])
    status, said = subject.load(made, without=(TWO.digest,))
    if subject.store == "containerd":
        assert f"Loaded image ID: {made.digest}" in said and f"Error unpacking image {made.digest}" in said
        assert subject.call("DELETE", f"/images/{made.digest}", force="1")[0] == 200
    assert subject.inspect(subject.identity(made)) is None
    assert subject.load(made)[0] == 200
    assert subject.inspect(subject.identity(made))["RootFS"]["Layers"] == made.diff_ids


def test_bytes_that_are_not_their_digest(subject):
    made = image([layer({"fresh": b"fresh" * 300})], names=["docker.io/library/fresh:1"])
    archive = tar(layout([made], docker=True)).replace(b"freshfresh", b"freshFresh", 1)
    _status, said = subject.send(archive)
    missing = f"content digest {made.layers[0].digest}: not found"
    assert {"classic": "invalid diffID for layer 0", "podman": "Digest did not match", "containerd": missing}[subject.store] in said
    assert (subject.inspect("fresh:1") or {"RootFS": {}})["RootFS"] == {}


@pytest.mark.parametrize("broken", ["truncated", "nonsense", "empty"])
def test_no_archive(subject, broken):
    archive = tar(layout([image([layer({"long": b"long" * 30000})], names=["docker.io/library/long:1"])], docker=True))
    body = {"truncated": archive[:50000], "nonsense": b"nonsense" * 1000, "empty": b""}[broken]
    status, said = subject.send(body)
    assert status == (500 if subject.store == "podman" else 200)
    assert '"error"' in said or subject.store == "podman"
    empty = {"classic": "repositories", "containerd": "unrecognized", "podman": "index.json"}[subject.store]
    assert {"truncated": "unexpected EOF", "nonsense": "invalid tar header", "empty": empty}[broken] in said
    assert not subject.call("GET", "/images/json", all="1")[1]


def test_one_image_with_two_names(subject):
    made = APP._replace(names=("docker.io/library/a:1", "docker.io/library/b:1"))
    assert subject.load(made)[0] == 200
    assert subject.inspect("a:1")["Id"] == subject.inspect("b:1")["Id"]
    thin = made._replace(names=("docker.io/library/c:1", "docker.io/library/d:1"))
    _status, said = subject.load(thin, without=(BASE.digest,))
    assert (subject.inspect("c:1") is None) == (subject.store == "podman")
    assert ("more than one image in oci" in said) == (subject.store == "podman")


# Tags and removal


def test_tags(subject):
    subject.load(APP)
    subject.load(image([LIB], names=["docker.io/library/other:1"]))
    other = subject.inspect("other:1")["Id"]
    assert subject.call("POST", "/images/other:1/tag", repo="docker.io/library/app", tag="1")[0] == 201
    assert subject.call("POST", "/images/other:1/tag", repo="docker.io/library/app", tag="1")[0] == 201
    assert subject.inspect("app:1")["Id"] == other
    assert subject.inspect(subject.identity(APP))["RepoTags"] == []
    for name in (MISSING, "docker.io/library/nothing:1"):
        status, document = subject.call("POST", f"/images/{name}/tag", repo="docker.io/library/app", tag="1")
        assert status == 404 and document["message"]


def test_removing_names(subject):
    subject.load(APP)
    subject.call("POST", "/images/app:1/tag", repo="docker.io/library/second", tag="x")
    status, document = subject.call("DELETE", f"/images/{subject.identity(APP)}")
    assert status == (500 if subject.store == "podman" else 409)
    assert ("more than one tag" if subject.store == "podman" else "image is referenced in multiple repositories") in document["message"]

    status, gone = subject.call("DELETE", "/images/docker.io/library/app:1")
    assert status == 200 and not any("Deleted" in one for one in gone)
    assert subject.inspect("app:1") is None and subject.inspect("second:x")["Id"] == subject.identity(APP)
    status, gone = subject.call("DELETE", "/images/docker.io/library/second:x")
    deleted = [one["Deleted"].rpartition(":")[2] for one in gone if "Deleted" in one]
    assert subject.identity(APP)[7:] in deleted
    assert len(deleted) == (3 if subject.store == "classic" else 1)
    assert subject.inspect(subject.identity(APP)) is None
    assert subject.call("DELETE", "/images/docker.io/library/second:x")[0] == 404
    assert subject.call("DELETE", f"/images/{MISSING}")[0] == 404


def test_removing_by_id(subject):
    subject.load(APP)
    subject.load(NEXT._replace(names=("docker.io/library/next:1",)))
    assert subject.call("DELETE", f"/images/{subject.identity(APP)}")[0] == 200
    assert subject.inspect("app:1") is None
    assert subject.inspect("next:1")["RootFS"]["Layers"] == NEXT.diff_ids

    subject.call("POST", "/images/next:1/tag", repo="docker.io/library/next", tag="2")
    assert subject.call("DELETE", f"/images/{subject.identity(NEXT)}", force="1")[0] == 200
    assert not subject.call("GET", "/images/json", all="1")[1]


def test_removing_what_a_container_uses(subject):
    subject.load(APP)
    subject.call("POST", "/images/app:1/tag", repo="docker.io/library/second", tag="x")
    body = {"Image": "docker.io/library/app:1", "Cmd": ["/app"], "HostConfig": {"NetworkMode": "none"}}
    assert subject.call("POST", "/containers/create", body, name="holder")[0] == 201
    found = subject.call("GET", "/containers/json", all="1")[1]
    assert [(one["Names"], one["ImageID"], one["State"]) for one in found] == [(["/holder"], subject.identity(APP), "created")]
    assert subject.call("GET", "/containers/json")[1] == []

    assert subject.call("DELETE", "/images/docker.io/library/app:1")[0] == 200
    for name in ("docker.io/library/second:x", subject.identity(APP)):
        status, document = subject.call("DELETE", f"/images/{name}")
        assert status == 409
        assert found[0]["Id"][:12] in document["message"]
    assert subject.call("DELETE", f"/images/{subject.identity(APP)}", force="1")[0] == 200
    assert subject.inspect(subject.identity(APP)) is None
    left = subject.call("GET", "/containers/json", all="1")[1]
    assert [one["ImageID"] for one in left] == ([] if subject.store == "podman" else [subject.identity(APP)])
    assert subject.call("DELETE", "/containers/holder", force="1")[0] == (404 if subject.store == "podman" else 204)


def test_force_by_name_on_what_a_container_uses(subject):
    subject.load(APP)
    body = {"Image": "docker.io/library/app:1", "Cmd": ["/app"], "HostConfig": {"NetworkMode": "none"}}
    assert subject.call("POST", "/containers/create", body, name="holder")[0] == 201
    status, gone = subject.call("DELETE", "/images/docker.io/library/app:1", force="1")
    assert status == 200
    assert any("Deleted" in one for one in gone) == (subject.store != "containerd")
    assert subject.inspect("app:1") is None
    assert (subject.inspect(subject.identity(APP)) is None) == (subject.store != "containerd")
    subject.call("DELETE", "/containers/holder", force="1")


# Registries


def test_pulling_an_index(subject):
    multi = index([image([BASE], platform="linux/arm64"), APP])
    reference = subject.offer("index:1", multi)
    name = reference.rpartition(":")[0]
    status, said = subject.call("POST", "/images/create", fromImage=name, tag="1")
    assert status == 200 and '"error"' not in json.dumps(said)

    document = subject.inspect(reference)
    assert document["Id"] == (multi.digest if subject.store == "containerd" else APP.config_digest)
    assert document["RepoTags"] == [reference]
    digests = {f"{name}@{multi.digest}"} | ({f"{name}@{APP.digest}"} if subject.store == "podman" else set())
    assert document["RepoDigests"] == sorted(digests)
    assert subject.inspect(f"{name}@{multi.digest}")["Id"] == document["Id"]
    assert (subject.inspect(f"{name}@{APP.digest}") is None) == (subject.store != "podman")


def test_a_platform_of_an_index_is_shown_under_its_own_id(subject):
    reference = subject.offer("platforms:1", index([image([BASE], platform="linux/arm64"), APP]))
    subject.call("POST", "/images/create", fromImage=reference.rpartition(":")[0], tag="1")
    status, document = subject.call("GET", f"/images/{reference}/json", platform='{"os":"linux","architecture":"amd64"}')
    assert (status, document["Id"], document["Architecture"]) == (200, subject.identity(APP), "amd64")


def test_digests_of_two_repositories(subject):
    one, two = subject.offer("two/a:1", APP), subject.offer("two/b:1", index([APP]))
    names = [reference.rpartition(":")[0] for reference in (one, two)]
    for name in names:
        subject.call("POST", "/images/create", fromImage=name, tag="1")
    found = set(subject.inspect(one)["RepoDigests"])
    digests = [APP.digest, index([APP]).digest]
    if subject.store == "podman":
        assert found == {f"{name}@{digest}" for name in names for digest in digests}
    elif subject.store == "classic":
        assert found == {f"{names[0]}@{digests[0]}", f"{names[1]}@{digests[1]}"}
    else:
        assert found == {f"{names[0]}@{digests[0]}"}


def test_pulling_by_digest(subject):
    name = subject.offer("digest:1", APP).rpartition(":")[0]
    pinned = f"{name}@{APP.digest}"
    assert subject.call("POST", "/images/create", fromImage=name, tag=APP.digest)[0] == 200
    document = subject.inspect(pinned)
    assert document["RepoTags"] == ([pinned] if subject.store == "containerd" else [])
    assert (subject.listed(document["Id"])["RepoTags"] or []) == ([] if subject.store == "classic" else [pinned])
    assert document["RepoDigests"] == [pinned]
    assert subject.call("DELETE", f"/images/{pinned}")[0] == 200
    assert subject.inspect(document["Id"]) is None


def test_a_tag_that_a_pull_moves(subject):
    reference = subject.offer("moves:1", APP)
    name = reference.rpartition(":")[0]
    subject.call("POST", "/images/create", fromImage=name, tag="1")
    subject.offer("moves:1", NEXT)
    subject.call("POST", "/images/create", fromImage=name, tag="1")
    assert subject.inspect(reference)["Id"] == subject.identity(NEXT)

    old = subject.listed(subject.identity(APP))
    assert not old["RepoTags"]
    assert (old["RepoDigests"] or []) == ([f"{name}@{APP.digest}"] if subject.store == "classic" else [])
    assert old.get("History", []) == ([reference] if subject.store == "podman" else [])
    assert not (old.get("Descriptor") or {}).get("annotations")
    found = subject.inspect(f"{name}@{APP.digest}")
    assert (found and found["Id"]) == (None if subject.store == "containerd" else APP.config_digest)


def test_removing_a_tag_takes_the_digests_of_its_repository_along(subject):
    name = subject.offer("along:1", APP).rpartition(":")[0]
    subject.call("POST", "/images/create", fromImage=name, tag="1")
    subject.call("POST", f"/images/{name}:1/tag", repo="docker.io/library/kept", tag="1")
    assert subject.call("DELETE", f"/images/{name}:1")[0] == 200
    assert not [one for one in subject.inspect("kept:1")["RepoDigests"] if one.startswith(name)]


def test_what_no_registry_has(subject):
    name = subject.offer("there:1", APP).rpartition(":")[0]
    status, said = subject.call("POST", "/images/create", fromImage=name, tag="no")
    assert status == (200 if subject.store == "podman" else 404)
    assert ("error" if subject.store == "podman" else "message") in said if isinstance(said, dict) else '"error"' in json.dumps(said)


def test_another_platform(subject):
    name = subject.offer("arm:1", index([image([BASE], platform="linux/arm64")])).rpartition(":")[0]
    status, said = subject.call("POST", "/images/create", fromImage=name, tag="1", platform="linux/s390x")
    assert (status, '"error"' in json.dumps(said)) == ((404, False) if subject.store == "containerd" else (200, True))


def test_distribution(subject):
    multi = index([image([BASE], platform="linux/arm64"), APP])
    reference = subject.offer("distribution:1", multi)
    status, document = subject.call("GET", f"/distribution/{reference}/json")
    if subject.store == "podman":
        assert status == 404
        return
    assert status == 200 and document["Descriptor"]["digest"] == multi.digest
    assert {one["architecture"] for one in document["Platforms"]} == {"arm64", "amd64"}
    assert subject.call("GET", f"/distribution/{reference}no/json")[0] == 404


def test_libpod_pull(subject):
    reference = subject.offer("libpod:1", APP)
    status, said = subject.call("POST", "/v4.0.0/libpod/images/pull", reference=reference, policy="always", tlsVerify="false")
    if subject.store != "podman":
        assert status == 404
        return
    assert status == 200 and (said[-1] if isinstance(said, list) else said)["id"] == APP.config_digest[7:]
    status, said = subject.call("POST", "/v4.0.0/libpod/images/pull", reference=reference + "no", policy="always", tlsVerify="false")
    assert status == 200 and "error" in (said[-1] if isinstance(said, list) else said)


def test_a_push_names_the_blobs(subject):
    subject.load(APP)
    engine = subject.client()
    found = probe.blobs(engine, subject.identity(APP), engine.platform)
    assert len(found) == 2
    if subject.store == "containerd":
        assert [one.digest for one in found] == [one.digest for one in APP.layers]
    assert subject.inspect(subject.identity(APP))["RepoTags"] == [subject.inspect("app:1")["RepoTags"][0]]


def test_what_a_push_sends(subject):
    reference = subject.offer("origin:1", index([APP, image([ONE], platform="linux/arm64")]))
    repository = reference.rpartition(":")[0]
    if subject.store == "podman":
        subject.call("POST", "/v4.0.0/libpod/images/pull", reference=reference, policy="always", tlsVerify="false")
    else:
        subject.call("POST", "/images/create", fromImage=repository, tag="1")
    target = repository.replace("origin", "target")
    subject.call("POST", f"/images/{reference}/tag", repo=target, tag="1")
    status, said = subject.call("POST", f"/images/{target}/push", tag="1", tlsVerify="false")
    said = said if isinstance(said, list) else [said]
    assert status == 200 and not any("error" in message for message in said)
    digest = next(message["status"].split()[2] for message in said if message.get("status", "").startswith("1: digest: "))
    noted = {text.partition("@")[2] for text in subject.inspect(f"{target}:1")["RepoDigests"] if target in text}
    if subject.store == "containerd":
        assert digest == APP.digest and digest not in noted
    elif subject.store == "classic":
        assert digest in noted
    if subject.store != "podman":
        descriptor = subject.call("GET", f"/distribution/{target}:1/json")[1]["Descriptor"]
        assert (descriptor["digest"], ".docker." in descriptor["mediaType"]) == (digest, subject.store == "classic")


def test_a_push_of_what_is_not_there(subject):
    reference = subject.offer("there:1", APP).replace("there", "nowhere")
    status, said = subject.call("POST", f"/images/{reference.rpartition(':')[0]}/push", tag="1", tlsVerify="false")
    assert status == (404 if subject.store == "podman" else 200)
    assert "not known" in said["message"] if subject.store == "podman" else "error" in (said[-1] if isinstance(said, list) else said)


def test_export(subject):
    subject.load(APP)
    for status, raw in (subject.call("GET", "/images/app:1/get"), subject.call("GET", "/images/get", names="docker.io/library/app:1")):
        assert status == 200 and _layers_of(raw) == set(APP.diff_ids)
    assert subject.call("GET", "/images/nothing:1/get")[0] in (404, 500)


def _layers_of(raw: bytes) -> set[str]:
    """The diff IDs of the layers that manifest.json of an export names."""
    return {sha256(data) for data in layer_tars(raw)}
