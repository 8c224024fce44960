# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's docker-registry with the configurations that the role makes for it; it is 2.8, and of 3 there is no package.

What 2.8 does not start with is refused before, and so is what it passes over in silence.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Iterator

import debs
import engines
import pytest
import requests
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.stowage.oci.plugins.filter.htpasswd import htpasswd
from ansible_collections.stowage.oci.plugins.filter.registry_config import registry_config
from ansible_collections.stowage.oci.plugins.module_utils._server import keys
from ansible_collections.stowage.oci.plugins.module_utils._server.config import laid_over
from ansible_collections.stowage.oci.tests.unit.certificates import Authority

ROLE = Path(__file__).resolve().parents[2] / "roles/registry"
DEFAULTS = {
    name.removeprefix("registry_"): value for name, value in yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8")).items()
}
BLOB = b"a blob"
DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()


class Served:
    """A registry with what `wish` makes of the defaults, and requests to it. It is on the loopback, and in the clear if `wish` has no TLS."""

    def __init__(self, root: Path, wish: dict[str, Any], stack: ExitStack) -> None:
        root.mkdir()
        port, self.debug = engines.free_port(), f"127.0.0.1:{engines.free_port()}"
        self.paths = {name: str(root / name) for name in ("certificate", "key", "client_authority", "htpasswd", "token_bundle")}
        self.wish = {
            **DEFAULTS, "address": "127.0.0.1", "port": port, "debug_address": self.debug, "storage_path": str(root / "blobs"), "tls": "none",
            "drain_file": str(root / "drain"), **wish,
        }
        self.root, self.port = root, port
        self.url = f"{'http' if self.wish['tls'] == 'none' else 'https'}://127.0.0.1:{port}"
        self.session = stack.enter_context(requests.Session())
        self.session.trust_env = False
        command = [str(debs.which("docker-registry")), "serve", str(root / "config.json")]
        self.process = engines.Process("docker-registry", root, command, {"PATH": os.defpath, "HOME": str(root)}, lambda: listens(port))
        stack.callback(self.process.kill)

    def made(self) -> dict[str, Any]:
        return registry_config(self.wish, "2.8.2", self.paths)

    def start(self, config: dict[str, Any]) -> None:
        (self.root / "config.json").write_text(json.dumps(config))
        self.process.start()

    def ask(self, method: str, path: str, **how: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=10, **how)

    def push(self) -> requests.Response:
        begun = self.ask("POST", "/v2/app/blobs/uploads/")
        return self.session.put(begun.headers["Location"], params={"digest": DIGEST}, data=BLOB, timeout=10) if begun.ok else begun

    def pull(self) -> requests.Response:
        return self.ask("GET", f"/v2/app/blobs/{DIGEST}")


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


