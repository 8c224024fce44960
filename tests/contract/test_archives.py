# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that the world's tools wrote: each image has the name and the digests that its writer says, and all of its bytes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import debs
import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive
from ansible_collections.stowage.oci.plugins.module_utils._oci.entries import Entry
from ansible_collections.stowage.oci.plugins.module_utils._oci.compression import HEAD, Expanding, sniff
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import CHUNK, Verified, drain
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_LAYER, oci_type
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.images import image, index, layer

BASE = layer({"bin/": None, "bin/base": b"base" * 1000})
APP = image([BASE, layer({"app": b"1"})], ["docker.io/library/app:1", "docker.io/library/app:again"], config={"Cmd": ["/app"]})
OTHER = image([BASE, layer({"other": b"2"}), BASE], ["registry.example/team/other:2"])
ARM = image([BASE], platform="linux/arm64")
MULTI = index([APP, ARM], ["docker.io/library/multi:1"])
ARCHIVE = images.tar(images.docker_archive([APP, OTHER]))
SKOPEO = ("skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false")


def run(*command, **environ: str) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env={**os.environ, **environ})
    assert not done.returncode, done.stderr
    return done.stdout


def proven(path: Path, kind: str = "") -> dict[tuple[str, ...], Entry]:
    """The archive's entries by their canonical names, after every byte of them was looked at."""
    if kind:
        path = images.pack(path, kind)
    archive = Archive(str(path), str(path.parent / "scratch"))
    for entry in archive.entries:
        assert entry.variants
        for one in entry.variants:
            assert _sha256(one.raw_config) == one.config.digest == one.manifest.config.digest
            assert _sha256(archive.document(one.manifest.digest)) == one.manifest.digest
            for part in one.layers:
                extent = archive.extents([part.descriptor.digest])[part.descriptor.digest]
                with extent.open() as stream:
                    assert drain(Verified(stream, part.descriptor.digest, part.descriptor.size, "layer")) == extent.size
                with extent.open() as stream:
                    packed = sniff(extent.read(HEAD))
                    assert oci_type(part.descriptor.media_type) == (f"{OCI_LAYER}+{packed}" if packed else OCI_LAYER)
                    reader = Expanding(stream, packed, "layer") if packed else stream
                    tar = hashlib.sha256()
                    for data in iter(lambda: reader.read(CHUNK), b""):
                        tar.update(data)
                assert f"sha256:{tar.hexdigest()}" == part.diff_id
    return {tuple(sorted(str(parse(name)) for name in entry.names)): entry for entry in archive.entries}


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def configs(entry: Entry) -> list[str]:
    return [str(one.config.digest) for one in entry.variants]


def stated(transport: str) -> str:
    """The config's digest as skopeo says it."""
    return _sha256(run("skopeo", "inspect", "--config", "--raw", transport).encode())


# Docker


def saved(engine: engines.Engine, tmp_path: Path, *names: str) -> Path:
    """What docker save writes."""
    path = tmp_path / "saved.tar"
    path.write_bytes(engine.call("GET", "/images/get?" + "&".join(f"names={name}" for name in names)))
    return path


@pytest.mark.parametrize("kind", ["", *images.COMPRESSIONS])
def test_docker_save(docker, kind, tmp_path):
    docker.call("POST", "/images/load", ARCHIVE)
    found = proven(saved(docker, tmp_path, *APP.names, *OTHER.names), kind)
    assert found.keys() == {APP.names, OTHER.names}
    for made in (APP, OTHER):
        (one,) = found[made.names].variants
        shown = docker.json("GET", f"/images/{made.names[0]}/json")
        assert shown["Id"] == (one.manifest.digest if docker.store == "containerd" else one.config.digest)
        assert shown["RootFS"]["Layers"] == [part.diff_id for part in one.layers]
        assert one.raw_config == made.config


def test_docker_save_of_one_image_by_name_and_by_id(docker, tmp_path):
    docker.call("POST", "/images/load", ARCHIVE)
    (names,) = proven(saved(docker, tmp_path, APP.names[0]))
    assert names == APP.names[:1]
    found = proven(saved(docker, tmp_path, docker.json("GET", f"/images/{APP.names[0]}/json")["Id"]))
    assert {names: configs(entry) for names, entry in found.items()} == {(): [APP.config_digest]}


