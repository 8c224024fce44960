# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import pickle
import random
import tarfile
import time

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import ArchiveError, BlobMismatch, ImageNotInArchive, InvalidReference, StowageError
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive, select
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Verified, drain
from ansible_collections.stowage.oci.plugins.module_utils._oci.files import TarFiles
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_LAYER
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.images import (
    artifact, attestation, compress, docker_archive, dump, image, index, layer, layout, pack, path, sha256, write
)

BASE = layer({"etc/os-release": b"ID=base\n" * 500})
TOP = layer({"app": b"1"}, "gzip")
APP = image([BASE, TOP], names=["app:1", "registry.example/app:one"], config={"Cmd": ["/app"]})
OTHER = image([BASE, layer({"other": b"2"}, "zstd"), BASE], names=["other:2"])
ARM = image([BASE], platform="linux/arm64", names=["arm:1"])
NAMELESS = image([TOP, BASE], created=None)
MULTI = index([APP, ARM, attestation(APP)], names=["multi:1"])


@pytest.fixture
def read(tmp_path):
    """Writes files as an archive and opens it."""

    def opened(files, form=".tar", kind=""):
        where = write(tmp_path / ("archive" + form), files)
        return Archive(str(pack(where, kind) if kind else where), str(tmp_path / "scratch"))

    return opened


@pytest.fixture
def refusal(read, tmp_path):
    """The message of an archive that cannot be read, in every form the same, and nothing left behind."""

    def refused(files):
        messages = set()
        for form, kind in (("", ""), (".tar", ""), (".tar", "gzip")):
            with pytest.raises(ArchiveError) as caught:
                read(files, form, kind)
            where = str(tmp_path / "archive") + form + (".%s" % kind if kind else "") + ": "
            assert str(caught.value).startswith(where)
            messages.add(str(caught.value)[len(where):])
        assert not (tmp_path / "scratch").exists()
        assert len(messages) == 1
        return messages.pop()

    return refused


def validate(archive, made):
    """The oracle: an image of the archive is the one that was made, to the last byte."""
    found = [one for entry in archive.entries for one in entry.variants if one.config.digest == made.config_digest]
    assert len({one.manifest.digest for one in found}) == 1
    assert found[0].raw_config == made.config == archive.document(made.config_digest)
    assert archive.document(found[0].manifest.digest) == found[0].manifest.raw
    assert [one.diff_id for one in found[0].layers] == made.diff_ids
    for one, two, extent in zip(found[0].layers, made.layers, map(archive.extents, ([one.descriptor.digest] for one in found[0].layers))):
        (place,) = extent.values()
        assert place.size == one.descriptor.size
        with place.open() as stream:
            drain(Verified(stream, one.descriptor.digest, one.descriptor.size, "layer"))
        data = place.read(place.size)
        assert data in (two.blob, two.tar)
        suffix = {two.blob: two.kind, two.tar: ""}[data]
        assert one.descriptor.media_type == OCI_LAYER + ("+" + suffix if suffix else "")
    return found[0]


FORMS = [("", ""), (".tar", "")] + [(".tar", kind) for kind in images.COMPRESSIONS]


# What is read


@pytest.mark.parametrize(("form", "kind"), FORMS)
@pytest.mark.parametrize("writer", ["docker", "podman", "crane"])
def test_reads_docker_archives(read, writer, form, kind):
    archive = read(docker_archive([APP, OTHER, NAMELESS], writer), form, kind)
    assert [entry.names for entry in archive.entries] == [APP.names, OTHER.names, ()]
    assert [entry.label for entry in archive.entries] == ["app:1", "other:2", NAMELESS.config_digest]
    for made in (APP, OTHER, NAMELESS):
        validate(archive, made)
    assert all(entry.handles[0] == entry.variants[0].config.digest for entry in archive.entries)


