# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials of configurations, and waiting for a server, by the program that keeps a registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterator

import engines
import pytest
from ansible_collections.stowage.oci.tests.contract import kept
from ansible_collections.stowage.oci.tests.unit.certificates import Authority


@pytest.fixture
def host() -> Iterator[kept.Host]:
    with kept.host() as made:
        yield made


def trial(host: kept.Host, **changes: Any) -> Path:
    """The configuration with other sections, as a file."""
    config = {**host.config, **changes}
    path = host.folder / "trial.json"
    path.write_text(json.dumps(config))
    shutil.chown(path, kept.USER)
    return path


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder / "ca")
    server, other = authority.issue("server", "127.0.0.1"), authority.issue("other", "127.0.0.1")
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, kept.USER)
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and parent.name.startswith(("pytest", "tls")):
            parent.chmod(0o711)
    return {"ca": authority.cert, "certificate": server.cert, "key": server.key, "other": other.cert}


def test_a_good_configuration_is_proved_and_leaves_nothing(host: kept.Host, secure: dict[str, Path]) -> None:
    accounts = host.folder / "htpasswd"
    accounts.write_text(f"ann:{engines.bcrypt('secret')}\n")
    accounts.chmod(0o644)
    changes = {
        "auth": {"htpasswd": {"realm": "r", "path": str(accounts)}},
        "http": {"addr": "0.0.0.0:5000", "secret": "of-the-server", "tls": {"certificate": str(secure["certificate"]), "key": str(secure["key"])}},
    }
    assert host.done("trial", "--config", str(trial(host, **changes))) == {"changed": False, "driver": "filesystem", "written": True}
    assert os.listdir(host.data) == [] and os.listdir(host.folder / "run") == []
    changes["http"]["tls"]["clientcas"] = [str(secure["ca"])]
    host.done("trial", "--config", str(trial(host, **changes)))
    readonly = {**host.config["storage"], "maintenance": {"readonly": {"enabled": True}}}
    assert host.done("trial", "--config", str(trial(host, storage=readonly)))["written"] is False
    accounts.chmod(0o600)
    assert f"{accounts} cannot be read by the registry's user" in host.refused("trial", "--config", str(trial(host, **changes)))
    accounts.unlink()
    assert f"{accounts}, are not there" in host.refused("trial", "--config", str(trial(host, **changes)))
    assert not accounts.exists()
    changes["http"]["tls"]["key"] = str(secure["other"].with_suffix(".key"))
    assert "do not belong together" in host.refused("trial", "--config", str(trial(host, http=changes["http"])))


def test_what_a_trial_says_of_the_usual_troubles(host: kept.Host) -> None:
    filesystem = host.config["storage"]
    s3 = {"region": "eu-west-1", "bucket": "b"}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"storage": {"azure": {"accountname": "a"}}}, ["has no storage driver azure", "registry_storage", "StorageDriver not registered"]),
        ({"storage": {**filesystem, "cache": {"blobdescriptor": "redis"}}}, ["set registry_redis", "panic: redis configuration required"]),
        (
            {"storage": {**filesystem, "cache": {"blobdescriptor": "redis"}}, "redis": {"addr": "127.0.0.1:1", "password": "hush"}},
            ["The redis at 127.0.0.1:1, which registry_redis names", "Connection refused"],
        ),
        ({"storage": {"s3": {"region": "eu-west-1"}}}, ["registry_storage_options lacks `bucket`"]),
        ({"storage": {"s3": {"region": "eu", "bucket": "b"}}}, ["`region` in registry_storage_options is not valid: eu"]),
        (
            {"storage": {"s3": {**s3, "accesskey": "key", "secretkey": "key-hidden", "regionendpoint": "http://127.0.0.1:1"}}},
            ["The object store does not answer (connect: connection refused)", "registry_storage_options"],
        ),
        ({"proxy": {"remoteurl": "http://127.0.0.1:1", "password": "hush"}}, ["behind registry_proxy_url does not answer", "panic: Get"]),
        ({"log": {"level": "loud"}}, ["The configuration is refused", "invalid loglevel loud", "registry_config_overrides"]),
    ]
    for changes, words in cases:
        message = host.refused("trial", "--config", str(trial(host, **changes)), "--seconds", "20")
        for word in words:
            assert word in message, message
        assert "hush" not in message and "key-hidden" not in message and "goroutine" not in message
    assert os.listdir(host.data) == []
    os.chown(host.data, 0, 0)
    host.data.chmod(0o755)
    message = host.refused("trial", "--config", str(trial(host)))
    assert f"{host.data}/docker cannot be written by the registry's user: give it the folder registry_storage_path" in message
    assert f"filesystem: mkdir {host.data}/docker: permission denied" in message
    assert host.refused("trial", "--config", str(trial(host, storage={"s3": {}, "filesystem": {}}))) == (
        "The configuration must name one storage driver; it names filesystem, s3."
    )
    host.settings["program"] = ["/nowhere"]
    host.configure()
    assert "/nowhere cannot be run" in host.refused("trial", "--config", str(trial(host)))


