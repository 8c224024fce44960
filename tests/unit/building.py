# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_build in process: an engine, a registry and a context, and what is asserted of every run."""

from __future__ import annotations

import io
import re
import tarfile

from ansible_collections.stowage.oci.plugins.modules import image_build
from ansible_collections.stowage.oci.tests.unit.fakes.site import serve
from ansible_collections.stowage.oci.tests.unit.images import image, layer
from ansible_collections.stowage.oci.tests.unit.running import fail, run

BASE = image([layer({"etc/os": b"1"}, "gzip")])
NEW = image([layer({"etc/os": b"2"}, "gzip")])
ARM = image([layer({"etc/os": b"arm"}, "gzip")], platform="linux/arm64")
OTHER = image([layer({"other": b"1"}, "gzip")])
DIGEST, INPUTS = "io.stowage.build.digest", "io.stowage.build.inputs"
PREFERRED = {"classic": "buildkit", "containerd": "buildkit", "podman": "podman"}
STORES = sorted(PREFERRED)
UNKNOWN = ("image_id", "digest", "config_digest")


class Yard:
    """An engine, a registry that has base:1, and a context that builds from it."""

    def __init__(self, store, home, **how):
        self.site = serve(store, **how)
        self.engine = self.site.engine
        self.home = home
        self.path = home / "context"
        self.path.mkdir()
        self.base = self.site.name("base:1")
        self.site.offer("base:1", BASE)
        self.write("Dockerfile", "FROM %s\nARG VERSION=1\nCOPY . /app/\nRUN echo version $VERSION\n" % self.base)
        self.write("file", "1")

    def write(self, name, text, mode=0o644):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return str(file)

    def params(self, *tags, **more):
        found = {"path": str(self.path), "tags": list(tags) or ["app:1"], "engine_host": self.engine.url, "plain_http": True}
        return {name: value for name, value in dict(found, **more).items() if value is not None}

    @property
    def builds(self):
        return len(self.engine.builds)

    @property
    def cache(self):
        return self.home / ".cache" / "stowage.oci"

    def config(self, name="app:1"):
        return self.engine.store.find(name).config["config"]

    def files(self, name="app:1"):
        """What COPY put into the image, by path."""
        found = {}
        for one in self.engine.store.held(self.engine.store.find(name)):
            with tarfile.open(fileobj=io.BytesIO(one.tar)) as archive:
                found.update((member.name, archive.extractfile(member).read()) for member in archive if member.isreg())
        return found


def yards(home, monkeypatch):
    """For a fixture: gives what makes yards, and ends them."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    made = []

    def make(store, **how):
        made.append(Yard(store, home, **how))
        return made[-1]

    yield make
    for yard in made:
        yard.site.close()


def four_times(**params):
    """Check mode, real, check mode, real: nothing of a new image's IDs is known before, all else is foretold.

    The results of both real runs.
    """
    told, done, told_again, again = [run(image_build, check, **params) for check in (True, False, True, False)]
    for foretold, real in ((told, done), (told_again, again)):
        for key in ("changed", "diff", "build_digest", "reason", "builder"):
            assert foretold[key] == real[key], key
        for before, after in zip(foretold["images"], real["images"]):
            assert before == (after if before["image_id"] else dict(after, **dict.fromkeys(UNKNOWN)))
    assert not again["changed"] and again["diff"] == {"before": {"images": []}, "after": {"images": []}}
    assert (again["reason"], again["builder"], again["log"]) == (None, None, [])
    return done, again


def refused(pattern, params, checks=(True, False)):
    """All of these runs fail with this message, and nothing gets a name; the last result."""
    for check in checks:
        result = fail(image_build, check, **params)
        assert re.search(pattern, result["msg"], re.DOTALL), result["msg"]
    return result


def reason(yard, *tags, **more):
    """Why it is built now; check mode and the real run agree."""
    return four_times(**yard.params(*tags, **more))[0]["reason"]