@pytest.mark.parametrize(("form", "kind"), FORMS)
@pytest.mark.parametrize("annotate", ["containerd", "oci", "both"])
def test_reads_layouts(read, annotate, form, kind):
    archive = read(layout([APP, OTHER, NAMELESS, MULTI], annotate=annotate), form, kind)
    entries = {entry.names: entry for entry in archive.entries}
    assert list(entries) == [APP.names, OTHER.names, (), MULTI.names]
    assert [str(one.config.platform) for one in entries[MULTI.names].variants] == ["linux/amd64", "linux/arm64"]
    for made in (APP, OTHER, NAMELESS, ARM):
        assert validate(archive, made).manifest.raw == made.manifest
    assert entries[MULTI.names].handles == (MULTI.digest, APP.config_digest, ARM.config_digest)


def test_reads_names_that_only_docker_wrote(read):
    archive = read(layout([APP, OTHER, NAMELESS], annotate="", docker=True))
    assert [entry.names for entry in archive.entries] == [APP.names, OTHER.names, ()]


def test_reads_dockers_manifests(read):
    docker = image([BASE, TOP], names=["app:1"], docker=True)
    archive = read(layout([docker, index([docker, ARM], names=["list:1"], docker=True)]))
    assert [entry.names for entry in archive.entries] == [("app:1",), ("list:1",)]
    assert archive.entries[0].variants[0].manifest.raw == docker.manifest


def test_a_bare_tag_in_place_of_a_name_is_a_handle(read):
    archive = read(layout([image([BASE], names=["latest"])], annotate="oci"))
    assert archive.entries[0].names == ()
    assert archive.entries[0].label == "latest"
    assert select(archive, ["latest"]) == list(archive.entries)


def test_a_digest_in_place_of_a_name_is_a_handle(read):
    # As podman save --format oci-archive writes an image that it was told by its ID.
    archive = read(layout([image([BASE], names=["sha256:" + "0" * 64])], annotate="oci"))
    assert archive.entries[0].names == ()
    assert select(archive, ["sha256:" + "0" * 64]) == list(archive.entries)


def test_the_tag_beside_a_whole_name_is_none(read):
    archive = read(layout([APP, image([TOP], names=["second:1"])]))
    assert [entry.handles[0] for entry in archive.entries] == [APP.digest, archive.entries[1].variants[0].manifest.digest]
    with pytest.raises(ImageNotInArchive):
        select(archive, ["1"])


def test_flat_entries_of_one_name_are_one_image(read):
    archive = read(layout([MULTI, APP], flat=True))
    assert [entry.names for entry in archive.entries] == [MULTI.names, APP.names]
    assert [one.manifest.digest for one in archive.entries[0].variants] == [APP.digest, ARM.digest]


def test_an_index_may_lie_in_an_index(read):
    inner = index([APP, ARM])
    archive = read(layout([index([index([inner]), inner, APP], names=["deep:1"])]))
    assert [one.manifest.digest for one in archive.entries[0].variants] == [APP.digest, ARM.digest]


def test_lists_the_platforms_that_an_index_names_and_the_archive_lacks(read):
    partial = index([APP], names=["partial:1"], lacking=[ARM])
    archive = read(layout([partial]))
    assert archive.entries[0].absent == ("linux/arm64",)
    # So do engines write it that have pulled the manifests of all platforms and the rest of one.
    archive = read(layout([index([APP, ARM], names=["partial:1"])], without=[ARM.config_digest]))
    assert [one.manifest.digest for one in archive.entries[0].variants] == [APP.digest]
    assert archive.entries[0].absent == ("linux/arm64",)


def test_lists_the_platforms_that_flat_entries_name_and_the_archive_lacks(read):
    archive = read(layout([index([ARM, APP], names=["flat:1"])], flat=True, without=[ARM.digest]))
    assert [(entry.names, entry.absent, len(entry.variants)) for entry in archive.entries] == [(("flat:1",), ("linux/arm64",), 1)]


