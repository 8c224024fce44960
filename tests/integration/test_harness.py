# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""What the other integration tests stand on: what the collection's file holds, that it works installed, over ssh too."""

from __future__ import annotations

import tarfile

import pytest


def test_the_artifact_holds_the_collection_and_nothing_that_made_it(artifact):
    with tarfile.open(artifact) as archive:
        names = archive.getnames()
    tops = {name.split("/")[0] for name in names}
    assert tops <= {
        "FILES.json", "MANIFEST.json", "README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "LICENSE",
        "bindep.txt", "requirements.txt", "changelogs", "docs", "meta", "playbooks", "plugins", "roles",
    }
    assert {"plugins/modules/image_load.py", "plugins/action/image_load.py", "meta/runtime.yml", "LICENSE"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.parametrize("connection", ["local", "ssh"])
def test_runs_a_module_of_the_installed_collection(playbook, request, engine, connection):
    variables = request.getfixturevalue("sshd") if connection == "ssh" else {}
    task = {"stowage.oci.image_info": {"engine_host": engine.url}}
    run = playbook([{"hosts": "all", "gather_facts": False, "tasks": [task]}], {"machine": variables})

    assert run.code == 0, run.screen
    assert run.one("machine").status == "ok"
    assert run.one("machine").result["images"] == []
