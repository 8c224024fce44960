# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a .dockerignore leaves out: of each file here, what Docker's own clients let arrive in an image is what we would send."""

from __future__ import annotations

import concurrent.futures
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import debs
import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._oci.context import measured
from ansible_collections.stowage.oci.plugins.module_utils._oci.hashes import Hashes
from ansible_collections.stowage.oci.plugins.module_utils._oci.ignore import Ignore

FILES = [
    "a.txt", "b.txt", "a.go", ".hidden", ".env", "README.md", "foo", "afoo", "file.foo", "foo.bar", "foo+bar", "^caret", "#hash", "!bang", "[x]", "x",
    "star*star", "back\\slash", "sp ace", "tab\tname", "line\nbreak.txt", "caf\xe9", "caf\xe9s/menu", "d1/a.txt", "d1/b.txt", "d1/foo", "d1/.hidden",
    "d1/sub/a.txt", "d1/sub/foo", "d1/sub/deep/a.txt", "d1/sub/deep/foo", "d1/sub/deep/keep", "d1/node_modules/m/index.js", "d2/a.txt", "d2/keep",
    "d2/foo/x", "d2/foo/a.txt", "d2/sub/keep", "foo2/a.txt", "foo2/keep", "build/out.o", "build/src/main.c", "build/src/build/x",
    "node_modules/m/index.js", "node_modules/m/keep",
]
SAME = [
    "", "a.txt", "/a.txt", "./a.txt", "d1/../a.txt", "../a.txt", "a.txt/", " \ta.txt  ", "a.txt # no comment", "a.txt\n\n   \nb.txt", "\ufeffa.txt",
    "# comment\r\na.txt\r\n\r\nb.txt\r\n", "#hash", " #hash", "\\#hash", "\\!bang", "!a.txt\na.txt", "a.txt\n!a.txt\na.txt",
    "*", "*\n!a.txt", "*\n! a.txt", "*\n!/a.txt", "*\n!./d1/", "*.txt", "*.*\n!*.txt", "**", "**/**", "***", "*/", "*/\n!d2/sub/",
    "**/*.txt", "**/a.txt", "**a.txt", "foo**", "foo*", "*/a.txt", "*/*/a.txt", "?.txt", "??", "d?", ".", "/", "*\n!.", "..", "**/..", ".*", "**/.*",
    "d1", "d1/", "d1//sub", "d1/./sub", "d1/*", "d1/**", "d1/**/", "d1/**/a.txt", "d1/*/deep", "d1/sub/*/foo", "d*/sub", "**/sub/**/foo", "**/foo",
    "d1/**\n!d1/sub/deep/keep", "d1\n!d1/sub", "d1\n!d1/sub/deep/keep", "d1\n!d1/sub\nd1/sub/deep", "d*\n!d1/sub", "*\n!d1\nd1/*\n!d1/sub",
    "*\n!d2/foo", "**/foo/**", "foo/**", "[ab].txt", "[^a].txt", "[!a].txt", "[a-c]?txt", "d[1-2]/foo", "[[:alpha:]].txt", "[*]", "[?]",
    "star\\*star", "star*", "back\\\\slash", "*\\\\*", "\\[x\\]", "[[]x]", "^c*", "sp ace", "a\\.txt", "\\a.txt", "\\d1", "tab?name", "line*",
    "caf\xe9", "caf?", "caf*", "{a,b}.txt", "node_modules\n!node_modules/m/keep", "**/node_modules", "build\n!build/src", "**/build\n!build",
    "build/**\n!build/src/build", "Dockerfile", ".dockerignore", "Dockerfile\n.dockerignore", "*\n!Dockerfile",
]

# What the client of 20.10 reads otherwise than later ones: files that it alone leaves out or lets through.
TO_20 = {
    "**foo": ["afoo", "file.foo"],
    "foo+bar": ["foo+bar"],
    "^caret": ["^caret"],
    "(a.txt)": ["a.txt"],
    "a.txt|b.txt": ["a.txt", "b.txt", "d1/b.txt"],
    "**\n!d1": ["line\nbreak.txt"],
    "d1\n!d1/foo\nd*": ["d1/foo"],
    "foo2\n!foo2/keep\nfoo*": ["foo2/keep"],
}
# And what no client but the BuildKit of later ones keeps: files in ignored folders that a pattern with a wildcard reaches.
TO_CLASSIC = {
    "d1\n!**/keep": ["d1/sub/deep/keep"],
    "*\n!**/keep": ["d1/sub/deep/keep", "d2/keep", "d2/sub/keep", "foo2/keep", "node_modules/m/keep"],
    "*\n!*/keep": ["d2/keep", "foo2/keep"],
    "*\n!d1/**/foo": ["d1/sub/deep/foo", "d1/sub/foo"],
}
REFUSED = ["[a-", "a[", "!", "!/", "[]", "[^]", "[-a].txt", "[a-]x", "[b-a].txt", "\\", "a.txt\\ ", "[a]\\\xe9"]

