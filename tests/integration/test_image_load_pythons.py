# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""image_load on hosts with each Python that ansible-core supports."""

from __future__ import annotations

import pythons
from ansible_collections.stowage.oci.tests.unit.images import image, layer, pack, write_docker_archive, write_layout


def test_runs_on_every_python(playbook, docker28, tmp_path):
    """A host for each, all on one engine; an archive that is sent and one that is there, both compressed."""
    hosts, made = {}, {}
    for version, path in pythons.hosts().items():
        host = "python" + version.replace(".", "-")
        hosts[host] = {"ansible_python_interpreter": path}
        made[host] = [image([layer({name: host.encode()}, "gzip")], names=[f"{host}/{name}:1"]) for name in ("sent", "there")]
        pack(write_layout(tmp_path / f"{host}-sent.tar", made[host][:1]), "gzip")
        pack(write_docker_archive(tmp_path / f"{host}-there.tar", made[host][1:]), "gzip")
    tasks = []
    for name, remote in (("sent", False), ("there", True)):
        options = {"src": f"{tmp_path}/{{{{ inventory_hostname }}}}-{name}.tar.gzip", "remote_src": remote, "engine_host": docker28.url}
        task = {"name": name, "stowage.oci.image_load": {**options, "staging_dir": str(tmp_path / "{{ inventory_hostname }}")}}
        tasks += [task, {**task, "name": name + " again"}]
    for host in hosts:
        (tmp_path / host).mkdir()
    run = playbook([{"hosts": "all", "gather_facts": False, "tasks": tasks}], hosts, "--forks", "2")

    assert run.code == 0, run.screen
    for host in hosts:
        assert [run.one(host, task["name"]).status for task in tasks] == ["changed", "ok", "changed", "ok"]
        for one in made[host]:
            assert docker28.json("GET", f"/images/{one.names[0]}/json")["RootFS"]["Layers"] == one.diff_ids
