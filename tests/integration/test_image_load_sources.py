# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""image_load of what each writer writes, plain and compressed; and of what nobody should have written."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import debs
import engines
import pytest
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.images import COMPRESSIONS, image, layer, layout, pack, tar, write, write_docker_archive

APP, TOOL = "registry.example.com/app:1", "registry.example.com/tool:1"


@pytest.fixture(scope="module")
def made():
    """Two images that share a base; what runs in them is busybox."""
    debs.ensure(["busybox-static"])
    program = tarfile.TarInfo("bin/busybox")
    program.mode, program.size = 0o755, os.stat("/bin/busybox").st_size
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as base, open("/bin/busybox", "rb") as content:
        base.addfile(program, content)
    base = images.Layer(out.getvalue(), out.getvalue(), "")
    return [image([base, layer({"who": name.encode()})], names=[name], config={"Cmd": ["/bin/busybox", "cat", "/who"]}) for name in (APP, TOOL)]


@pytest.fixture(scope="module")
def sources(made, running, tmp_path_factory):
    """By name, what each writer wrote: the path, and the references in it."""
    debs.ensure(["skopeo"])
    folder = tmp_path_factory.mktemp("sources")
    original = write_docker_archive(folder / "original.tar", made)
    found = {}
    for kind in engines.KINDS:
        engine = running(kind)
        engine.wipe()
        with open(original, "rb") as stream:
            engine.call("POST", "/images/load", stream)
        found[f"save by {kind}"] = folder / f"{kind}.tar", [APP, TOOL]
        found[f"save by {kind}"][0].write_bytes(engine.call("GET", f"/images/get?names={APP}&names={TOOL}"))
    for form in ("docker-archive", "oci-archive"):
        found[f"podman save {form}"] = folder / f"podman-{form}.tar", [APP]
        found[f"podman save {form}"][0].write_bytes(running("podman-4").call("GET", f"/v4.0.0/libpod/images/{APP}/get?format={form}"))
    for form in ("docker-archive", "oci-archive", "oci"):
        target = folder / f"skopeo-{form}"
        found[f"skopeo copy {form}"] = target, [APP]
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", f"docker-archive:{original}:{APP}", f"{form}:{target}:{APP}"]
        subprocess.run(command, check=True)
    for compression in COMPRESSIONS:
        found[compression] = pack(found["save by docker-20.10"][0], compression), [APP, TOOL]
    return found


WRITERS = [
    *(f"save by {kind}" for kind in engines.KINDS),
    *(f"podman save {form}" for form in ("docker-archive", "oci-archive")),
    *(f"skopeo copy {form}" for form in ("docker-archive", "oci-archive", "oci")),
    *COMPRESSIONS,
]
MAIN = (
    "save by docker-20.10", "save by docker-28-containerd", "podman save docker-archive", "podman save oci-archive", "skopeo copy oci", "xz", "zstd",
)


def load(src, engine, name="load", **more):
    return {"name": name, "stowage.oci.image_load": {"src": str(src), "engine_host": engine.url, **more}}


def play(*tasks):
    return [{"hosts": "all", "gather_facts": False, "tasks": list(tasks)}]


@pytest.mark.parametrize(
    ("number", "writer"),
    [pytest.param(number, writer, id=writer, marks=() if writer in MAIN else pytest.mark.wide) for number, writer in enumerate(WRITERS)],
)
def test_loads_what_this_writer_wrote(playbook, running, sources, made, number, writer):
    """Each into another kind of engine, which then runs it; read on the host it is the same, and so there is nothing to do."""
    engine = running(engines.KINDS[number % len(engines.KINDS)])
    engine.wipe()
    src, names = sources[writer]
    run = playbook(play(load(src, engine), load(src, engine, "again"), load(src, engine, "on the host", remote_src=True)), {"machine": {}})

    assert run.code == 0, run.screen
    assert [result.status for result in run.results] == ["changed", "ok", "ok"]
    for name, one in zip(names, made):
        assert engine.run(name) == name
        assert engine.json("GET", f"/images/{name}/json")["RootFS"]["Layers"] == one.diff_ids
    assert {tag for found in engine.json("GET", "/images/json") for tag in found["RepoTags"] or []} == set(names)


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_reads_on_the_host_too(playbook, docker20, sources, compression, tmp_path):
    src, names = sources[compression or "save by docker-28"]
    run = playbook(play(load(src, docker20, remote_src=True, staging_dir=str(tmp_path))), {"machine": {}})
    assert run.code == 0, run.screen
    assert (run.one().status, run.one().result["sent_bytes"]) == ("changed", 0)
    assert [docker20.run(name) for name in names] == names
    assert not list(tmp_path.glob("stowage.oci*"))


