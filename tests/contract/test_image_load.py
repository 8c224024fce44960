# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_load on real engines: what is sent, and that the right image is there afterwards, whatever came before."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import os
import random
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Callable, Iterable, NamedTuple

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine import probe
from ansible_collections.stowage.oci.plugins.module_utils._engine.engine import Engine
from ansible_collections.stowage.oci.plugins.module_utils._oci import reference, thin
from ansible_collections.stowage.oci.plugins.modules import image_load
from ansible_collections.stowage.oci.tests.unit import images, loading
from ansible_collections.stowage.oci.tests.unit.images import Layer, Made, MadeIndex, image, layer
from ansible_collections.stowage.oci.tests.unit.running import outcome

NAME, BASE_NAME = "docker.io/library/app:1", "docker.io/library/base:1"
SLACK = 64 << 10
"""Bytes that an update of one layer may cost beside that layer, its config and its manifest."""


# Bases, in all the ways that one comes to a host


def noise(size: int, seed: str) -> bytes:
    return random.Random(seed).randbytes(size)


def base_layers(seed: str, kind: str = "") -> list[Layer]:
    return [
        layer({"base/big": noise(400_000, seed), "base/name": seed.encode()}, kind),
        layer({"base/small": seed.encode()}, kind),
    ]


def pulled(engine: engines.Engine, registry: engines.Registry, tmp_path: Path) -> tuple[str, list[Layer]]:
    base = image(base_layers(f"pulled {engine.kind}", "gzip"))
    name = f"{registry.host}/load/{engine.kind}"
    upload(registry, f"load/{engine.kind}", base)
    engine.call("POST", f"/images/create?fromImage={name}&tag=1")
    return f"{name}:1", list(base.layers)


def loaded_docker_archive(engine: engines.Engine, registry: engines.Registry, tmp_path: Path) -> tuple[str, list[Layer]]:
    base = image(base_layers(f"docker {engine.kind}"), names=[BASE_NAME])
    engine.call("POST", "/images/load", images.tar(images.docker_archive([base])))
    return BASE_NAME, list(base.layers)


def loaded_layout(engine: engines.Engine, registry: engines.Registry, tmp_path: Path) -> tuple[str, list[Layer]]:
    base = image(base_layers(f"layout {engine.kind}", "gzip"), names=[BASE_NAME])
    engine.call("POST", "/images/load", images.tar(images.layout([base], docker=True)))
    return BASE_NAME, list(base.layers)


def loaded_by_us(engine: engines.Engine, registry: engines.Registry, tmp_path: Path) -> tuple[str, list[Layer]]:
    base = image(base_layers(f"ours {engine.kind}", "gzip"), names=[BASE_NAME])
    loading.load(images.write_layout(tmp_path / "base", [base]), **options(engine, tmp_path))
    return BASE_NAME, list(base.layers)


def built(engine: engines.Engine, registry: engines.Registry, tmp_path: Path) -> tuple[str, list[Layer]]:
    files = {"base/big": noise(400_000, f"built {engine.kind}"), "base/name": b"built"}
    context = images.tar({**files, "Dockerfile": b"FROM scratch\nCOPY base/big /base/big\nCOPY base/name /base/name\nCMD [\"/x\"]\n"})
    engine.call("POST", f"/build?t={BASE_NAME}", context, {"Content-Type": "application/x-tar"})
    return BASE_NAME, [Layer(data, data, "") for data in exported(engine, BASE_NAME)]


ORIGINS = {one.__name__: one for one in (pulled, loaded_docker_archive, loaded_layout, loaded_by_us, built)}


# Archives of an application that stands on such a base


def docker_archive(where: Path, app: Made) -> Path:
    return images.write_docker_archive(where.with_suffix(".tar"), [app])


def layout(where: Path, app: Made) -> Path:
    return images.write_layout(where, [app])


FORMS: dict[str, tuple[str, Callable[[Path, Made], Path]]] = {
    "docker-archive": ("", docker_archive),
    "layout": ("", layout),
    "layout-gzip": ("gzip", layout),
    "layout-zstd": ("zstd", layout),
}


def expanded(blob: bytes) -> bytes:
    if blob.startswith(b"\x1f\x8b"):
        return gzip.decompress(blob)
    if blob.startswith(b"\x28\xb5\x2f\xfd"):
        return subprocess.run(["zstd", "-d", "-c", "-q"], input=blob, stdout=subprocess.PIPE, check=True).stdout
    return blob


