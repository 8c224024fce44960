# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""image_load goes on where an interrupted run stopped, and trusts nothing of what that one left."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from ansible_collections.stowage.oci.plugins.plugin_utils._pieces import MOST
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout

LAYER = layer({"big": random.Random(2).randbytes(200 << 20)})
APP = image([LAYER], names=["registry.example.com/big:1"])
TOTAL = sum(map(len, APP.blobs.values()))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_layout(tmp_path_factory.mktemp("resume") / "bundle.tar", [APP])


@pytest.fixture
def interrupted(prepared, docker20, bundle, tmp_path):
    """Starts a run, and ends it by this signal once half of the layer is staged; gives the run, to be done again, and the staging folder."""

    def interrupt(number, variables):
        staging = tmp_path / "staging"
        task = {"stowage.oci.image_load": {"src": str(bundle), "engine_host": docker20.url, "staging_dir": str(staging)}}
        environ = {"ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "connection")}
        one = prepared([{"hosts": "all", "gather_facts": False, "tasks": [task]}], {"machine": variables}, **environ)
        process = one.start()
        while staged(staging) < len(LAYER.blob) / 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        # A signal for Ansible reaches the processes that do its work from there; a power cut takes them all.
        for pid in family(process.pid) if number == signal.SIGKILL else [process.pid]:
            os.kill(pid, number)
        process.communicate()
        assert not docker20.json("GET", "/images/json")
        return one, staging

    return interrupt


def staged(folder):
    return sum(path.stat().st_size for path in pieces(folder))


def pieces(folder):
    """Whole ones, in the order of the layer."""
    return sorted(folder.glob(f"*/*/{LAYER.digest.replace(':', '-')}/*[0-9a-f]"))


def family(pid):
    """A process and all that stem from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid] + [member for child in children for member in family(int(child))]


SLOW = {"ansible_connection": "slow", "bytes_per_second": 60 << 20}


@pytest.mark.parametrize(("number", "connection"), [(signal.SIGKILL, "ssh"), (signal.SIGINT, "slow")])
def test_sends_the_other_half(interrupted, request, docker20, number, connection):
    # Without compression: these bytes gain nothing by it.
    fast = {"ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s"}
    again, staging = interrupted(number, SLOW if connection == "slow" else {**request.getfixturevalue("sshd"), **fast})
    assert staging.stat().st_mode & 0o777 == 0o755  # made by the task, as mkdir does; what is in it is for its user alone
    assert {path.stat().st_mode & 0o777 for path in staging.glob("**/*") if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in staging.glob("**/*") if path.is_file()} == {0o600}
    there = staged(staging)
    run = again.run()

    assert run.code == 0, run.screen
    # What was on its way when the run ended may have been lost: one piece.
    assert TOTAL - there - 1000 <= run.results[-1].result["sent_bytes"] <= min(TOTAL - there + MOST, 0.6 * TOTAL)
    assert docker20.json("GET", "/images/registry.example.com/big:1/json")["Id"] == APP.config_digest
    assert not list(staging.iterdir())


def test_sends_damaged_pieces_again_as_check_mode_foretells(interrupted, docker20):
    again, staging = interrupted(signal.SIGKILL, SLOW)
    good = pieces(staging)
    whole = sum(path.stat().st_size for path in good[:-2])
    with open(good[-1], "r+b") as piece:
        piece.write(b"damaged")
    with open(good[-2], "ab") as piece:
        piece.write(b"too long")
    again.command.append("--check")
    check = again.run()
    again.command.remove("--check")
    real = again.run()

    assert check.code == real.code == 0, check.screen + real.screen
    check, real = check.results[-1].result, real.results[-1].result
    assert {key: check[key] for key in ("sent_bytes", "sent_blobs", "diff")} == {key: real[key] for key in ("sent_bytes", "sent_blobs", "diff")}
    assert real["sent_bytes"] == TOTAL - whole - len(APP.config) - len(APP.manifest)
    assert docker20.json("GET", "/images/registry.example.com/big:1/json")["Id"] == APP.config_digest