def test_an_image_may_be_named_and_lacking_altogether(read):
    archive = read(layout([APP, OTHER], without=[APP.digest]))
    assert [(entry.label, entry.variants, entry.absent) for entry in archive.entries][0] == ("app:1", (), ("linux/amd64",))


def test_the_index_says_for_which_arm_an_old_config_is(read):
    old = image([BASE], platform="linux/arm")
    document = json.loads(index([old], names=["old:1"]).raw)
    document["manifests"][0]["platform"]["variant"] = "v6"
    made = images.MadeIndex(("old:1",), (old,), (), dump(document))
    assert [str(one.config.platform) for one in read(layout([made])).entries[0].variants] == ["linux/arm/v6"]
    document["manifests"][0]["platform"] = {"os": "linux", "architecture": "amd64"}
    made = images.MadeIndex(("old:1",), (old,), (), dump(document))
    assert [str(one.config.platform) for one in read(layout([made])).entries[0].variants] == ["linux/arm/v7"]


def test_a_name_that_several_claim_is_the_last_ones(read):
    newer = image([TOP], names=["docker.io/library/app:1"])
    for files in (layout([APP, OTHER, newer], annotate="oci"), docker_archive([APP, OTHER, newer])):
        archive = read(files)
        assert [entry.names for entry in archive.entries] == [APP.names[1:], OTHER.names, newer.names]
    # An image that lost its only name was replaced, as when crane adds to a layout.
    archive = read(layout([ARM._replace(names=("app:1",)), newer], annotate="oci"))
    assert [entry.names for entry in archive.entries] == [newer.names]
    amd = ARM._replace(names=("app:1",), platform={"os": "linux", "architecture": "amd64"})
    archive = read(layout([amd, newer._replace(names=("app:1",))], annotate="oci"))
    assert [[one.manifest.digest for one in entry.variants] for entry in archive.entries] == [[ARM.digest, newer.digest]]
    archive = read(layout([newer._replace(names=("app:1",)), image([BASE, BASE], names=["app:1"])], annotate="oci"))
    assert [len(entry.variants) for entry in archive.entries] == [1]
    assert archive.entries[0].variants[0].layers[0].diff_id == BASE.diff_id


def test_an_image_may_have_no_layers(read):
    scratch = image([], names=["scratch:1"])
    for files in (layout([scratch]), docker_archive([scratch])):
        archive = read(files)
        assert archive.entries[0].variants[0].layers == ()
        assert archive.extents([]) == {}


def test_blobs_may_be_missing(read):
    archive = read(layout([APP], without=[BASE.digest]))
    assert [archive.holds(digest) for digest in (BASE.digest, TOP.digest, APP.config_digest, APP.digest)] == [False, True, True, True]
    files = docker_archive([APP], "podman")
    del files[BASE.diff_id.partition(":")[2] + ".tar"]
    archive = read(files, ".tar", "gzip")
    layers = archive.entries[0].variants[0].layers
    assert [(one.descriptor.size, archive.holds(one.descriptor.digest)) for one in layers] == [(0, False), (len(TOP.tar), True)]
    assert layers[0].descriptor.digest == BASE.diff_id


