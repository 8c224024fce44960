# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs of Docker and Podman are given, and what becomes of what they say: stand-ins write down what they see."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._engine import programs
from ansible_collections.stowage.oci.plugins.module_utils._engine.build import Order
from ansible_collections.stowage.oci.plugins.module_utils._engine.engine import Engine
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Tls, Transport
from ansible_collections.stowage.oci.plugins.module_utils._errors import EngineError, EngineNotFound, InvalidInput
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.images import image, layer

MADE = image([layer({"app": b"1"})])
ORDER = Order(
    dockerfile="sub/Dockerfile",
    target="app",
    args={"KEY": "hidden"},
    labels={"a": "b c"},
    platform="linux/arm64",
    network="none",
    cache=False,
    secrets={"word": b"hush"},
    ssh=["default"],
    cache_from=["type=registry,ref=x"],
    cache_to=["type=inline"],
)

STAND_IN = """#!%s
import json, os, stat, sys
if sys.argv[1:] in (["buildx", "version"], ["--version"]):
    if not os.environ["SAYS"]:
        sys.exit(1)
    print(os.environ["SAYS"])
    sys.exit(0 if os.environ["SAYS"].startswith("buildx") or sys.argv[1] == "--version" else 1)
def tree(folder):
    found = {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path) as file:
                found[name] = [stat.S_IMODE(os.stat(path).st_mode), file.read()]
    return found
options = dict(zip(sys.argv[1:], sys.argv[2:]))
result = options.get("--metadata-file") or options["--iidfile"]
seen = {"argv": sys.argv[1:], "environ": dict(os.environ), "folder": os.path.dirname(result), "files": tree(os.path.dirname(result))}
seen["input"] = sys.stdin.read() if sys.argv[-1] == "-" else None
with open(os.environ["SEEN"], "w") as file:
    json.dump(seen, file)
%s
"""


class Tool:
    """A stand-in for docker or podman on a PATH of its own."""

    def __init__(self, folder, engine: FakeEngine) -> None:
        self.seen_file = folder / "seen.json"
        self.folder = folder
        self.engine = engine
        self.environ = {"PATH": str(folder / "bin"), "HOME": str(folder), "SEEN": str(self.seen_file), "SAYS": "buildx 0.29"}

    def put(self, name: str, then: str) -> None:
        (self.folder / "bin").mkdir(exist_ok=True)
        (self.folder / "bin" / name).write_text(STAND_IN % (sys.executable, then))
        (self.folder / "bin" / name).chmod(0o755)

    def answers(self, name: str, text: str) -> None:
        self.put(name, "with open(result, 'w') as file: file.write(%r)" % text)

    @property
    def seen(self) -> dict:
        return json.loads(self.seen_file.read_text())

    def docker(self, order=ORDER, context=(b"a tar",), tls=None):
        return programs.docker_cli(Engine(Transport(self.engine.url, 10)), order, context, self.environ, tls)

    def podman(self, order=ORDER, context=(b"a tar",)):
        return programs.podman_cli(Engine(Transport(self.engine.url, 10)), order, context, self.environ)


@pytest.fixture
def tool(tmp_path):
    with FakeEngine() as engine:
        engine.hold(MADE)
        made = Tool(tmp_path, engine)
        made.answers("docker", json.dumps({"containerimage.digest": MADE.config_digest, "containerimage.config.digest": "sha256:other"}))
        made.answers("podman", MADE.config_digest)
        yield made


COMMON = [
    "--file", "sub/Dockerfile", "--no-cache", "--target", "app", "--platform", "linux/arm64", "--network", "none", "--ssh", "default",
    "--cache-from", "type=registry,ref=x", "--cache-to", "type=inline", "--build-arg", "KEY", "--label", "a=b c", "--secret",
]


def test_dockers_program_with_buildx(tool):
    built = tool.docker()
    assert (built.image_id, built.error) == (MADE.config_digest, None)
    seen = tool.seen
    folder = seen["folder"]
    own = ["buildx", "build", "--builder", "default", "--load", "--provenance=false", "--metadata-file", folder + "/result", "--progress=plain"]
    assert seen["argv"] == own + COMMON + ["id=word,src=%s/secret-0" % folder, "-"]
    assert seen["input"] == "a tar" and seen["files"] == {"secret-0": [0o600, "hush"]}
    assert seen["environ"]["KEY"] == "hidden" and seen["environ"]["DOCKER_HOST"] == tool.engine.url
    assert not os.path.exists(folder)


def test_dockers_program_that_has_buildkit_in_it(tool):
    tool.environ["SAYS"] = "Docker version 20.10.24+dfsg1, build 297e128"
    tool.answers("docker", MADE.config_digest)
    assert tool.docker().image_id == MADE.config_digest
    assert tool.seen["argv"][:4] == ["build", "--iidfile", tool.seen["folder"] + "/result", "--progress=plain"]
    assert tool.seen["environ"]["DOCKER_BUILDKIT"] == "1"


