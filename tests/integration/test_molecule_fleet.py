# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The fleet that molecule's scenarios run on: what names its image, what becomes of a run, and that nothing is left of it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import fleet
import fleet_image
import fleet_scenarios
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GREEN = """\
INFO     [default > discovery] scenario test matrix: create, prepare, check, destroy
INFO     [default > create] Executing
TASK [Start]
INFO     [default > create] Executed: Successful
INFO     [default > prepare] Executing
WARNING  [default > prepare] Executed: Missing playbook (Remove from test_sequence to suppress)
INFO     [default > check] Executing
"""
RED = """\
fatal: [registry1]: FAILED! => {"msg": "why <not> \x1b"}
ERROR    [default > check] \x1b[31mExecuted: Failed\x1b[0m
INFO     [default > destroy] Executing
INFO     [default > destroy] Executed: Successful
DETAILS
default > check: Executed: Failed (Ansible return code was 2)
"""


def recorded(text, code):
    recorder = fleet_scenarios.Recorder("default bookworm")
    for number, line in enumerate(text.splitlines()):
        recorder.line(line, number)
    recorder.end(code, 100)
    return recorder.cases


def outcomes(cases):
    return [(case.step, case.failure is None) for case in cases]


def test_the_image_has_another_name_once_its_recipe_changes():
    recipe = Path(fleet_image.__file__).read_bytes()
    assert fleet_image.key() == fleet_image.key(recipe) != fleet_image.key(recipe.replace(b"redis-server", b"redis-server-2"))
    assert fleet_image.name("bookworm") == f"localhost/fleet/bookworm:{fleet_image.key()}"


def test_each_step_is_a_case_and_one_without_a_playbook_is_none():
    cases = recorded(GREEN + "INFO     [default > check] Executed: Successful", 0)
    assert [(case.scenario, case.step, case.seconds) for case in cases] == [("default bookworm", "create", 2), ("default bookworm", "check", 1)]
    assert all(case.failure is None for case in cases)


def test_a_step_that_failed_tells_what_it_printed_and_is_xml():
    cases = recorded(GREEN + RED, 1)
    assert outcomes(cases) == [("create", True), ("check", False), ("destroy", True)]
    found = ElementTree.fromstring(fleet_scenarios.junit(cases)).findall("testcase/failure")
    assert [failure.text for failure in found] == ['fatal: [registry1]: FAILED! => {"msg": "why <not> "}']


@pytest.mark.parametrize("code", [0, 1])
def test_a_run_that_ends_within_a_step_has_failed_there(code):
    assert outcomes(recorded(GREEN, code)) == [("create", True), ("check", False)]


@pytest.mark.parametrize(("text", "code"), [("CRITICAL no such scenario", 1), ("", 0)])
def test_a_run_without_a_step_has_failed(text, code):
    assert outcomes(recorded(text, code)) == [("molecule", False)]


def test_a_run_that_fails_after_its_steps_has_failed():
    assert outcomes(recorded(GREEN + "INFO     [default > check] Executed: Successful", 1)) == [("create", True), ("check", True), ("molecule", False)]


def test_scenarios_are_whole():
    names = fleet_scenarios.names()
    assert {"default", "tls_auth"} <= set(names)
    assert "images" not in names, "it makes its own hosts"
    for name in names:
        folder = ROOT / "molecule" / name
        for file in ("README.md", "converge.yml", "verify.yml", "inventory/hosts.yml"):
            assert (folder / file).exists(), f"{name}/{file}"
    sequence = yaml.safe_load((ROOT / "molecule/config.yml").read_text())["scenario"]["test_sequence"]
    assert sequence.index("create") < sequence.index("check") < sequence.index("converge") < sequence.index("idempotence") < sequence.index("verify")


@pytest.mark.parametrize("how", [signal.SIGINT, *(pytest.param(how, marks=pytest.mark.wide) for how in (signal.SIGTERM, signal.SIGKILL))])
def test_nothing_is_left_of_a_fleet(how):
    command = [sys.executable, ROOT / "dev/fleet.py", "--name", "test", "run"]
    script = (
        "docker network create --internal --subnet 198.51.100.0/25 fleet >&2 && "
        'docker run --detach --network fleet --cap-add ALL --cap-drop SYS_RESOURCE --entrypoint /bin/busybox "$FLEET_IMAGE" sleep 1000 >&2 && '
        "echo up && exec cat"
    )
    with subprocess.Popen([*command, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        group = f"stowage-{fleet.root('test').stat().st_ino}"
        process.send_signal(how)
        process.communicate()
    if how == signal.SIGKILL:
        assert process.returncode == -how
        assert fleet.root("test").exists()
        subprocess.run([*command, "true"], check=True)  # the next of this name clears up
    else:
        assert process.returncode == 130
    assert not fleet.root("test").exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{group}"))
    assert str(fleet.root("test")) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