def test_foreign_layers_may_be_missing(read):
    document = json.loads(APP.manifest)
    document["layers"][0].update(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar", urls=["https://example.com/layer"])
    foreign = APP._replace(manifest=dump(document))
    archive = read(layout([foreign], without=[BASE.digest]))
    assert not archive.holds(BASE.digest)
    assert archive.entries[0].variants[0].manifest.raw == foreign.manifest


def test_reads_layers_of_any_compression(read):
    layers = [layer({"a": b"1"}, kind) for kind in images.COMPRESSIONS]
    made = image(layers, names=["packed:1"])
    found = validate(read(docker_archive([made, made], "crane")), made)
    assert [one.descriptor.digest for one in found.layers] == [one.digest for one in layers]


def test_reads_sha512(read):
    def sha512(data):
        return "sha512:" + hashlib.sha512(data).hexdigest()

    document = json.loads(APP.manifest)
    document["config"]["digest"] = sha512(APP.config)
    document["layers"][0]["digest"] = sha512(BASE.blob)
    manifest = dump(document)
    entry = {"mediaType": document["mediaType"], "digest": sha512(manifest), "size": len(manifest)}
    blobs = {path(sha512(data)): data for data in (manifest, APP.config, BASE.blob)}
    files = dict(blobs, **{path(TOP.digest): TOP.blob, "index.json": dump({"schemaVersion": 2, "manifests": [entry]})})
    archive = read(files)
    found = archive.entries[0].variants[0]
    assert found.manifest.config.digest == sha512(APP.config)
    assert archive.document(sha512(APP.config)) == archive.document(APP.config_digest) == APP.config
    assert archive.document(sha512(manifest)) == archive.document(sha256(manifest)) == manifest
    assert archive.extents([sha512(BASE.blob)])[sha512(BASE.blob)].read(1 << 20) == BASE.blob
    assert select(archive, [sha512(manifest)]) == list(archive.entries)
    files[path(sha512(manifest))] = manifest + b" "
    with pytest.raises(BlobMismatch):
        read(files)


@pytest.mark.parametrize("kind", ["", "gzip"])
def test_can_be_pickled(read, kind):
    archive = pickle.loads(pickle.dumps(read(layout([APP, MULTI]), kind=kind)))
    assert [entry.names for entry in archive.entries] == [APP.names, MULTI.names]
    validate(archive, APP)


def test_each_layer_is_hashed_once(read, monkeypatch):
    many = [image([TOP, layer({"x": b"%d" % number}, "gzip")], names=["x:%d" % number]) for number in range(5)]
    hashed = []
    real = TarFiles.sha256
    monkeypatch.setattr(TarFiles, "sha256", lambda self, name: hashed.append(name) or real(self, name))
    read(docker_archive(many, "crane"))
    assert len(hashed) == len(set(hashed)) == 6


def test_opens_fifty_images_of_fifty_gigabytes_without_reading_their_layers(tmp_path):
    many = [image([BASE, layer({"x": b"%d" % number})], names=["x:%d" % number]) for number in range(50)]
    big = BASE.diff_id.partition(":")[2] + ".tar"
    with open(str(tmp_path / "many.tar"), "wb") as out:
        for name, content in docker_archive(many, "podman").items():
            if isinstance(content, bytes):
                member = tarfile.TarInfo(name)
                member.size = 50 << 30 if name == big else len(content)
                out.write(member.tobuf(tarfile.GNU_FORMAT))
                # The large one is a hole in the file.
                out.write(content if name != big else b"")
                out.seek(member.size if name == big else 0, 1)
                out.seek(-out.tell() % 512, 1)
        out.write(b"\0" * 1024)
    before = time.process_time()
    archive = Archive(str(tmp_path / "many.tar"), str(tmp_path / "scratch"))
    assert time.process_time() - before < 2
    assert len(archive.entries) == 50
    assert archive.extents([BASE.digest])[BASE.digest].size == 50 << 30
    assert len(pickle.dumps(archive)) < 200000


# What is not an image


def test_skips_artifacts_beside_images(read):
    chart, signature = artifact(names=["chart:1"]), artifact(config_type="application/vnd.oci.image.config.v1+json")
    archive = read(layout([chart, APP, index([APP, signature], names=["signed:1"])]))
    assert [entry.names for entry in archive.entries] == [APP.names, ("signed:1",)]
    with pytest.raises(ImageNotInArchive, match="^%s in .*archive.tar is no image, but application/vnd.cncf.helm.config" % chart.digest):
        select(archive, [chart.digest])


def test_says_what_is_there_instead_of_images(refusal):
    assert refusal(layout([artifact()])) == "holds no image, but application/vnd.cncf.helm.config.v1+json"
    assert refusal(layout([])) == "holds no image"
    assert refusal(layout([index([attestation(APP)])])) == "holds no image"
    assert refusal({"manifest.json": b"[]"}) == "holds no image"


# Choosing


def test_selects_by_any_name_or_digest(read):
    archive = read(layout([APP, OTHER]))
    app, other = archive.entries
    assert select(archive, None) == [app, other]
    for text in ("app:1", "docker.io/library/app:1", "registry.example/app:one", APP.digest, APP.config_digest):
        assert select(archive, [text]) == [app]
    assert select(archive, ["other:2", "app:1"]) == [other, app]


def test_lists_what_there_is_if_an_image_is_not(read):
    archive = read(layout([APP, OTHER]))
    for text in ("app:2", "other", "No/Reference", "sha256:" + "0" * 64):
        with pytest.raises(ImageNotInArchive, match="^%s is not in .*archive.tar, which holds app:1, other:2$" % text):
            select(archive, [text])


@pytest.mark.parametrize(
    ("text", "said"), [(" app:1", "leave out the blanks"), ("a:b@host/app", r"'a:\*\*\*@host/app' is not an image reference: credentials")]
)
def test_says_what_does_not_belong_in_a_wish(read, text, said):
    with pytest.raises(InvalidReference, match=said):
        select(read(layout([APP])), [text])


# Bad input


def without(files, name):
    return {key: content for key, content in files.items() if key != name}


def changed(files, name, content):
    return dict(files, **{name: content})


DOCKER = docker_archive([APP])
CONFIG = APP.config_digest.partition(":")[2] + ".json"
LAYOUT = layout([APP._replace(platform={})])


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"hello": b"x"}, "neither an OCI layout (no index.json) nor a docker archive (no manifest.json): give what docker save"),
        (changed(LAYOUT, "index.json", APP.manifest), "index.json is an image manifest: an OCI layout has an index there"),
        (changed(LAYOUT, "index.json", b""), "index.json: not JSON ("),
        (changed(LAYOUT, "index.json", b"{\xff}"), "index.json: not JSON ("),
        (changed(LAYOUT, "index.json", b"[" * 100000), "index.json: not JSON ("),
        (changed(LAYOUT, "index.json", b'{"schemaVersion":1,"name":"app"}'), "old schema 1 images must be converted first"),
        (changed(LAYOUT, "index.json", b"{" + b" " * (5 << 20) + b"}"), "index.json has 5242882 bytes: no manifest or config is larger than 4194304"),
        (without(LAYOUT, path(APP.digest)), "index.json: the manifest %s that it names is not in the archive" % APP.digest),
        (without(LAYOUT, path(APP.config_digest)), "the config %s of this image is not in the archive" % APP.config_digest),
        (changed(LAYOUT, path(APP.digest), APP.manifest[:-1]), "has only %d bytes where its descriptor says" % (len(APP.manifest) - 1)),
        (changed(LAYOUT, path(APP.digest), APP.manifest + b" "), "has more bytes where its descriptor says"),
        (changed(LAYOUT, path(APP.digest), APP.manifest.replace(b"sha256", b"sha255")), "its bytes are sha256:"),
        (changed(LAYOUT, path(APP.config_digest), APP.config.replace(b"/app", b"/bad")), "not %s as promised: the archive" % APP.config_digest),
        (changed(LAYOUT, path(BASE.digest), BASE.blob[512:]), "layer 1 of %s has %d bytes where the" % (APP.digest[:19], len(BASE.blob) - 512)),
        (changed(LAYOUT, "manifest.json", b"{}"), "manifest.json: a list is wanted where this has {}"),
        (without(DOCKER, CONFIG), "manifest.json: the config %s that it names is not in the archive" % CONFIG),
        (changed(DOCKER, CONFIG, OTHER.config), "its bytes are %s, not what its name says" % OTHER.config_digest),
        (changed(DOCKER, "manifest.json", b""), "manifest.json: not JSON ("),
        (changed(DOCKER, "manifest.json", b"[1]"), "manifest.json: a JSON object is wanted where this has 1"),
        (changed(DOCKER, "manifest.json", b"[1}{"), "manifest.json: not JSON ("),
        (changed(DOCKER, "manifest.json", dump([{"Config": CONFIG, "Layers": ["a"]}])), "manifest.json: 1 layer files for the 2 layers of " + CONFIG),
        (changed(DOCKER, "manifest.json", dump([{"Config": CONFIG, "Layers": [None, 1]}])), "manifest.json: text is wanted where this has 1"),
        (changed(DOCKER, "manifest.json", dump([{"Config": CONFIG, "RepoTags": "app:1"}])), "manifest.json: a list is wanted where this has app:1"),
        (changed(DOCKER, "manifest.json", dump([{"Config": "nothing\0\n"}])), "manifest.json: the config 'nothing\\x00\\n' that it names is not in"),
        (changed(DOCKER, "manifest.json", dump([{}])), "manifest.json: the config '' that it names is not in the archive"),
        (changed(DOCKER, "manifest.json", dump([{"Config": "repositories"}])), "not an image config: it has no rootfs.diff_ids"),
    ],
    ids=range(26),
)
def test_says_what_is_wrong_with_an_archive(refusal, files, why):
    message = refusal(files)
    assert why in message
    assert len(message) < 500