@pytest.mark.parametrize("says", ["Docker version 28.2.2, build e6534b4", ""])
def test_dockers_program_without_buildkit(tool, says):
    tool.environ["SAYS"] = says
    with pytest.raises(EngineError, match="no program docker with BuildKit on this host: install docker-cli with its plugin buildx"):
        tool.docker()


def test_podmans_program_works_in_the_storage_of_this_host(tool):
    tool.environ.update(CONTAINER_HOST="unix:///elsewhere", CONTAINER_CONNECTION="elsewhere")
    assert tool.podman(ORDER._replace(timestamp=5)).image_id == MADE.config_digest
    seen = tool.seen
    own = ["build", "--timestamp", "5", "--layers", "--format", "oci", "--iidfile", seen["folder"] + "/result"]
    assert seen["argv"] == own + COMMON + ["id=word,src=%s/secret-0" % seen["folder"], "-"]
    assert not {"CONTAINER_HOST", "CONTAINER_CONNECTION"}.intersection(seen["environ"])


@pytest.mark.parametrize("verify, name", [(True, "DOCKER_TLS_VERIFY"), (False, "DOCKER_TLS")])
def test_tls_is_handed_on(tool, verify, name):
    for file in ("ca", "cert"):
        (tool.folder / file).write_text(file)
    tool.docker(Order(), tls=Tls(str(tool.folder / "ca"), str(tool.folder / "cert"), None, verify))
    assert {name: text for name, (_mode, text) in tool.seen["files"].items()} == {"ca.pem": "ca", "cert.pem": "cert"}
    assert tool.seen["environ"][name] == "1" and tool.seen["environ"]["DOCKER_CERT_PATH"] == tool.seen["folder"]


def test_a_folder_is_named(tool):
    assert tool.docker(Order(), programs.Folder("/src/app", "/src/Dockerfile")).error is None
    assert tool.seen["argv"][-3:] == ["--file", "/src/Dockerfile", "/src/app"] and tool.seen["input"] is None


@pytest.mark.parametrize("name", ["PATH", "HOME", "DOCKER_HOST", "LD_PRELOAD", "XDG_RUNTIME_DIR", "CONTAINERS_CONF"])
def test_an_argument_that_the_program_would_take_for_its_own(tool, name):
    with pytest.raises(InvalidInput, match="the build argument %s cannot go through a program that reads a variable of that name itself" % name):
        tool.docker(Order(args={name: "x"}))


@pytest.mark.parametrize(
    "then, error",
    [
        ("print('#1 [1/1] RUN a'); print('#1 ERROR: why'); print('ERROR: failed to build: failed to solve: why'); sys.exit(1)", "why"),
        ("print('unknown flag: --load'); sys.exit(125)", "unknown flag: --load"),
        ("sys.exit(3)", "the program ended with exit code 3"),
        ("pass", "the builder ended without an image"),
        ("open(result, 'w').write('{}')", "the builder ended without an image"),
        ("open(result, 'w').write('sha256:0')", "the builder says that it made sha256:0, and the engine has no such image"),
    ],
)
def test_what_a_program_ends_with(tool, then, error):
    tool.put("docker", then)
    built = tool.docker(Order())
    assert (built.image_id, built.error) == (None, error)


def test_a_step_may_print_what_looks_like_podmans_error(tool):
    said = "STEP 1/1: RUN make\\nError: of make\\nmore\\nError: building at STEP RUN make"
    tool.put("podman", "print('%s'); sys.exit(1)" % said)
    built = tool.podman()
    assert built.error == "building at STEP RUN make"
    assert built.log.failing() == ("STEP 1/1: RUN make", ["Error: of make", "more"])
    tool.put("podman", "print('STEP 1/1: RUN make\\nError: of make'); open(result, 'w').write(%r)" % MADE.config_digest)
    assert tool.podman().log.lines == ["STEP 1/1: RUN make", "Error: of make"]


def test_a_program_need_not_read_all(tool):
    tool.put("docker", "")
    text = (tool.folder / "bin/docker").read_text()
    (tool.folder / "bin/docker").write_text(text.replace("def tree", "print('Error: no room'); sys.exit(1)\ndef tree"))
    assert tool.docker(Order(), (bytes(1 << 16) for _time in range(64))).error == "no room"


def test_an_engine_that_is_gone_is_no_error_of_the_build(tool):
    tool.put("docker", "print('ERROR: cannot connect'); sys.exit(1)")
    engine = Engine(Transport(tool.engine.url, 10))
    engine.transport = Transport("unix://%s/gone.sock" % tool.folder, 10)
    with pytest.raises(EngineNotFound, match="no engine answers at unix://.*gone.sock"):
        programs.docker_cli(engine, Order(), [b"a tar"], tool.environ)


def test_a_context_that_breaks_off_kills_the_program_before_it_sees_an_end(tool):
    class Changed(Exception):
        pass

    def context():
        yield b"half"
        raise Changed("word")

    with pytest.raises(Changed, match="word"):
        tool.docker(Order(), context())
    assert not tool.seen_file.exists()


def test_files_are_for_us_alone(tmp_path):
    path = programs._written(str(tmp_path), "secret", b"hush")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