def test_a_full_disk_is_said_before_anybody_pushes(host: kept.Host) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=64k,uid={os.stat(host.data).st_uid}", "none", host.data], check=True)
    try:
        with pytest.raises(OSError, match="No space left"), open(host.data / "filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        message = host.refused("trial", "--config", str(trial(host)))
    finally:
        subprocess.run(["umount", host.data], check=True)
    assert "The disk of registry_storage_path is full: make room there." in message


def test_another_program_that_answers_is_not_the_server(host: kept.Host) -> None:
    host.start()
    with kept.host() as other:
        other.config["http"]["addr"] = host.address
        other.configure()
        assert f"another program answers at {host.address}. The unit is inactive." in other.refused("ready", "--seconds", "0")
        other.service.start()
        kept.wait_for(lambda: other.service.state() == "failed")
        assert f"Another program listens on {host.address}: choose another registry_port" in other.refused("ready")


def test_a_drained_server_is_not_ready(host: kept.Host) -> None:
    drain = host.folder / "drain"
    host.config["health"] = {"file": [{"file": str(drain), "interval": "50ms"}]}
    host.configure()
    host.start()
    drain.touch()
    kept.wait_for(lambda: f"is drained while {drain} is there" in host.keep("ready", "--seconds", "0").get("msg", ""))
    host.done("trial", "--config", str(host.config_path))


def test_ready_waits_for_the_server_with_its_certificate(host: kept.Host, secure: dict[str, Path]) -> None:
    message = host.refused("ready", "--seconds", "0")
    reason = f"http://{host.address}/v2/: [Errno 111] Connection refused"
    assert message.startswith(f"registry.service is not ready after 0 seconds: {reason}. The unit is inactive.")
    host.config["http"]["tls"] = {"certificate": str(secure["certificate"]), "key": str(secure["key"])}
    host.configure()
    host.start()
    host.config["http"]["addr"] = "0.0.0.0:" + host.address.partition(":")[2]
    host.configure()
    assert host.done("ready")["address"] == host.address
    host.config["http"]["tls"]["certificate"] = str(secure["other"])
    host.configure()
    assert f"presents another certificate than that of {secure['other']}" in host.refused("ready", "--seconds", "0.3")


@pytest.mark.parametrize("minimum", ["tls1.2", "tls1.3"])
def test_ready_goes_as_far_as_a_server_lets_it_that_asks_for_certificates(host: kept.Host, secure: dict[str, Path], minimum: str) -> None:
    host.config["http"]["tls"] = {
        "certificate": str(secure["certificate"]), "key": str(secure["key"]), "clientcas": [str(secure["ca"])], "minimumtls": minimum,
    }
    host.configure()
    host.start()
    host.config["http"]["tls"]["certificate"] = str(secure["other"])
    host.configure()
    assert "presents another certificate" in host.refused("ready", "--seconds", "0")


def test_a_server_that_failed_is_not_waited_for_and_its_log_keeps_secrets(host: kept.Host) -> None:
    host.config["storage"] = {"azure": {"accountname": "a"}}
    host.config["http"]["secret"] = "StorageDriver"
    host.configure()
    host.service.start()
    message = host.refused("ready", "--seconds", "600")
    assert "The unit is failed." in message and "panic: ******** not registered: azure" in message