def test_docker_save_of_an_image_for_several_platforms(containerd, tmp_path):
    containerd.call("POST", "/images/load", images.tar(images.layout([MULTI])))
    found = proven(saved(containerd, tmp_path, *MULTI.names))
    assert configs(found[MULTI.names]) == [APP.config_digest, ARM.config_digest]
    assert found[MULTI.names].handles[0] == containerd.json("GET", f"/images/{MULTI.names[0]}/json")["Id"] == MULTI.digest


def test_docker_save_of_one_platform_of_several(containerd, stocked, tmp_path):
    containerd.call("POST", f"/images/create?fromImage={stocked}/multi&tag=1&platform=linux/amd64")
    found = proven(saved(containerd, tmp_path, f"{stocked}/multi:1"))
    assert configs(found[(f"{stocked}/multi:1",)]) == [APP.config_digest]
    assert found[(f"{stocked}/multi:1",)].absent == ("linux/arm64",)


def test_buildx(containerd, tmp_path):
    """OCI and docker archives of BuildKit, with the provenance that it adds."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text("FROM scratch\nCOPY file /\nCMD [\"/file\"]\n")
    (tmp_path / "context/file").write_text("content")
    buildx = debs.docker(28) / "usr/libexec/docker/cli-plugins/docker-buildx"
    for kind in ("oci", "docker"):
        path = tmp_path / f"{kind}.tar"
        run(
            buildx, "build", "--tag", "built:1", "--output", f"type={kind},dest={path}", tmp_path / "context",
            DOCKER_HOST=containerd.url, DOCKER_CONFIG=str(tmp_path / "config"),
        )
        found = proven(path)
        assert found.keys() == {("docker.io/library/built:1",)}
        (one,) = found[("docker.io/library/built:1",)].variants
        assert json.loads(one.raw_config)["config"]["Cmd"] == ["/file"]


# Podman


def exported(podman: engines.Engine, tmp_path: Path, form: str, *names: str) -> Path:
    """What podman save writes, with -m if there are several names."""
    path = tmp_path / "saved.tar"
    references = "&".join(f"references={name}" for name in names)
    path.write_bytes(podman.call("GET", f"/v4.0.0/libpod/images/export?format={form}&{references}"))
    return path


def test_podman_save_of_several_images(podman, tmp_path):
    podman.call("POST", "/images/load", ARCHIVE)
    found = proven(exported(podman, tmp_path, "docker-archive", *APP.names, *OTHER.names))
    assert found.keys() == {APP.names, OTHER.names}
    for names, entry in found.items():
        assert configs(entry) == [podman.json("GET", f"/images/{names[0]}/json")["Id"]]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_save_of_one_image_by_name_and_by_id(podman, form, tmp_path):
    podman.call("POST", "/images/load", ARCHIVE)
    image_id = podman.json("GET", f"/images/{APP.names[0]}/json")["Id"]
    for name, names in ((APP.names[0], APP.names[:1]), (image_id, ())):
        path = exported(podman, tmp_path, form, name)
        found = proven(path)
        assert {names: configs(entry) for names, entry in found.items()} == {names: [stated(f"{form}:{path}")]}
        # An OCI archive gets another config than the image has that was loaded as Docker's.
        assert (configs(found[names]) == [image_id]) == (form == "docker-archive")
        assert [part.diff_id for part in found[names].variants[0].layers] == APP.diff_ids


# From a registry: skopeo, crane


@pytest.fixture(scope="session")
def stocked(registry: engines.Registry) -> str:
    """A place in the registry that has app:1 and, for two platforms, multi:1."""
    place = f"{registry.host}/archives"
    with TemporaryDirectory() as folder:
        source = Path(folder, "source.tar")
        source.write_bytes(ARCHIVE)
        run(*SKOPEO, f"docker-archive:{source}:{APP.names[0]}", f"docker://{place}/app:1")
        images.write_layout(Path(folder, "layout"), [MULTI], annotate="oci")
        run(*SKOPEO, "--all", f"oci:{folder}/layout:{MULTI.names[0]}", f"docker://{place}/multi:1")
    return place


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("docker-archive:{}/a.tar", ()),
        ("docker-archive:{}/a.tar:registry.example/app:1", ("registry.example/app:1",)),
        ("oci-archive:{}/a.tar", ()),
        ("oci-archive:{}/a.tar:1", ()),
        ("oci-archive:{}/a.tar:registry.example/app:1", ("registry.example/app:1",)),
        ("oci:{}/a", ()),
        ("oci:{}/a:registry.example/app:1", ("registry.example/app:1",)),
    ],
)
def test_skopeo_copy(stocked, target, names, tmp_path):
    run(*SKOPEO, f"docker://{stocked}/app:1", target.format(tmp_path))
    (path,) = tmp_path.iterdir()
    found = proven(path)
    assert {names: configs(entry) for names, entry in found.items()} == {names: [stated(target.format(tmp_path))]}
    assert [part.diff_id for part in found[names].variants[0].layers] == APP.diff_ids


def test_skopeo_copy_of_all_platforms_and_of_several_images(stocked, tmp_path):
    run(*SKOPEO, "--all", f"docker://{stocked}/multi:1", f"oci:{tmp_path}/a:{MULTI.names[0]}")
    run(*SKOPEO, "--dest-compress-format=zstd", f"docker://{stocked}/app:1", f"oci:{tmp_path}/a:{APP.names[0]}")
    found = proven(tmp_path / "a")
    assert configs(found[MULTI.names]) == [APP.config_digest, ARM.config_digest]
    assert configs(found[APP.names[:1]]) == [stated(f"oci:{tmp_path}/a:{APP.names[0]}")]


@pytest.fixture(scope="session")
def crane() -> Path:
    """The program of Debian's unstable suite, unpacked into the cache beside this system."""
    with debs.lock("crane"):
        tree = debs.CACHE / "debs/crane"
        if not tree.exists():
            with TemporaryDirectory(dir=debs.CACHE) as folder:
                debs.Suite(Path(folder), "unstable").unpack(["crane"], Path(folder, "tree"))
                tree.parent.mkdir(exist_ok=True)
                Path(folder, "tree").rename(tree)
    return tree / "usr/bin/crane"


