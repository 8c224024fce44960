# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The redis of a registry that is kept: real redis, real registry."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import debs
import engines
import pytest
from ansible_collections.stowage.oci.tests.contract import kept
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.certificates import Authority
import cache  # of the program, after kept
from settings import Failure
from variants import tcp

OLD = images.image([images.layer({"app": b"old"})])
NEW = images.image([images.layer({"app": b"new"})])


@contextmanager
def redis(folder: Path, *options: str, tls: dict[str, Any] | None = None) -> Iterator[str]:
    """A redis-server; its address."""
    debs.ensure(["redis-server"])
    folder.mkdir()
    address = f"127.0.0.1:{engines.free_port()}"
    port = address.rpartition(":")[2]
    ports = ["--port", "0", "--tls-port", port] if tls else ["--port", port]
    process = subprocess.Popen(
        ["redis-server", "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *ports, *options], stdout=subprocess.DEVNULL
    )
    try:
        limit = time.monotonic() + 20
        while True:
            try:
                cache.Redis(tcp(address), tls or {}).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < limit
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()


def test_what_redis_remembers_of_what_went_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    with redis(tmp_path / "redis", "--requirepass", "hush") as address, kept.host() as host:
        host.config["storage"]["cache"] = {"blobdescriptor": "redis"}
        host.config["redis"] = {"addr": address, "password": "hush", "db": 2}
        host.configure()
        host.start()
        client = cache.Redis(tcp(address), {})
        client.ask("AUTH", "hush")
        client.ask("SELECT", 2)
        for name in ("mine", "blobs:mine"):
            client.ask("SET", name, "1")
        for item in (OLD, NEW):
            host.push("app:1", item)
        assert {key.partition(b"::")[0] for key in client.ask("KEYS", "*")} == {b"mine", b"blobs:mine", b"blobs", b"repository"}
        remembered = client.ask("DBSIZE")
        assert host.done("collect", "--dry-run")["blobs"] == 3 and client.ask("DBSIZE") == remembered
        # Another server of the same storage remembers something while blobs go.
        script = host.folder / "program"
        late = f"redis-cli -p {address.rpartition(':')[2]} -a hush -n 2 set blobs::late 1"
        script.write_text(f'case "$*" in "garbage-collect /"*) {late} >&2;; esac\nexec docker-registry "$@"\n')
        host.settings["program"] = ["/bin/sh", str(script)]
        host.configure()
        assert host.done("collect")["blobs"] == 3
        assert sorted(client.ask("KEYS", "*")) == [b"blobs:mine", b"mine"]
        host.push("app:old", OLD)
        host.pull("app:old")
        host.config["redis"]["password"] = "wrong-one"
        host.configure()
        host.call("DELETE", f"/v2/app/manifests/{OLD.digest}")
        before = host.blobs()
        host.service.broken = ""
        message = host.refused("collect")
        assert f"The redis at {address}, which registry_redis names: WRONGPASS" in message and "wrong-one" not in message
        assert host.blobs() == before, "nothing goes that redis would go on remembering"
        client.close()


def test_an_account_a_database_and_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server = authority.issue("server", "127.0.0.1")
    client = authority.issue("client")
    tls = {"rootcas": [str(authority.cert)], "certificate": str(client.cert), "key": str(client.key)}
    options = ["--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key), "--tls-ca-cert-file", str(authority.cert)]
    with redis(tmp_path / "redis", *options, "--user", "ann", "on", ">hush", "~*", "+@all", tls=tls) as address:
        given = {"addrs": [address], "username": "ann", "password": "hush", "db": 3, "tls": tls}
        cache.reach(given)
        direct = cache.Redis(tcp(address), tls)
        for database in (0, 3):
            direct.ask("SELECT", database)
            for number in range(2500):
                direct.ask("SET", f"blobs::sha256:{number}", "1")
            direct.ask("SET", "other", "1")
        assert cache.flush(given) == 2500
        assert direct.ask("KEYS", "*") == [b"other"]
        direct.ask("SELECT", 0)
        assert direct.ask("DBSIZE") == 2501
        assert cache.flush({"addr": address, "tls": tls, "db": 7}) == 0
        with pytest.raises(Failure, match="certificate verify failed"):
            cache.reach({"addr": address, "tls": {"enabled": True}})
        direct.close()