def packed(layers: list[Layer], kind: str) -> list[Layer]:
    return [Layer(one.tar, images.compress(one.tar, kind), kind) for one in layers]


# What is on an engine


def exported(engine: engines.Engine, name: str) -> list[bytes]:
    """The uncompressed layers of an image, from what the engine saves of it; each is what the config says."""
    with tarfile.open(fileobj=io.BytesIO(engine.call("GET", f"/images/{name}/get"))) as archive:

        def read(member: str) -> bytes:
            file = archive.extractfile(member)
            assert file
            return file.read()

        item = json.loads(read("manifest.json"))[0]
        layers = [expanded(read(one)) for one in item["Layers"]]
        diff_ids = json.loads(read(item["Config"]))["rootfs"]["diff_ids"]
    assert diff_ids == [images.sha256(data) for data in layers]
    return layers


def read(engine: engines.Engine, name: str, path: str) -> bytes:
    """A file of an image, out of a container that is never started."""
    container = engine.json("POST", "/containers/create", {"Image": name, "Cmd": ["/x"]})["Id"]
    try:
        with tarfile.open(fileobj=io.BytesIO(engine.call("GET", f"/containers/{container}/archive?path=/{path}"))) as archive:
            file = archive.extractfile(archive.getmembers()[0])
            assert file
            return file.read()
    finally:
        engine.call("DELETE", f"/containers/{container}?force=1")


def state(engine: engines.Engine) -> list[tuple[str, list[str]]]:
    """All images that an engine lists, with their names."""
    listed = [(one["Id"], sorted(name for name in one["RepoTags"] or [] if "<none>" not in name)) for one in engine.json("GET", "/images/json")]
    return sorted(listed)


def real_names(engine: engines.Engine, name: str) -> list[str]:
    """All names of an image, as the engine lists them."""
    return sorted(engine.json("GET", f"/images/{name}/json")["RepoTags"])


def options(engine: engines.Engine, tmp_path: Path) -> dict[str, str]:
    return {"engine_host": engine.url, "staging_dir": str(tmp_path / "staging")}


def is_right(engine: engines.Engine, app: Made, files: dict[str, bytes]) -> None:
    """The one oracle: the engine shows, runs and saves exactly this image."""
    document = engine.json("GET", f"/images/{NAME}/json")
    assert document["RootFS"]["Layers"] == app.diff_ids
    if engine.store != "containerd":
        assert document["Id"] == app.config_digest
    for path, content in files.items():
        assert read(engine, NAME, path) == content
    assert exported(engine, NAME) == [one.tar for one in app.layers]


