# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the program that keeps a registry speaks with systemd: a systemctl that notes what it is told."""

from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.tests.unit import keeping  # noqa: F401  # pylint: disable=unused-import
from settings import Failure
from unit import Unit  # both are the program's: keeping is imported first

SYSTEMCTL = """#!/bin/sh
echo "$@" >>"{folder}/calls"
case "$1" in
    is-active) echo active;;
    show) echo 'A=1 "B=two words" STOWAGE_CONFIG=/x';;
    start) echo "no such unit" >&2; exit 5;;
    reset-failed) exit 1;;
esac
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    for name, text in (("systemctl", SYSTEMCTL.format(folder=tmp_path)), ("journalctl", "#!/bin/sh\necho log of \"$@\"\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % tmp_path)
    return lambda: (tmp_path / "calls").read_text().splitlines()


def test_a_unit_serves_another_configuration_and_its_own_again(calls, tmp_path):
    unit = Unit("registry.service", str(tmp_path / "system"))
    drop_in = tmp_path / "system/registry.service.d/50-read-only.conf"
    assert not unit.in_use()
    unit.use("/run/readonly.json")
    assert unit.in_use() and drop_in.read_text() == "[Service]\nEnvironment=STOWAGE_CONFIG=/run/readonly.json\n"
    unit.restart()
    unit.use(None)
    unit.use(None)
    unit.stop()
    assert not unit.in_use() and not drop_in.exists()
    assert calls() == [
        "daemon-reload", "reset-failed registry.service", "restart registry.service", "daemon-reload", "daemon-reload", "stop registry.service",
    ]


def test_what_a_unit_tells(calls):
    unit = Unit("registry.service")
    assert unit.state() == "active"
    assert unit.environment() == {"A": "1", "B": "two words"}
    assert unit.log() == "log of -u registry.service -n 20 -o cat --no-pager\n"
    with pytest.raises(Failure, match="systemctl start registry.service: no such unit"):
        unit.start()
    assert calls() == ["is-active registry.service", "show -p Environment --value registry.service", "start registry.service"]


def test_a_host_without_systemd(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    unit = Unit("registry.service", str(tmp_path / "system"))
    assert unit.environment() == {}
    with pytest.raises(Failure, match="systemctl stop registry.service: .*No such file.* service is kept by systemd"):
        unit.stop()
