# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene for each module, filter and lookup, in which it gives all that it documents to return; test_samples.py compares.

A scene yields results, each with what of it is another in every run, and what stands for that in the documentation.
"""

from __future__ import annotations

import contextlib
import importlib
import subprocess
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from ansible_collections.stowage.oci.plugins.action.image_load import ActionModule
from ansible_collections.stowage.oci.plugins.module_utils._registry import search_docker_hub
from ansible_collections.stowage.oci.plugins.modules import image_info as _image_info
from ansible_collections.stowage.oci.plugins.modules import image_load as _image_load
from ansible_collections.stowage.oci.tests.unit.building import yards
from ansible_collections.stowage.oci.tests.unit.fakes import search as play
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.fakes.registry import FakeRegistry
from ansible_collections.stowage.oci.tests.unit.fakes.site import serve
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout
from ansible_collections.stowage.oci.tests.unit.running import fail, outcome, run
from ansible_collections.stowage.oci.tests.unit.test_certificate_faults import make, pem
from ansible_collections.stowage.oci.tests.unit.test_lookup_digest import Lookup
from ansible_collections.stowage.oci.tests.unit.test_server_config import PATHS, VARIABLES
from ansible_collections.stowage.oci.tests.unit.test_trust import wish

PACKAGE = "ansible_collections.stowage.oci.plugins."

BASE = layer({"etc/os-release": b"ID=debian\n"})
HISTORY = [
    {"created": "2026-04-22T09:14:03Z", "created_by": "COPY /rootfs /"},
    {"created": "2026-04-22T09:14:03Z", "created_by": "RUN /usr/sbin/nginx -t"},
]


def built(number, *names, **more):
    """An image of two layers; not compressed, as what comes of that differs from Python to Python."""
    layers = [BASE, layer({"usr/sbin/nginx": b"nginx %d" % number})]
    return image(layers, names=names, created="2026-04-22T09:14:03Z", history=HISTORY, config={"Labels": {"maintainer": "NGINX"}}, **more)


OLD, NEW = built(1), built(2)
DEBIAN = image([BASE], names=["docker.io/library/debian:12"], history=HISTORY[:1])


# Of modules


@contextlib.contextmanager
def engine(store, *held):
    with FakeEngine(store) as found:
        found.hold(*held)
        yield found, {found.url: "unix:///var/run/docker.sock"}


@contextlib.contextmanager
def registry(kind=FakeRegistry, name="registry.example.com"):
    with kind() as found:
        yield found, {found.host: name}


def image_pull(module, home):
    with engine("classic") as (there, names):
        there.offer("nginx:1.27", OLD)
        there.pull("nginx:1.27")
        there.offer("nginx:1.27", NEW)
        yield fail(module, engine_host=there.url, images=["nginx:1.27", "nginx:1.72"]), names


def image_push(module, home):
    site = serve("classic")
    try:
        app, lacking = site.name("app:2.0.1"), site.name("app:3")
        site.offer("app:2.0.1", OLD)
        site.engine.hold(NEW._replace(names=(app,)))
        names = {site.engine.url: "unix:///var/run/docker.sock", site.registry.host: "registry.example.com"}
        yield fail(module, engine_host=site.engine.url, plain_http=True, images=[app, lacking]), names
    finally:
        site.close()


def image_tag(module, home):
    target = "registry.example.com/app:2.0.1"
    with engine("containerd", NEW._replace(names=("docker.io/library/app:2",)), OLD._replace(names=("docker.io/library/app:1",))) as (there, names):
        yield run(module, engine_host=there.url, source="app:2", tags=[target]), names
        there.after("POST", "/images/.*/tag", lambda: there.tag("app:2", target))
        yield fail(module, engine_host=there.url, source="app:1", tags=[target]), names
    with engine("classic", NEW._replace(names=("docker.io/library/app:2",))) as (there, names):
        yield run(module, engine_host=there.url, source="app:2", tags=[target]), names


def image_remove(module, home):
    with engine("podman", OLD._replace(names=("docker.io/library/app:1",))) as (there, names):
        there.offer("registry.example.com/app:1", NEW)
        there.pull("registry.example.com/app:1")
        there.contain("app:1", "web")
        yield fail(module, engine_host=there.url, images=["registry.example.com/app:1", "app:1"]), names


def image_info(module, home):
    with engine("classic", DEBIAN) as (there, names):
        there.offer("nginx:1.27", NEW)
        there.pull("nginx:1.27")
        yield run(module, engine_host=there.url, images=["nginx:1.27", "app:3"]), names
        there.answer("GET", "/images/.*/history", 500, {"message": "corrupt database"})
        yield fail(module, engine_host=there.url, images=["nginx:1.27"]), names
    with engine("containerd") as (there, names):
        # Of an image that we loaded this store tells the digests of the layers' blobs.
        src = write_layout(home / "bundle.tar", [NEW._replace(names=("docker.io/library/nginx:1.27",))])
        Controller().load(src=str(src), engine_host=there.url, staging_dir=str(home))
        yield run(module, engine_host=there.url), names


def image_load(module, home):
    with engine("podman") as (there, names):
        for number in (1, 2, 3):
            src = write_layout(home / ("%d.tar" % number), [built(number, "docker.io/library/app:1")])
            if number == 3:
                there.answer("POST", "/images/load", 500, {"message": "no space left on device"}, times=2)
            result = Controller().load(src=str(src), engine_host=there.url, staging_dir=str(home))
            assert bool(result.get("failed")) == (number == 3)
            # How long it takes is no two times the same.
            assert isinstance(result["seconds"], float) and result["seconds"] >= 0
            if number > 1:
                yield dict(result, seconds=1.7), names


def image_archive(module, home):
    with engine("podman", OLD._replace(names=("docker.io/library/app:1",))) as (there, names):
        names = {str(home): "/srv/transfer", **names}
        params = dict(source="engine", engine_host=there.url, path=str(home / "bundle.tar"))
        run(module, images=["app:1"], **params)
        there.hold(NEW._replace(names=("docker.io/library/app:1",)))
        yield run(module, images=["app:1"], **params), names
        yield fail(module, images=["app:1", "app:2"], **params), names


def image_copy(module, home):
    with registry() as (site, names), registry(name="hub.example.com") as (hub, more):
        names = dict(names, **more)
        app, tool, lacking = ["%s/team/%s" % (hub.host, text) for text in ("app:1", "tool:2", "app:3")]
        params = dict(src=hub.host, destination=site.host + "/hub", plain_http=True)
        hub.offer("team/app:1", OLD)
        run(module, images=[app], **params)
        hub.offer("team/app:1", NEW)
        hub.offer("team/tool:2", image([BASE, layer({"bin/tool": b"2"})]))
        yield fail(module, images=[app, tool, lacking], **params), names


def image_build(module, home):
    for store in ("classic", "containerd"):
        (home / store).mkdir()
        with pytest.MonkeyPatch.context() as patch, contextlib.contextmanager(yards)(home / store, patch) as make_yard:
            yard = make_yard(store)
            yard.engine.hold(DEBIAN)
            yard.write("Dockerfile", "FROM debian:12\nARG VERSION=1\nCOPY . /app/\nRUN echo version $VERSION\n")
            for version in "12":
                yard.write("app.py", "print(%s)\n" % version)
                result = run(module, **yard.params("app:1", build_args={"VERSION": version}))
            yield result, {yard.engine.url: "unix:///var/run/docker.sock"}


def registry_search(module, home):
    with registry(play.FakeSearch) as (there, names), pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_docker_hub, "HUB", there.url)
        there.play("/v2/search/repositories/", play.docker_hub([play.hub_row("nginx", 21268, True)]))
        yield run(module, query="nginx"), names
        there.offer("team/app:1.27", NEW)
        yield run(module, registry=there.host, plain_http=True, query="team/app", tags=True, digests=True), names


class Controller(ActionModule):
    """The controller's half of image_load as it is, where Ansible's own part is to run the module, and commands, on this machine."""

    def __init__(self):
        connection = SimpleNamespace(is_pipelining_enabled=lambda: True, become=None, _shell=SimpleNamespace(tmpdir=""))
        super().__init__(SimpleNamespace(async_val=0, check_mode=False, delegate_to=None, no_log=False), connection, None, None, None)

    def load(self, **args):
        self._task.args = args
        return self.run(task_vars={"inventory_hostname": "web1"})

    def _execute_module(self, module_args=None, **_more):
        return outcome(_image_load, False, module_args)

    def _find_needle(self, dirname, needle):
        return needle

    def _low_level_execute_command(self, command, in_data=None):
        done = subprocess.run(["sh", "-c", command], input=in_data, capture_output=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


# Of filters and of the lookup


def filtered(name, *args, **options):
    plugin = importlib.import_module(PACKAGE + "filter." + name)
    return {"_value": plugin.FilterModule().filters()[name](*args, **options)}


HOSTED = wish(registry="registry.example.com:5000")
HASH = "ann:$2b$10$Ttg/V/2DGml3phqyd5/sGuv2Kt3G09GAloRwAHP1bXPHBhEzBe/K2\n"


def digest(_home):
    with registry() as (there, names):
        there.offer("app:1", NEW)
        yield {"_raw": Lookup().run(["%s/app:1" % there.host], {})}, names


def certificate_faults(_home):
    end = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
    days = (end - datetime.now(timezone.utc)).total_seconds() / 86400
    yield filtered("certificate_faults", pem(make(begin=days - 90, end=days))), {}


def fleet_report(_home):
    told, names = {"web-4": {"unreachable": True, "msg": "ssh: connect to host web-4 port 22: Connection refused"}}, {}
    for host, made, held in (("web-1", NEW, [DEBIAN]), ("web-2", NEW, []), ("web-3", OLD, [DEBIAN])):
        with engine("classic", *held) as (there, more):
            there.offer("nginx:1.27", made)
            there.pull("nginx:1.27")
            told[host] = run(_image_info, engine_host=there.url)
        names.update(more)
    yield filtered("fleet_report", told), names


def htpasswd(_home):
    """That the account stays as it is says that the hash is of this password; a new one is another in every run."""
    yield filtered("htpasswd", {"ann": "secret"}, HASH), {}


def pin(_home):
    yield filtered("pin", "nginx:1.27", NEW.digest), {}


def reference(_home):
    yield filtered("reference", "nginx:1.27"), {}
    yield filtered("reference", "nginx:1.27@" + NEW.digest), {}


def registry_config(_home):
    yield filtered("registry_config", VARIABLES, "2.8", PATHS), {}


def trust_login(_home):
    login = {"username": "ann", "password": "secret"}
    yield filtered("trust_login", "", "/home/ann/.docker/config.json", "registry.example.com:5000", login), {}


def trust_places(_home):
    yield filtered("trust_places", HOSTED, "", {}), {}


def trust_plan(_home):
    facts = dict(engines=["docker"], state="", found=[], texts={}, users={}, dump="", dockerd="", made=[])
    yield filtered("trust_plan", dict(HOSTED, mirror_of=["docker.io"]), facts), {}