MADE = {".dockerenv", "dev", "etc", "proc", "sys"}
"""What Docker puts into every container."""


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """A folder for each text of the tables."""
    root = tmp_path_factory.mktemp("contexts")
    found = {}
    for text in [*SAME, *TO_20, *TO_CLASSIC, *REFUSED]:
        found[text] = root / str(len(found))
        for name in FILES:
            (found[text] / name).parent.mkdir(parents=True, exist_ok=True)
            (found[text] / name).write_text(name)
        (found[text] / "empty").mkdir()
        (found[text] / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        (found[text] / ".dockerignore").write_text(text, newline="")
    return found


def ours(context: Path) -> set[str]:
    ignore = Ignore((context / ".dockerignore").read_bytes(), ".dockerignore")
    return {entry.path for entry in measured(str(context), ignore, Hashes(None)).entries}


def names(data: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {name for name in (one.name.removeprefix("./").rstrip("/") for one in archive) if name and name.split("/")[0] not in MADE}


class Client:
    """Docker's command line client, with no settings of anybody."""

    def __init__(self, program: Path, engine: engines.Engine, home: Path, buildkit: bool) -> None:
        self._program = program
        self._environ = {
            "PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home), "DOCKER_HOST": engine.url,
            "DOCKER_BUILDKIT": "1" if buildkit else "0",
        }

    def __call__(self, *args: str | Path, folder: Path) -> subprocess.CompletedProcess:
        return subprocess.run([self._program, *args], cwd=folder, env=self._environ, capture_output=True, text=True, check=False)


def arrived_classic(client: Client, engine: engines.Engine, context: Path) -> set[str]:
    image = client("build", "-q", ".", folder=context).stdout.split()[-1]
    container = engine.json("POST", "/containers/create", {"Image": image, "Cmd": ["x"]})["Id"]
    return names(engine.call("GET", f"/containers/{container}/export"))


def arrived_buildkit(client: Client, engine: engines.Engine, context: Path) -> set[str]:
    target = context.with_suffix(".tar")
    client("build", "--output", f"type=tar,dest={target}", ".", folder=context)
    return names(target.read_bytes())


@pytest.fixture
def client20(docker20, tmp_path):
    debs.ensure(["docker.io"])
    return lambda buildkit: Client(Path("/usr/bin/docker"), docker20, tmp_path, buildkit)


@pytest.mark.parametrize("way", [arrived_classic, arrived_buildkit])
def test_as_the_client_of_20_does(docker20, client20, contexts, way):
    client = client20(way is arrived_buildkit)
    known = {**dict.fromkeys(SAME[::3], ()), **TO_20, **TO_CLASSIC}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = dict(zip(known, pool.map(lambda text: way(client, docker20, contexts[text]), known)))
    files = {*FILES, "Dockerfile", ".dockerignore"}  # it makes other folders, too, than BuildKit where it makes other files
    told = {text: sorted((found[text] ^ ours(contexts[text])) & files) for text in known}
    assert {text: told[text] for text in known if told[text] != sorted(known[text])} == {}


def test_as_buildkit_does(docker28, contexts, tmp_path):
    unpacked = debs.docker(28)
    (tmp_path / "cli-plugins").mkdir()
    (tmp_path / "cli-plugins/docker-buildx").symlink_to(unpacked / "usr/libexec/docker/cli-plugins/docker-buildx")
    texts = [*SAME, *TO_20, *TO_CLASSIC]
    targets = {f"t{number}": {"context": str(contexts[text]), "output": [f"type=tar,dest={tmp_path}/t{number}"]} for number, text in enumerate(texts)}
    (tmp_path / "bake.json").write_text(json.dumps({"target": targets}))
    client = Client(unpacked / "usr/bin/docker", docker28, tmp_path, True)
    for start in range(0, len(targets), 20):
        done = client("buildx", "bake", "--allow", "fs=*", "-f", "bake.json", *list(targets)[start:start + 20], folder=tmp_path)
        assert done.returncode == 0, done.stderr
    found = {text: names((tmp_path / f"t{number}").read_bytes()) for number, text in enumerate(texts)}
    assert {text: sorted(found[text] ^ ours(contexts[text])) for text in texts if found[text] != ours(contexts[text])} == {}


@pytest.mark.parametrize("text", REFUSED)
def test_refuses_what_docker_refuses(docker20, client20, contexts, text):
    done = client20(False)("build", "-q", ".", folder=contexts[text])
    assert done.returncode and ("syntax error in pattern" in done.stderr or "illegal exclusion pattern" in done.stderr)
    with pytest.raises(InvalidInput, match="none that Docker reads"):
        ours(contexts[text])