def awaited(what: Callable[[], Any], seconds: float = 20) -> Any:
    """What comes true within some seconds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)
    return what()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    debs.ensure(["docker-registry"])
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def place(tmp_path: Path, stack: ExitStack) -> Callable[..., Served]:
    """Gives a registry that has not started yet."""
    return lambda name="registry", **wish: Served(tmp_path / name, wish, stack)


@pytest.fixture
def serve(place: Callable[..., Served]) -> Callable[..., Served]:
    def start(name: str = "registry", **wish: Any) -> Served:
        served = place(name, **wish)
        served.start(served.made())
        return served

    return start


def test_a_folder(serve):
    served = serve()
    assert served.push().status_code == 201 and served.pull().content == BLOB
    assert served.pull().headers["X-Content-Type-Options"] == "nosniff"
    assert list((served.root / "blobs").rglob(DIGEST[7:])), "it is not in registry_storage_path"
    assert served.ask("DELETE", f"/v2/app/blobs/{DIGEST}").status_code == 202
    assert served.pull().status_code == 404


def test_delete_is_off(serve):
    served = serve(delete=False)
    assert served.push().status_code == 201
    assert served.ask("DELETE", f"/v2/app/blobs/{DIGEST}").status_code == 405
    assert served.pull().content == BLOB


def test_it_is_read_only(serve):
    served = serve(readonly=True)
    assert served.ask("GET", "/v2/").status_code == 200
    assert served.push().status_code == 405


def test_memory_and_no_cache(serve):
    served = serve(storage="inmemory", cache="none")
    assert served.push().status_code == 201 and served.pull().content == BLOB


def test_the_name_that_clients_know_it_by(serve):
    served = serve(url="https://registry.example.com")
    assert served.ask("POST", "/v2/app/blobs/uploads/").headers["Location"].startswith("https://registry.example.com/v2/app/")


def test_tls(place, tmp_path):
    authority = Authority(tmp_path / "ca")
    certificate = authority.issue("server", "127.0.0.1")
    served = place(tls="own", tls_minimum="tls1.3", tls_client_authority="/on/the/controller.pem")
    for name, path in (("certificate", certificate.cert), ("key", certificate.key), ("client_authority", authority.cert)):
        Path(served.paths[name]).write_bytes(path.read_bytes())
    served.start(served.made())
    served.session.verify = str(authority.cert)
    with pytest.raises(requests.RequestException):
        served.ask("GET", "/v2/")
    client = authority.issue("client")
    served.session.cert = (str(client.cert), str(client.key))
    assert served.ask("GET", "/v2/").status_code == 200
    old = ssl.create_default_context(cafile=str(authority.cert))
    old.load_cert_chain(client.cert, client.key)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", served.port), timeout=10) as raw:
        old.wrap_socket(raw, server_hostname="127.0.0.1").close()


def test_accounts_change_without_a_restart(place):
    users = {"ann": "secret-ann", "bob smith": "s e#c:r\"e't\\~"}
    served = place(users=users, auth_realm="fleet")
    file = Path(served.paths["htpasswd"])

    def status(name: str, password: str) -> int:
        return served.ask("GET", "/v2/", auth=(name, password)).status_code

    file.write_text(htpasswd(users, ""))
    served.start(served.made())
    assert served.ask("GET", "/v2/").headers["Www-Authenticate"] == 'Basic realm="fleet"'
    assert [status(*account) for account in users.items()] == [200, 200]
    assert status("ann", "wrong") == 401

    file.write_text(htpasswd({"ann": "new", "cid": "x" * 72}, file.read_text()))
    assert (status("ann", "secret-ann"), status("ann", "new"), status("cid", "x" * 72)) == (401, 200, 200)
    assert status("bob smith", users["bob smith"]) == 401


def test_a_cache_in_redis(serve, tmp_path, stack):
    debs.ensure(["redis-server"])
    port = engines.free_port()
    command = [str(debs.which("redis-server")), "--bind", "127.0.0.1", "--port", str(port), "--requirepass", "secret-redis", "--save", ""]
    (tmp_path / "redis").mkdir()
    redis = engines.Process("redis-server", tmp_path / "redis", command, {"PATH": os.defpath}, lambda: listens(port))
    stack.callback(redis.kill)
    redis.start()
    served = serve(cache="redis", redis={"addr": f"127.0.0.1:{port}", "password": "secret-redis", "db": 3})
    assert served.push().status_code == 201 and served.pull().content == BLOB
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"AUTH secret-redis\r\nSELECT 3\r\nKEYS *\r\nQUIT\r\n")
        assert DIGEST in b"".join(iter(lambda: raw.recv(65536), b"")).decode()


def test_health_metrics_and_the_drain_file(serve):
    served = serve()

    def get(path: str) -> requests.Response:
        return requests.get(f"http://{served.debug}{path}", timeout=10)

    assert served.ask("GET", "/v2/").status_code == 200
    assert "registry_http_requests_total" in get("/metrics").text
    assert awaited(lambda: get("/debug/health").status_code == 200)
    drain = Path(served.wish["drain_file"])
    drain.touch()
    assert awaited(lambda: get("/debug/health").status_code == 503)
    assert str(drain) in get("/debug/health").text
    assert served.ask("GET", "/v2/").status_code == 503
    drain.unlink()
    assert awaited(lambda: served.ask("GET", "/v2/").status_code == 200)


def test_no_metrics_and_no_debug_port(serve):
    served = serve(metrics=False)
    assert requests.get(f"http://{served.debug}/metrics", timeout=10).status_code == 404
    other = serve("other", debug_address="")
    assert other.ask("GET", "/v2/").status_code == 200 and not listens(int(other.debug.rpartition(":")[2]))


def test_notifications(serve, stack):
    heard: list[tuple[Any, bytes]] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
            pass

    server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    url = f"http://127.0.0.1:{server.server_port}/events"
    served = serve(notifications=[
        {"name": "ours", "url": url, "headers": {"Authorization": ["Bearer secret-hook"]}, "timeout": "1s", "ignore": {"actions": ["pull"]}}
    ])
    assert served.push().status_code == 201 and served.pull().content == BLOB
    headers, body = awaited(lambda: heard)[0]
    assert headers["Authorization"] == "Bearer secret-hook"
    assert [(event["action"], event["target"]["digest"]) for event in json.loads(body)["events"]] == [("push", DIGEST)]


def test_logs(serve):
    served = serve(log_format="json", log_level="debug", log_access=False)
    assert served.ask("GET", "/v2/").status_code == 200
    lines = served.process.log.read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert {entry["service"] for entry in entries if "service" in entry} == {"registry"}
    assert "debug" in {entry["level"] for entry in entries} and not any('"GET /v2/ HTTP' in line for line in lines)
    loud = serve("loud")
    assert loud.ask("GET", "/v2/").status_code == 200
    assert awaited(lambda: '"GET /v2/ HTTP' in loud.process.log.read_text())


def test_a_proxy(serve):
    upstream = serve("upstream", config_overrides={"catalog": {"maxentries": 5}})
    assert upstream.push().status_code == 201
    served = serve(proxy_url=upstream.url, delete=False)
    assert served.pull().content == BLOB and served.push().status_code == 405
    assert awaited(lambda: list((served.root / "blobs").rglob(DIGEST[7:])))
    assert upstream.ask("GET", "/v2/_catalog?n=6").status_code == 400, "an override is of no effect"


# What 2.8 does with what is refused


@pytest.mark.parametrize(
    ("overrides", "says", "message"),
    [
        ({"storage": {"inmemory": {}}}, "must provide exactly one storage type", "a registry has one storage driver, not filesystem and inmemory"),
        (
            {"auth": {"htpasswd": {"realm": "x", "path": "/x"}, "silly": {"realm": "x", "service": "x"}}}, "must provide exactly one type",
            "a registry has one kind of auth, not htpasswd and silly",
        ),
        ({"storage": {"cache": {"blobdescriptor": "redis"}}}, "redis configuration required", "^registry_cache is redis and registry_redis is empty"),
        ({"storage": {"redirect": {"disable": "yes"}}}, "invalid type for redirect config", "storage.redirect.disable must be true or false"),
        (
            {"storage": {"maintenance": {"readonly": {"enabled": "yes"}}}}, "must have a boolean value",
            "storage.maintenance.readonly.enabled must be true or false",
        ),
        ({"storage": {"maintenance": {"uploadpurging": True}}}, "uploadpurging config key must contain", "uploadpurging must be a dict"),
        ({"storage": {"filesystem": {"maxthreads": "many"}}}, "maxthreads", "storage.filesystem.maxthreads must be a whole number"),
        ({"catalog": {"maxentries": "many"}}, "cannot unmarshal", "catalog.maxentries must be a whole number"),
        ({"http": {"draintimeout": "7d"}}, "cannot unmarshal", "http.draintimeout must be a time with its unit"),
        ({"http": {"headers": {"X-Any": "x"}}}, "cannot unmarshal", "http.headers must be lists of texts"),
        ({"log": {"level": "chatty"}}, "invalid loglevel", "log.level must be one of error, warn, info, debug"),
    ],
)
def test_what_it_does_not_start_with_is_refused_before(place, overrides, says, message):
    served = place()
    with pytest.raises(engines.StartError, match="ended with exit code"):
        served.start(laid_over(served.made(), overrides))
    assert says in served.process.log.read_text()
    served.wish["config_overrides"] = overrides
    with pytest.raises(AnsibleFilterError, match=message):
        served.made()


@pytest.mark.parametrize(
    ("options", "says", "message"),
    [
        ({"bucket": "x"}, "no region parameter provided", "lacks region, which s3 needs"),
        ({"region": "us-east-1"}, "no bucket parameter provided", "lacks bucket, which s3 needs"),
        ({"bucket": "x", "region": "us-east-1", "secure": "perhaps"}, "secure parameter should be a boolean", "secure must be true or false"),
        ({"bucket": "x", "region": "us-east-1", "chunksize": "big"}, "chunksize", "chunksize must be a whole number"),
    ],
)
def test_what_a_driver_needs_is_asked_for_before(place, options, says, message):
    served = place()
    config = served.made()
    del config["storage"]["filesystem"]
    with pytest.raises(engines.StartError, match="ended with exit code"):
        served.start(laid_over(config, {"storage": {"s3": options}}))
    assert says in served.process.log.read_text()
    served.wish.update(storage="s3", storage_options=options)
    with pytest.raises(AnsibleFilterError, match="^registry_storage_options:? " + message):
        served.made()


def test_a_bad_minimum_of_tls_is_refused_before(place, tmp_path):
    certificate = Authority(tmp_path / "ca").issue("server", "127.0.0.1")
    served = place(tls="own")
    for name, path in certificate._asdict().items():
        Path(served.paths[{"cert": "certificate", "key": "key"}[name]]).write_bytes(path.read_bytes())
    overrides = {"http": {"tls": {"minimumtls": "1.2"}}}
    with pytest.raises(engines.StartError, match="ended with exit code"):
        served.start(laid_over(served.made(), overrides))
    assert "unknown minimum TLS level" in served.process.log.read_text()
    served.wish["config_overrides"] = overrides
    with pytest.raises(AnsibleFilterError, match="http.tls.minimumtls must be one of"):
        served.made()


@pytest.mark.parametrize("overrides", [{"bogus": 5}, {"http": {"adress": ":1"}}, {"proxy": {"ttl": "1h"}}, {"redis": {"username": "ann"}}])
def test_what_it_passes_over_in_silence_is_refused(place, overrides):
    served = place()
    served.start(laid_over(served.made(), overrides))
    assert served.ask("GET", "/v2/").status_code == 200
    served.wish["config_overrides"] = overrides
    with pytest.raises(AnsibleFilterError, match="^registry_config_overrides: .* of distribution"):
        served.made()


def test_the_keys_are_those_that_are_in_the_program():
    """Its reflection has the names of all fields that its configuration is read into, and its drivers ask for theirs by name."""
    program = Path(str(debs.which("docker-registry"))).read_bytes()
    fields = {name.decode() for name in re.findall(rb'yaml:"([a-z0-9_]+)(?:,omitempty)?"', program)}
    by_name = {"storage", "auth", "middleware"}
    ours = set(names({section: known for section, known in keys.OF_28.items() if section not in by_name})) | by_name
    # Two fields have no name of their own there, so that their Go names are read in lower case.
    assert fields == ours - {"log", "statuscode"}
    lower = program.lower()
    assert [name for section in by_name for name in names(keys.OF_28[section]) if name.encode() not in lower] == []


def names(known: Any) -> Iterator[str]:
    if isinstance(known, list):
        yield from names(known[0])
    elif isinstance(known, dict):
        for name, deeper in known.items():
            yield name
            yield from names(deeper)