def lies(made):
    """A layout of which one layer has other bytes than it should, as many."""
    files = layout(made)
    name = images.path(made[0].layers[1].digest)
    return {**files, name: files[name][:-1] + b"x"}


def device():
    member = tarfile.TarInfo("null")
    member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 3
    return member


# What lies at the path, given the two images; and what is said of it.
BAD = {
    "empty": (lambda made: b"", "not a tar archive, or not all of it (it is empty): make or copy it again"),
    "text": (lambda made: b"hello\n" * 500, "not a tar archive, or not all of it (no header at byte 0): make or copy it again"),
    "cut": (lambda made: tar(layout(made))[:-3000], "make or copy it again"),
    "cut-gzip": (lambda made: images.compress(tar(layout(made)), "gzip")[:-3000], "its gzip data is damaged or cut off"),
    "other-tar": (lambda made: tar({"hello": b"x"}), "neither an OCI layout (no index.json) nor a docker archive (no manifest.json)"),
    "other-folder": (lambda made: {"hello": b"x"}, "neither an OCI layout (no index.json) nor a docker archive (no manifest.json)"),
    "no-json": (lambda made: tar({"index.json": b"hello"}), "index.json"),
    "lies": (lambda made: tar(lies(made)), "layer 2 of registry.example.com/app:1"),
    "lying-folder": (lies, "layer 2 of registry.example.com/app:1"),
    "lacks": (lambda made: tar(layout(made, without={made[0].layers[1].digest})), "lacks layer 2 of registry.example.com/app:1"),
    "leads-out": (lambda made: tar({**layout(made), "../evil": b"x"}), "leads out of the archive"),
    "device": (lambda made: tar({**layout(made), "null": device()}), "is a device node, a pipe or a sparse file"),
}


def test_says_in_one_sentence_what_is_wrong_with_a_bad_archive(playbook, docker20, made, tmp_path):
    tasks = []
    for name, (make, _message) in BAD.items():
        content = make(made)
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            write(tmp_path / name, content)
        for where in ("controller", "host"):
            more = {"remote_src": where == "host", "staging_dir": str(tmp_path / "staging")}
            tasks.append(dict(load(tmp_path / name, docker20, f"{name} on the {where}", **more), ignore_errors=True))
    (tmp_path / "staging").mkdir()
    os.mkfifo(tmp_path / "pipe")
    tasks.append(dict(load(tmp_path / "pipe", docker20, "pipe"), ignore_errors=True))
    run = playbook(play(*tasks), {"machine": {}})

    assert run.code == 0, run.screen
    for name, (_make, message) in BAD.items():
        for where in ("controller", "host"):
            result = run.one(task=f"{name} on the {where}")
            assert result.status == "ignored", name
            assert message in result.result["msg"], name
            assert "\n" not in result.result["msg"] and "Traceback" not in str(result.result)
    assert run.one(task="pipe").result["msg"].startswith(f"src: {tmp_path}/pipe: neither a file nor a folder")
    assert "Traceback" not in run.screen
    # An image that is as it should be does not suffer from its neighbour.
    assert [found["RepoTags"] for found in docker20.json("GET", "/images/json")] == [[TOOL]]
    for name in ("lies", "lying-folder", "lacks"):
        for where in ("controller", "host"):
            entries = run.one(task=f"{name} on the {where}").result["images"]
            assert [entry["action"] for entry in entries] in (["failed", "loaded"], ["failed", "kept"]), name
    assert not (tmp_path / "evil").exists()
    assert not list((tmp_path / "staging").glob(f"*/*/{made[0].layers[1].digest.replace(':', '-')}/*"))
