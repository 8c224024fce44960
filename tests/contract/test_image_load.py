# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_load on real engines: what is sent, and that the right image is there afterwards, whatever came before."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import random
import subprocess
import tarfile
from pathlib import Path
from typing import Callable, NamedTuple

import engines
import pytest
from ansible_collections.stowage.oci.tests.unit import images, loading
from ansible_collections.stowage.oci.tests.unit.images import Layer, Made, image, layer

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
    loading.load(images.write_layout(tmp_path / "base", [base]), engine_host=engine.url, staging_dir=str(tmp_path / "staging"))
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


def is_right(engine: engines.Engine, app: Made, files: dict[str, bytes]) -> None:
    """The one oracle: the engine shows, runs and saves exactly this image."""
    document = engine.json("GET", f"/images/{NAME}/json")
    assert document["RootFS"]["Layers"] == app.diff_ids
    if engine.store != "containerd":
        assert document["Id"] == app.config_digest
    for path, content in files.items():
        assert read(engine, NAME, path) == content
    assert exported(engine, NAME) == [one.tar for one in app.layers]


def upload(registry: engines.Registry, repository: str, made: Made) -> None:
    """Put an image into a registry, tagged 1."""
    connection = http.client.HTTPConnection(registry.host)

    def send(method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream") -> http.client.HTTPResponse:
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (201, 202), answer.status
        return answer

    for digest, data in made.blobs.items():
        if digest != made.digest:
            place = send("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
            send("PUT", f"{place}&digest={digest}", data)
    send("PUT", f"/v2/{repository}/manifests/1", made.manifest, json.loads(made.manifest)["mediaType"])
    connection.close()


class Cell(NamedTuple):
    """Bytes of one update of one layer."""

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

        real, again = loading.four_times(src, engine_host=engine.url, staging_dir=str(tmp_path / "staging"))

        blob = top.diff_id if unread else top.digest
        size = len(top.tar) if unread else len(top.blob)
        documents = {digest: size for digest, size in real.sent.items() if digest != blob}
        assert real.sent[blob] == size
        assert app.config_digest in documents and len(documents) == 2
        assert real.sent_bytes <= size + len(app.config) + len(app.manifest) + SLACK
        assert real.result["held_blobs"] == len(base)
        is_right(engine, app, {"base/name": read(engine, base_name, "base/name"), "app/run": form.encode()})
        assert again.asks == []
        table.append(Cell(engine.kind, origin, form, size + sum(documents.values()), real.sent_bytes))

        engine.call("DELETE", f"/images/{NAME}")
        assert state(engine) == before
        assert not list((tmp_path / "staging").iterdir())