@pytest.mark.parametrize("form", ["tarball", "legacy", "oci"])
def test_crane_pull(crane, stocked, form, tmp_path):
    run(crane, "pull", "--insecure", f"--format={form}", f"{stocked}/app:1", tmp_path / "a.tar")
    found = proven(tmp_path / "a.tar")
    assert {names: configs(entry) for names, entry in found.items()} == {() if form == "oci" else (f"{stocked}/app:1",): [APP.config_digest]}
    assert _sha256(run(crane, "config", "--insecure", f"{stocked}/app:1").encode()) == APP.config_digest


def test_crane_pull_of_several_images(crane, stocked, tmp_path):
    names = (f"{stocked}/app:1", f"{stocked}/multi:1")
    run(crane, "pull", "--insecure", *names, tmp_path / "a.tar")
    # Of several platforms crane takes linux/amd64, which is the same image here.
    assert {names: configs(entry) for names, entry in proven(tmp_path / "a.tar").items()} == {names: [APP.config_digest]}


def test_crane_pull_again_into_a_layout(crane, stocked, tmp_path):
    names = (f"{stocked}/app:1", f"{stocked}/multi:1")
    for _time in range(2):
        run(crane, "pull", "--insecure", "--format=oci", "--annotate-ref", *names, tmp_path / "a")
    assert len(json.loads((tmp_path / "a/index.json").read_text())["manifests"]) == 4
    found = proven(tmp_path / "a")
    assert {names: configs(entry) for names, entry in found.items()} == {
        names[:1]: [APP.config_digest], names[1:]: [APP.config_digest, ARM.config_digest],
    }
    for name in names:
        assert found[(name,)].handles[0] == run(crane, "digest", "--insecure", name).strip()