def deep(levels):
    found = APP
    for _level in range(levels):
        found = index([found])
    return found


def test_bounds_how_deep_indexes_lie_in_each_other(read, refusal):
    assert read(layout([deep(4)])).entries[0].variants[0].manifest.digest == APP.digest
    assert "indexes nested more than 4 deep" in refusal(layout([deep(6)]))


def test_looks_at_each_manifest_once_however_often_it_is_named(read):
    found = APP
    for _level in range(5):
        raw = dump({"schemaVersion": 2, "mediaType": images.OCI + "index.v1+json", "manifests": [found.descriptor()] * 1000})
        found = images.MadeIndex((), (found,), (), raw)
    files = layout([found])
    files["index.json"] = found.raw
    assert len(read(files).entries[0].variants) == 1


def test_refuses_configs_outside_of_a_folder(tmp_path):
    (tmp_path / "secret.json").write_bytes(APP.config)
    where = write(tmp_path / "archive", {"manifest.json": dump([{"Config": "../secret.json", "Layers": ["a", "b"]}])})
    with pytest.raises(ArchiveError, match="the name ../secret.json leads out of the archive"):
        Archive(str(where), "scratch")


def test_a_damaged_layer_is_found_when_it_is_read(read):
    for form, kind in FORMS:
        archive = read(changed(LAYOUT, path(BASE.digest), b"x" * len(BASE.blob)), form, kind)
        extent = archive.extents([BASE.digest])[BASE.digest]
        with extent.open() as stream, pytest.raises(BlobMismatch, match="^layer 1: its bytes are"):
            drain(Verified(stream, BASE.digest, extent.size, "layer 1"))