def upload(registry: engines.Registry, repository: str, made: Made | MadeIndex) -> None:
    """Put an image, or an index and its images, into a registry, tagged 1."""
    connection = http.client.HTTPConnection(registry.host)

    def send(method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream") -> http.client.HTTPResponse:
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (201, 202), answer.status
        return answer

    manifests = [*getattr(made, "children", ()), made]
    for digest, data in made.blobs.items():
        if digest not in [one.digest for one in manifests]:
            place = send("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
            send("PUT", f"{place}&digest={digest}", data)
    for one in manifests:
        send("PUT", f"/v2/{repository}/manifests/{'1' if one is made else one.digest}", made.blobs[one.digest], one.descriptor()["mediaType"])
    connection.close()


class Cell(NamedTuple):
    """Bytes of one update of one layer: of its blob, config and manifest in the archive, and of what was sent."""

    engine: str
    origin: str
    archive: str
    missing: int
    sent: int


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory):
    """Collects cells; printed at the end, and kept in the run's temporary folder."""
    cells: list[Cell] = []
    yield cells
    width = [max(len(str(value)) for value in column) for column in zip(Cell._fields, *cells)]
    lines = ["  ".join(str(value).ljust(size) for value, size in zip(row, width)) for row in [Cell._fields, *cells]]
    print("", *lines, sep="\n")
    (tmp_path_factory.getbasetemp() / "sent.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_update_of_one_layer_sends_that_layer(engine, registry, tmp_path, table, origin):
    base_name, base = ORIGINS[origin](engine, registry, tmp_path)
    before = state(engine)
    for form, (kind, write) in FORMS.items():
        top = layer({"app/run": form.encode(), "app/more": noise(20_000, form)}, kind)
        app = image([*packed(base, kind), top], names=[NAME], config={"Cmd": ["/app/run"], "Env": ["A=1"]})
        src = write(tmp_path / form, app)
        unread = kind == "zstd" and engine.kind == "docker-20.10"

        real, again = loading.four_times(src, **options(engine, tmp_path))

        blob = top.diff_id if unread else top.digest
        size = len(top.tar) if unread else len(top.blob)
        documents = {digest: size for digest, size in real.sent.items() if digest != blob}
        assert real.sent[blob] == size
        assert app.config_digest in documents and len(documents) == 2
        assert real.sent_bytes <= size + len(app.config) + len(app.manifest) + SLACK
        assert real.result["held_blobs"] == len(base)
        is_right(engine, app, {"base/name": read(engine, base_name, "base/name"), "app/run": form.encode()})
        assert again.asks == []
        table.append(Cell(engine.kind, origin, form, len(top.blob) + len(app.config) + len(app.manifest), real.sent_bytes))

        engine.call("DELETE", f"/images/{NAME}")
        assert state(engine) == before
        assert not list((tmp_path / "staging").iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_a_host_that_has_nothing_gets_all_of_it(engine, tmp_path, form):
    kind, write = FORMS[form]
    app = image([*base_layers("fresh", kind), layer({"app/run": b"1"}, kind)], names=[NAME], config={"Cmd": ["/app/run"]})

    real, _again = loading.four_times(write(tmp_path / "app", app), **options(engine, tmp_path))

    assert len(real.sent) == 5 and real.result["held_blobs"] == 0
    is_right(engine, app, {"base/name": b"fresh", "app/run": b"1"})
    assert state(engine) == [(engine.json("GET", f"/images/{NAME}/json")["Id"], real_names(engine, NAME))]


def test_what_podman_got_as_zstd_can_be_pushed(podman, registry, tmp_path):
    app = image([layer({"app/run": noise(30_000, "zstd")}, "zstd")], names=[NAME])
    loading.load(images.write_layout(tmp_path / "app", [app]), **options(podman, tmp_path))
    name = f"{registry.host}/load/zstd"
    podman.call("POST", f"/images/{NAME}/tag?repo={name}&tag=1")
    assert b'"error"' not in podman.call("POST", f"/images/{name}/push?tag=1", headers={"X-Registry-Auth": "e30="})
    podman.wipe()
    podman.call("POST", f"/images/create?fromImage={name}&tag=1")
    assert read(podman, f"{name}:1", "app/run") == noise(30_000, "zstd")


# What a base may look like on the containerd store


def update(engine: engines.Engine, tmp_path: Path, base: list[Layer]) -> loading.Loaded:
    """Load an application on these layers; the image is right."""
    top = layer({"app/run": b"update"}, "gzip")
    app = image([*base, top], names=[NAME])
    src = images.write_layout(tmp_path / "update", [app])
    real, _again = loading.four_times(src, **options(engine, tmp_path))
    is_right(engine, app, {"app/run": b"update"})
    return real


def test_a_base_that_was_pulled_as_an_index(engine, registry, tmp_path):
    base = image(base_layers("index", "gzip"))
    other = image([layer({"arm": b"1"}, "gzip")], platform="linux/arm64")
    name = f"{registry.host}/load/index-{engine.kind}"
    index = images.index([other, base, images.attestation(base)])
    upload(registry, f"load/index-{engine.kind}", index)
    engine.call("POST", f"/images/create?fromImage={name}&tag=1")
    before = state(engine)

    assert len(update(engine, tmp_path, packed(list(base.layers), "")).sent) == 3

    assert [one for one in state(engine) if one in before] == before


def test_layers_of_several_bases(engine, tmp_path):
    """Only the containerd store and Podman know a layer that lies elsewhere."""
    one, two = base_layers("one", "gzip")[:1], base_layers("two", "gzip")[:1]
    for number, layers in enumerate((one, two)):
        made = image(layers, names=[f"docker.io/library/base{number}:1"])
        engine.call("POST", "/images/load", images.tar(images.layout([made], docker=True)))
    before = state(engine)

    sent = update(engine, tmp_path, packed(one + two, "")).sent

    assert (two[0].diff_id in sent) == (engine.store == "classic")
    assert one[0].diff_id not in sent
    assert [each for each in state(engine) if each in before] == before


def test_a_base_for_another_platform(engine, tmp_path):
    base = image(base_layers("arm", "gzip"), names=[BASE_NAME], platform="linux/arm64/v8")
    engine.call("POST", "/images/load", images.tar(images.layout([base], docker=True)))
    app = image([*packed(list(base.layers), ""), layer({"app/run": b"arm"})], names=[NAME], platform="linux/arm64/v8")

    real, _again = loading.four_times(images.write_layout(tmp_path / "app", [app]), platform="linux/arm64", **options(engine, tmp_path))

    assert len(real.sent) == 3
    is_right(engine, app, {})


@pytest.mark.parametrize("name", [None, "base:1"])
def test_what_a_probe_would_destroy_is_left_alone(containerd, tmp_path, name):
    """Docker deletes an image with its last name, and a name that is not in canonical form with any other."""
    base = image(base_layers("frail", "gzip"), names=[name] if name else [])
    containerd.call("POST", "/images/load", images.tar(images.layout([base], docker=True, annotate="containerd")))
    before = state(containerd)

    try:
        assert len(update(containerd, tmp_path, list(base.layers)).sent) == 5
        assert [one for one in state(containerd) if one in before] == before
    finally:
        containerd.call("DELETE", f"/images/{base.digest}?force=1")  # by a name that no look-up finds it cannot be removed


def test_an_engine_that_cannot_reach_us_gets_everything(containerd, tmp_path, monkeypatch):
    """As one in a network of its own: nothing listens where it looks."""
    base = image(base_layers("apart", "gzip"), names=[BASE_NAME])
    containerd.call("POST", "/images/load", images.tar(images.layout([base], docker=True)))
    before = state(containerd)
    monkeypatch.setattr(probe, "parse_reference", lambda text: reference.parse(re.sub(":[0-9]+/", ":9/", text)))

    assert len(update(containerd, tmp_path, list(base.layers)).sent) == 5

    assert [one for one in state(containerd) if one in before] == before


# Believed by nobody


class Sabotage:
    """Something happens to the engine right before a load, the first of the task or each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object], times: int = 1) -> None:
        self.loads = 0
        whole = Engine.load

        def load(client: Engine, archive: Iterable[bytes]) -> object:
            self.loads += 1
            if self.loads <= times:
                happens()
            return whole(client, archive)

        monkeypatch.setattr(Engine, "load", load)


@pytest.mark.parametrize("when", ["between the rounds", "right before the load"])
def test_a_base_that_vanishes(engine, tmp_path, monkeypatch, when):
    base = image(base_layers("gone", "gzip"), names=[BASE_NAME])
    engine.call("POST", "/images/load", images.tar(images.layout([base], docker=True)))
    app = image([*base.layers, layer({"app/run": b"1"}, "gzip")], names=[NAME])
    src = images.write_layout(tmp_path / "app", [app])

    def vanish() -> None:
        engine.call("DELETE", f"/images/{BASE_NAME}?force=1")

    between = loading.once(vanish) if when == "between the rounds" else lambda: None
    sabotage = Sabotage(monkeypatch, vanish, times=0 if when == "between the rounds" else 1)
    loaded = loading.load(src, between=between, **options(engine, tmp_path))

    assert loaded.sent == {digest: len(data) for digest, data in app.blobs.items()}
    assert loaded.actions == ["loaded"]
    assert sabotage.loads == 2
    is_right(engine, app, {"base/name": b"gone", "app/run": b"1"})
    assert len(state(engine)) == 1
    assert not list((tmp_path / "staging").iterdir())


def test_nothing_is_left_of_a_load_that_fails_for_good(engine, tmp_path, monkeypatch):
    """The base vanishes before the thin load, and the full one reaches the engine without the first layer."""
    base = image(base_layers("lost", "gzip"), names=[BASE_NAME])
    old = image([layer({"old": b"1"})], names=[NAME])
    for made in (base, old):
        engine.call("POST", "/images/load", images.tar(images.layout([made], docker=True)))
    (before,) = [one for one in state(engine) if real_names(engine, NAME) == one[1]]
    app = image([*base.layers, layer({"app/run": b"1"}, "gzip")], names=[NAME])
    Sabotage(monkeypatch, lambda: engine.call("DELETE", f"/images/{BASE_NAME}?force=1"))
    whole = thin.stream

    def poor(manifest, config, sent, notes, reader):
        return whole(manifest, config, [one for one in sent if one.digest != base.layers[0].digest], notes, reader)

    monkeypatch.setattr(thin, "stream", poor)
    src = images.write_layout(tmp_path / "app", [app])
    failed = loading.load(src, **options(engine, tmp_path))

    assert failed.result["failed"] and not failed.result["changed"]
    assert failed.result["msg"].startswith(f"{NAME}: the engine at {engine.url} did not load it: ")
    assert state(engine) == [before]
    monkeypatch.setattr(thin, "stream", whole)
    again = loading.load(src, **options(engine, tmp_path))
    assert (again.actions, again.sent) == (["loaded"], {})
    is_right(engine, app, {"app/run": b"1"})


def test_half_an_image_from_elsewhere_is_made_whole(containerd, tmp_path):
    app = image(base_layers("half", "gzip"), names=[NAME])
    containerd.call("POST", "/images/load", images.tar(images.layout([app], docker=True, without=[app.layers[0].digest])))
    assert containerd.json("GET", f"/images/{NAME}/json")["RootFS"] == {}

    real, _again = loading.four_times(images.write_layout(tmp_path / "app", [app]), **options(containerd, tmp_path))

    assert real.sent == {digest: len(data) for digest, data in app.blobs.items()}
    is_right(containerd, app, {"base/name": b"half"})


@pytest.mark.parametrize("when", ["between the rounds", "right before it is set"])
def test_a_name_that_somebody_else_moves(engine, tmp_path, monkeypatch, when):
    for made in (image(base_layers("their", "gzip"), names=[BASE_NAME]), image([layer({"old": b"1"})], names=[NAME])):
        engine.call("POST", "/images/load", images.tar(images.layout([made], docker=True)))
    app = image([*base_layers("their", "gzip"), layer({"app/run": b"1"}, "gzip")], names=[NAME])
    src = images.write_layout(tmp_path / "app", [app])

    def move() -> None:
        engine.call("POST", f"/images/{BASE_NAME}/tag?repo=docker.io/library/app&tag=1")

    Sabotage(monkeypatch, move, times=0 if when == "between the rounds" else 1)
    result = loading.load(src, between=move if when == "between the rounds" else lambda: None, **options(engine, tmp_path)).result

    theirs = engine.json("GET", f"/images/{BASE_NAME}/json")["Id"]
    assert result["failed"] and not result["changed"]
    assert f"{NAME}: somebody else moved it from sha256:" in result["msg"] and f" to {theirs} while this task ran; it was left alone" in result["msg"]
    assert engine.json("GET", f"/images/{NAME}/json")["Id"] == theirs
    again = loading.load(src, **options(engine, tmp_path))
    assert again.actions == ["loaded" if when == "between the rounds" else "tagged"] and again.sent == {}
    is_right(engine, app, {"app/run": b"1"})


# Shapes


def foreign(made: Made) -> Made:
    """As Windows images have it: the layer may be had elsewhere, and yet it is in the archive."""
    document = json.loads(made.manifest)
    document["layers"][0].update(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", urls=["https://example.com/layer"])
    return made._replace(manifest=images.dump(document))


SHAPES = {
    "foreign layer": foreign(image([layer({"a": b"1"}, "gzip")], names=[NAME])),
    "no layers": image([], names=[NAME], config={"Cmd": ["/x"]}),
    "repeated layers": image([layer({"a": b"1"}), layer({}), layer({"b": b"1"}), layer({}), layer({})], names=[NAME]),
    "docker types": image([layer({"a": b"1"}, "gzip"), layer({"b": b"1"})], names=[NAME], docker=True),
    "xz and bzip2": image([layer({"a": b"1"}, "xz"), layer({"b": b"1"}, "bzip2")], names=[NAME]),
    "rich config": image(
        [layer({"a": b"1"})], names=[NAME], created="2024-05-01T10:00:00.123456789+02:00",
        config={"Labels": {"a": "b"}, "StopTimeout": 5, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}}, "OnBuild": ["RUN x"], "Shell": ["/s"]},
    ),
    "bare config": image([layer({"a": b"1"})], names=[NAME], created=None),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_of_any_shape(engine, tmp_path, shape):
    app = SHAPES[shape]
    loading.four_times(images.write_layout(tmp_path / "app", [app]), **options(engine, tmp_path))
    document = engine.json("GET", f"/images/{NAME}/json")
    assert (document["RootFS"].get("Layers") or []) == app.diff_ids
    if engine.store != "containerd":
        assert document["Id"] == app.config_digest
    if app.layers:
        assert read(engine, NAME, "a") == b"1"
    if app.layers and (engine.store, shape) != ("containerd", "foreign layer"):  # which that store leaves out of what it saves
        assert exported(engine, NAME) == [one.tar for one in app.layers]


def test_as_many_layers_as_an_image_may_have(engine, tmp_path):
    """127; the classic store takes 125."""
    app = image([layer({f"f{number}": b"1"}) for number in range(127)], names=[NAME])
    loaded = loading.load(images.write_layout(tmp_path / "app", [app]), **options(engine, tmp_path))
    if engine.store == "classic":
        assert loaded.result["msg"] == f"{NAME}: the engine at {engine.url} did not load it: max depth exceeded"
        assert state(engine) == []
    else:
        is_right(engine, app, {"f0": b"1", "f126": b"1"})


def test_several_images_and_platforms_of_one_bundle(engine, tmp_path):
    """Blobs that they share are sent once, each is for this host, and short names are Docker's, on Podman too."""
    base = base_layers("bundle", "gzip")
    app = image([*base, layer({"app/run": b"1"}, "gzip")], config={"Cmd": ["/x"]})
    arm = image([*base, layer({"app/run": b"arm"}, "gzip")], platform="linux/arm64")
    multi = images.index([arm, app, images.attestation(app)], names=[NAME])
    twin = image([*packed(base, ""), layer({"twin": b"1"})], names=["twin:1", "quay.io/team/twin:stable"])
    src = images.write_layout(tmp_path / "bundle", [multi, twin])

    real, _again = loading.four_times(src, names={"quay.io/": "registry.example.com/"}, **options(engine, tmp_path))

    unpacked = [one.diff_id for one in base]
    assert real.sent == {digest: len(data) for digest, data in {**app.blobs, **twin.blobs}.items() if digest not in unpacked}
    is_right(engine, app, {"app/run": b"1"})
    for name in ("docker.io/library/twin:1", "registry.example.com/team/twin:stable"):
        assert engine.json("GET", f"/images/{name}/json")["RootFS"]["Layers"] == twin.diff_ids
    # Podman knows localhost/app:1 by the short name too: that is another image than docker.io/library/app:1.
    engine.call("POST", f"/images/{NAME}/tag?repo=localhost/twin&tag=1")
    assert loading.load(src, names={"quay.io/": "registry.example.com/"}, **options(engine, tmp_path)).actions == ["kept", "kept"]


# Staging


def test_a_folder_of_another_user_is_refused(engine, tmp_path):
    src = images.write_layout(tmp_path / "app", [SHAPES["docker types"]])
    theirs = tmp_path / "staging" / f"stowage.oci-{os.geteuid()}"
    theirs.mkdir(parents=True, mode=0o700)
    os.chown(theirs, 65534, 65534)
    for check in (True, False):
        result = loading.load(src, check, **options(engine, tmp_path)).result
        assert result["msg"] == f"{theirs} is not a folder that this user alone can use: remove it, or name another folder with staging_dir"
    assert state(engine) == [] and not list(theirs.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_too_small_is_told_before_anything_is_sent(engine, tmp_path, small_disk):
    app = image([layer({"big": noise(2_000_000, "big")})], names=[NAME])
    src = images.write_layout(tmp_path / "app", [app])
    for check in (True, False):
        loaded = loading.load(src, check, engine_host=engine.url, staging_dir=str(small_disk))
        assert loaded.asks == []
        assert re.match(rf"staging what is sent needs 2\.0 MB in {small_disk}.*, where 1\.0 MB are free: make room", loaded.result["msg"])
    assert state(engine) == []


def test_a_disk_that_is_too_small_for_what_is_expanded_there(docker20, tmp_path, small_disk):
    """A layer that this engine does not read as it is, in an archive on the host."""
    app = image([layer({"big": b"\0" * 4_000_000}, "zstd")], names=[NAME])
    src = images.write_layout(tmp_path / "app", [app])
    result = outcome(image_load, False, {"src": str(src), "remote_src": True, "engine_host": docker20.url, "staging_dir": str(small_disk)})
    assert re.search(rf"{small_disk}/stowage\.oci-.*: No space left on device", result["msg"])
    assert not list(small_disk.iterdir()) and state(docker20) == []


def test_a_blob_that_is_not_its_digest_never_reaches_the_engine(engine, tmp_path):
    app = SHAPES["docker types"]
    src = images.write_layout(tmp_path / "app", [app])
    path = src / images.path(app.layers[0].digest)
    path.write_bytes(b"x" * path.stat().st_size)
    log = engine.log.read_bytes()
    result = loading.load(src, **options(engine, tmp_path)).result
    assert result["msg"].startswith(f"layer 1 of {NAME}: its bytes are sha256:")
    assert state(engine) == [] and b"/images/load" not in engine.log.read_bytes()[len(log):]
