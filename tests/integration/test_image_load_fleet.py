# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""image_load on many hosts at once, with a large image, over a slow line: what it costs the controller, and what it shows."""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import hashlib
import json
import os
import random
import re
import struct
import sys
import threading
import time
from pathlib import Path

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.bundle import header
from ansible_collections.stowage.oci.plugins.plugin_utils import _progress
from ansible_collections.stowage.oci.tests.unit.images import Layer, dump, image, layer, layout, pack, path, write_layout

BASE = layer({"bin/base": random.Random(3).randbytes(24_000_000)})
MIDDLE = layer({"middle": b"1" * 1000})
APP = image([BASE, MIDDLE, layer({"app": b"1"})], names=["registry.example.com/app:1"])
PLUGINS = {"ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "connection")}

# Runs a command and prints, last, the most memory in KiB that it or any process that stems from it has had.
MEASURED = "import resource, subprocess, sys; subprocess.run(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"


@contextlib.contextmanager
def opens(file):
    """A list that grows by one each time that any process opens this file (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    is_open, is_closed = 0x20, 0x10
    watch = libc.inotify_init1(os.O_CLOEXEC)
    assert libc.inotify_add_watch(watch, os.fsencode(file), is_open | is_closed) > 0
    found = []

    def listen():
        while True:
            data, at = os.read(watch, 4096), 0
            while at < len(data):
                _watch, mask, _cookie, length = struct.unpack_from("iIII", data, at)
                at += 16 + length
                if mask & 0x8000:  # the watch has been taken away
                    return
                found.extend([mask] * bool(mask & is_open))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield found
    finally:
        libc.inotify_rm_watch(watch, 1)
        thread.join()
        os.close(watch)


def play(src, **more):
    options = {"src": str(src), "engine_host": "{{ engine }}", **more}
    return [{"hosts": "all", "gather_facts": False, "tasks": [{"stowage.oci.image_load": options}]}]


def test_many_hosts_share_one_reading_of_a_compressed_archive(prepared, running, tmp_path):
    """Two hosts on each engine, all at once."""
    packed = pack(write_layout(tmp_path / "bundle.tar", [APP]), "gzip")
    hosts = {}
    for kind in engines.KINDS:
        running(kind).wipe()
        hosts.update({f"{kind}-{number}".replace(".", "-"): {"engine": running(kind).url} for number in (1, 2)})
    own = {"names": {"registry.example.com/": "{{ inventory_hostname }}/"}, "staging_dir": str(tmp_path / "staging/{{ inventory_hostname }}")}
    local = tmp_path / "local"
    one = prepared(play(packed, **own), hosts, "--forks", str(len(hosts)), ANSIBLE_LOCAL_TEMP=str(local))
    caches = set()
    with opens(packed) as opened:
        process = one.start()
        while process.poll() is None:
            caches.update(local.glob("*/stowage.oci/*"))
            time.sleep(0.01)
    screen, errors = process.communicate()

    assert process.returncode == 0, screen + errors
    assert [result.status for result in one.results] == ["changed"] * len(hosts)
    for host, variables in hosts.items():
        engine = next(found for found in map(running, engines.KINDS) if found.url == variables["engine"])
        assert engine.json("GET", f"/images/{host}/app:1/json")["RootFS"]["Layers"] == APP.diff_ids
    # To see what it is, to learn what is in it, and to expand that: as for one host.
    assert len(opened) == 3
    assert len(caches) == 1
    assert not list(local.iterdir())


def test_hosts_that_lack_different_layers_cost_one_reading_more(playbook, running, tmp_path):
    """The first lacks one layer, the second two, the others three: who comes second has all of them expanded."""
    packed = pack(write_layout(tmp_path / "bundle.tar", [APP]), "gzip")
    hosts = {}
    for number, kind in enumerate(engines.KINDS):
        engine = running(kind)
        engine.wipe()
        hosts[kind.replace(".", "-")] = {"engine": engine.url}
        if number < 2:
            earlier = write_layout(tmp_path / f"{number}.tar", [image(APP.layers[:2 - number], names=["registry.example.com/app:0"])])
            assert playbook(play(earlier), {"host": {"engine": engine.url}}).code == 0
    with opens(packed) as opened:
        run = playbook(play(packed), hosts, "--forks", "1")

    assert run.code == 0, run.screen
    assert [result.result["images"][0]["layers_sent"] for result in run.results] == [1, 2, 3, 3]
    assert len(opened) == 4


def test_a_bad_archive_is_read_once_too(playbook, tmp_path):
    packed = pack(write_layout(tmp_path / "bundle.tar", [APP]), "gzip")
    packed.write_bytes(packed.read_bytes()[:-20])
    with opens(packed) as opened:
        run = playbook(play(packed), {name: {"engine": "unix:///none.sock"} for name in "abcd"})
    assert {result.status for result in run.results} == {"failed"}
    assert len({result.result["msg"] for result in run.results}) == 1
    assert len(opened) == 2


def test_a_large_layer_is_never_whole_in_memory(prepared, docker20, tmp_path):
    """A layer of 1 GB, of which an archive of 1 MB is made."""
    zeros = 953
    head, tail = header("zeros", zeros << 20), b"\0" * 1024
    mebibyte = b"\0" * (1 << 20)
    digest = hashlib.sha256(head)
    for _number in range(zeros):
        digest.update(mebibyte)
    digest.update(tail)
    size = len(head) + (zeros << 20) + len(tail)
    digest = "sha256:" + digest.hexdigest()
    raw = dump({"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest]}})
    small = image([Layer(b"", b"", "")], names=["registry.example.com/large:1"])
    manifest = json.loads(small.manifest)
    manifest["config"].update(digest="sha256:" + hashlib.sha256(raw).hexdigest(), size=len(raw))
    manifest["layers"][0].update(digest=digest, size=size)
    files = layout([small._replace(layers=(), config=raw, manifest=dump(manifest))])
    with open(tmp_path / "large.tar.gz", "wb") as out:
        for name, data in files.items():
            out.write(gzip.compress(header(name, len(data)) + data + b"\0" * (-len(data) % 512)))
        out.write(gzip.compress(header(path(digest), size) + head))
        packed = gzip.compress(mebibyte)
        for _number in range(zeros):
            out.write(packed)
        out.write(gzip.compress(tail + b"\0" * 1024))

    one = prepared(play(tmp_path / "large.tar.gz", staging_dir=str(tmp_path / "staging")), {"machine": {"engine": docker20.url}})
    one.command[:0] = [sys.executable, "-c", MEASURED]
    run = one.run()
    assert run.one().status == "changed", run.screen
    assert run.one().result["sent_bytes"] > 999_000_000
    assert int(run.screen.split()[-1]) < 150 << 10


LINE = re.compile(r"(\S+): (.*) - (\d+) of (\d+) blobs, (\S+ [kM]?B) of (\S+ MB)(?:, (\S+ [kM]?B)/s)?, (\d+) s")
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6}


@pytest.fixture
def bundle(tmp_path):
    return write_layout(tmp_path / "bundle.tar", [APP])


def slow_run(prepared, docker20, bundle, seconds, **environ):
    """The standard output and error of a run that takes longer than this to send 24 MB."""
    variables = {"engine": docker20.url, "ansible_connection": "slow", "bytes_per_second": 24_000_000 // seconds}
    one = prepared(play(bundle), {"far": variables}, **PLUGINS, **environ)
    process = one.start()
    screen, errors = process.communicate()
    assert process.returncode == 0, screen + errors
    assert one.results[0].status == "changed"
    return screen, errors


def test_shows_how_far_a_slow_host_is(prepared, docker20, bundle):
    screen, errors = slow_run(prepared, docker20, bundle, 11, ANSIBLE_STDOUT_CALLBACK="document")
    # A program can read what is on the standard output as before.
    assert json.loads(screen)["far"]["changed"] == 1
    lines = [LINE.fullmatch(line) for line in errors.splitlines() if line.startswith("far: ")]
    assert len(lines) >= 2 and all(lines), errors
    for line in lines:
        _host, doing, blobs, all_blobs, sent, size, rate, _seconds = line.groups()
        assert int(all_blobs) == len(APP.blobs) and size == "24.0 MB"
        if doing == "sending layer 1 of registry.example.com/app:1":
            assert int(blobs) == len(APP.blobs) - 1 and in_bytes(sent) < 24e6
            assert in_bytes(rate) <= 24e6 / 11
        else:
            assert doing == "loading into the engine" and rate is None and sent == size
    assert lines[0].group(2).startswith("sending")
    assert in_bytes(lines[0].group(5)) < in_bytes(lines[1].group(5))
    assert [int(line.group(8)) for line in lines] == list(range(5, 5 + 4 * len(lines), 4))


def in_bytes(text):
    number, unit = text.split()
    return float(number) * UNITS[unit]


def test_says_nothing_where_good_news_are_not_wanted(prepared, docker20, bundle):
    screen, errors = slow_run(prepared, docker20, bundle, 6, ANSIBLE_DISPLAY_OK_HOSTS="false")
    assert not re.search("blobs|sending", screen + errors)


@pytest.mark.parametrize(("after", "quiet", "shown"), [(5, False, False), (0.01, True, False), (0.01, False, True)])
def test_says_nothing_of_a_quick_host_nor_of_one_whose_log_is_not_wanted(monkeypatch, after, quiet, shown):
    lines = []
    monkeypatch.setattr(_progress.Display, "display", lambda _self, text, **_options: lines.append(text))
    monkeypatch.setattr(_progress, "wanted", lambda: True)
    monkeypatch.setattr(_progress, "QUIET_SECONDS", after)
    with _progress.Progress("near", quiet=quiet) as progress:
        progress.doing = "asking what it holds"
        time.sleep(0.2)
    assert lines == ["near: asking what it holds - 0 s"] * shown