ODD = [None, True, 0, -1, 2 ** 70, 1.5, "", "x", "\0\n", "sha256:" + "0" * 64, "../../etc/passwd", [], ["x"], {}, {"x": 1}, [[[]]]]


def mutated(value, chance):
    """The same document with one thing in it changed, taken away or doubled."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value) if isinstance(value, dict) else range(len(value)))
        copy = value.copy()
        what = chance.random()
        if what < 0.8:
            copy[key] = mutated(value[key], chance)
        elif what < 0.9 or isinstance(value, dict):
            del copy[key]
        else:
            copy.append(value[key])
        return copy
    return chance.choice(ODD)


def rebuilt(target, chance):
    """A layout in which one document was mutated, and all that point to it were told so."""
    config = json.loads(APP.config)
    config = mutated(config, chance) if target == "config" else config
    raw_config = dump(config)
    manifest = json.loads(APP.manifest)
    manifest["config"].update(digest=sha256(raw_config), size=len(raw_config))
    manifest = mutated(manifest, chance) if target == "manifest" else manifest
    raw_manifest = dump(manifest)
    entry = dict(APP.descriptor(), digest=sha256(raw_manifest), size=len(raw_manifest), platform={"os": "linux", "architecture": "amd64"})
    inner = {"schemaVersion": 2, "mediaType": images.OCI + "index.v1+json", "manifests": [entry]}
    inner = mutated(inner, chance) if target == "index" else inner
    raw_inner = dump(inner)
    outer = {"schemaVersion": 2, "manifests": [
        {"digest": sha256(raw_inner), "size": len(raw_inner), "annotations": {"io.containerd.image.name": "app:1"}},
        {"digest": sha256(raw_manifest), "size": len(raw_manifest), "annotations": {"org.opencontainers.image.ref.name": "1"}},
    ]}
    outer = mutated(outer, chance) if target == "index.json" else outer
    docker = [{"Config": path(sha256(raw_config)), "RepoTags": ["app:1"], "Layers": [path(one.digest) for one in APP.layers]}]
    docker = mutated(docker, chance) if target == "manifest.json" else docker
    files = {path(sha256(data)): data for data in (raw_config, raw_manifest, raw_inner, BASE.blob, TOP.blob)}
    files.update({"index.json": dump(outer), "manifest.json": dump(docker)})
    return files


@pytest.mark.parametrize(
    ("target", "docker"),
    [(target, False) for target in ("config", "manifest", "index", "index.json", "manifest.json")] + [("config", True), ("manifest.json", True)],
)
def test_any_document_opens_or_is_refused_in_one_sentence(target, docker, tmp_path):
    refused = 0
    for seed in range(150):
        chance = random.Random("%s %d" % (target, seed))
        files = rebuilt(target, chance)
        where = tmp_path / "archive.tar"
        where.write_bytes(images.tar(without(files, "index.json") if docker else files))
        try:
            archive = Archive(str(where), str(tmp_path / "scratch"))
            assert all(entry.label for entry in archive.entries)
            pickle.dumps(archive)
        except StowageError as error:
            refused += 1
            assert str(error).startswith(str(where))
            assert len(str(error)) < 600 and str(error).isprintable()
    assert 0 < refused < 150


@pytest.mark.parametrize("kind", ["", "gzip", "bzip2", "xz", "zstd"])
def test_any_damage_is_refused_or_does_no_harm(kind, tmp_path):
    whole = compress(images.tar(layout([APP, OTHER, MULTI], docker=True)), kind)
    where = tmp_path / "archive"
    for seed in range(60):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _time in range(chance.choice([1, 1, 5])):
            at = chance.randrange(len(data))
            what = chance.random()
            if what < 0.4:
                data[at] ^= 1 << chance.randrange(8)
            elif what < 0.7:
                del data[at:at + chance.choice([1, 100, 512, 100000])]
            else:
                data[at:at] = data[at:at + 700]
            data = data or bytearray(b"x")
        where.write_bytes(bytes(data))
        try:
            archive = Archive(str(where), str(tmp_path / "scratch"))
            for entry in archive.entries:
                for one in entry.variants:
                    for part in one.layers:
                        if archive.holds(part.descriptor.digest):
                            extent = archive.extents([part.descriptor.digest])[part.descriptor.digest]
                            with extent.open() as stream:
                                drain(Verified(stream, part.descriptor.digest, part.descriptor.size, "layer"))
        except StowageError as error:
            assert str(error).isprintable()
    assert not [path for path in (tmp_path / "scratch").glob("*") if path.name.endswith(".part")]
