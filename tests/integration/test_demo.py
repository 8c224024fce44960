# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""`make demo` from its second line on: that its table is complete and true, and that nothing is left of it however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_docker_archive

DEMO = Path(__file__).resolve().parents[2] / "demo"
GONE = "all that the demo made is gone"

# Takes an image away from a host behind the demo's back, before the round in which nothing is to be sent.
TAMPERED = f"""
import sys
sys.path.insert(0, {str(DEMO)!r})
import demo
honest = demo.Demo.round

def tampered(self, title, why):
    if title.startswith("2"):
        self.fleet["host2"].call("DELETE", "/images/" + demo.WORKER)
    honest(self, title, why)

demo.Demo.round = tampered
sys.exit(demo.main())
"""


@pytest.fixture
def place(tmp_path_factory):
    """A temporary folder with a short name, since sockets will lie in it, and an empty home; both are empty after the test."""
    folder = tmp_path_factory.mktemp("d")
    (folder / "t").mkdir()
    (folder / "home").mkdir()
    sources = listing(DEMO)
    yield folder
    assert listing(folder) == [folder / "home", folder / "t"]
    assert listing(DEMO) == sources
    assert not re.search(f" {folder}/", Path("/proc/mounts").read_text())
    assert not [pid for pid in filter(str.isdigit, os.listdir("/proc")) if str(folder) in facts(pid)]


def listing(folder):
    return sorted(folder.rglob("*"))


def facts(pid):
    """Command and environment of a process, if it is still there."""
    try:
        return "".join(Path("/proc", pid, name).read_text(errors="replace") for name in ("cmdline", "environ"))
    except OSError:
        return ""


def start(place, *command, **environ):
    return subprocess.Popen(
        command, env={**os.environ, "HOME": str(place / "home"), "TMPDIR": str(place / "t"), **environ},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )


@pytest.mark.timeout(600)
def test_the_table_is_complete_and_true(place, docker20, tmp_path):
    other = image([layer({"app": b"1"})], names=["other:1"], config={"Cmd": ["/app"]})
    docker20.call("POST", "/images/load", write_docker_archive(tmp_path / "other.tar", [other]).read_bytes())
    before = docker20.json("GET", "/images/json")
    process = start(place, sys.executable, str(DEMO / "demo.py"), DOCKER_HOST=docker20.url, CONTAINER_HOST=docker20.url)
    screen, _none = process.communicate()

    assert process.returncode == 0, screen
    table = screen[screen.index("\nround ") + 1:].splitlines()[:10]
    assert len({len(line) for line in table}) == 1, "the columns do not stand in line"
    head, *lines = (re.split(r"  +", line.strip()) for line in table)
    rows = [dict(zip(head, line)) for line in lines]
    assert head == ["round", "host", "engine", "images", "layers held", "layers sent", "bytes sent", "seconds"]
    assert [row["host"] for row in rows] == ["host1", "host2", "host3"] * 3
    assert [row["engine"].split()[0] for row in rows] == ["Docker", "Docker", "Podman"] * 3
    figures = [(row["round"], row["images"], row["layers held"], row["layers sent"]) for row in rows]
    expected = ("1 first", "2 loaded", "1", "3"), ("2 again", "2 kept", "4", "0"), ("3 update", "1 loaded, 1 kept", "3", "1")
    assert figures == [line for line in expected for _host in range(3)]
    sent = [int(row["bytes sent"].replace(",", "")) for row in rows]
    assert min(sent[:3]) > 100_000_000 and sent[3:6] == [0, 0, 0] and 0 < max(sent[6:]) < 65536
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert [re.findall(rf"{host} runs web: web, version (\d)", screen) for host in ("host1", "host2", "host3")] == [["1", "2"]] * 3
    assert docker20.json("GET", "/images/json") == before


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "phase, number", [("starting an engine", signal.SIGTERM), ("building two images", signal.SIGINT), ("round 1", signal.SIGINT)]
)
def test_nothing_is_left_of_it_when_it_is_interrupted(place, phase, number):
    process = start(place, sys.executable, str(DEMO / "demo.py"))
    for line in process.stdout:
        if phase in line:
            break
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3 if phase == "round 1" else 0.5)
    # As Ctrl-C does, which is often given twice.
    os.killpg(process.pid, number)
    os.killpg(process.pid, number)
    screen, _none = process.communicate()
    assert process.returncode == 128 + number, screen
    assert screen.endswith(f"interrupted; {GONE}\n")


@pytest.mark.timeout(600)
@pytest.mark.wide
def test_says_so_if_what_it_shows_is_not_true(place):
    process = start(place, sys.executable, "-c", TAMPERED)
    screen, _none = process.communicate()
    assert process.returncode == 1, screen
    last = screen.splitlines()[-1]
    assert re.fullmatch(r"demo: this should be true and is not: host2 was sent [\d,]+ bytes, what is new in the bundle", last)
    assert GONE not in screen


def test_wants_the_virtual_environment(place):
    python = place / "home/python"
    python.symlink_to(Path(sys.executable).resolve())
    process = start(place, str(python), str(DEMO / "demo.py"))
    screen, _none = process.communicate()
    python.unlink()
    assert process.returncode == 1
    assert screen == f"demo: no ansible-playbook beside {python}: run this by `make demo`\n"
