# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine in memory on a real unix socket, for whole modules in process.

    with FakeEngine("podman") as engine:
        engine.hold(image([layer({"app": b"1"})], names=["docker.io/library/app:1"]))
        ...                                                    # a module with engine_host=engine.url
        assert engine.count("POST", "/images/.*/tag") == 1

It answers as the three stores were measured to (store.py and its kin). What a test wants to go wrong it says before:

    engine.answer("POST", "/images/load", 500, {"message": "no space left on device"})
    engine.after("GET", "/images/.*/json", lambda: engine.lose("app:1"))     # inspected, then gone
    engine.break_load(after=4096)                                            # the connection, in the middle of the body

It builds what recipe.py reads, of what a RUN may do ``echo``, ``true``, ``false`` and ``exit``, one after the other with ``&&``.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse as parse_reference
from ansible_collections.stowage.oci.tests.unit.images import Made, MadeIndex, layout, tar

from .build import Sent
from .daemon import Answer, Daemon
from .server import Body, Call, Served, Stream

__all__ = ["FakeEngine", "Stream"]


class Rule(t.NamedTuple):
    """What happens to a call of this method whose path is matched whole: it is answered so, or something is done after it."""

    method: str
    pattern: str
    answer: t.Optional[Answer]
    action: t.Optional[t.Callable[[], t.Any]]


class FakeEngine(Served):
    """``store`` is ``classic``, ``containerd`` or ``podman``; ``old`` makes the classic one Docker 20.10 instead of 28.

    ``calls`` are the requests so far, ``loaded_bytes`` the sizes of the archives that came with them, ``builds`` what came to be built.
    """

    def __init__(self, store: str = "classic", old: bool = False) -> None:
        self.daemon = Daemon(store, old)
        self.store = self.daemon.store
        self.calls: t.List[Call] = []
        self.loaded_bytes: t.List[int] = []
        self.builds: t.List[Sent] = []
        self._rules: t.List[Rule] = []
        self._breaks: t.Dict[str, t.Optional[int]] = {}
        super().__init__()

    @property
    def headers(self) -> t.Mapping[str, str]:  # type: ignore[override]
        return self.daemon.headers

    # What a test sets up; none of it is counted

    def hold(self, *images: Made) -> None:
        """Have these images, loaded under their names or none."""
        for image in images:
            self.load(tar(layout([image], docker=True)))

    def load(self, archive: bytes) -> None:
        with self.daemon.lock:
            self.store.load(archive)

    def offer(self, name: str, item: t.Union[Made, MadeIndex]) -> str:
        """Put an image or an index, with all it holds, into the registry that ``name`` names; the digest of what was put."""
        reference = parse_reference(name)
        self.daemon.remote_blobs.update(item.blobs)
        for one in [item] + list(getattr(item, "children", ())):
            target = one.descriptor()
            self.daemon.remotes["%s@%s" % (reference.name, one.digest)] = (target["mediaType"], self.daemon.remote_blobs[one.digest])
        self.daemon.remotes[reference.tagged] = self.daemon.remotes["%s@%s" % (reference.name, item.digest)]
        return item.digest

    def demand(self, username: str, password: str) -> None:
        """Let registries answer only those."""
        self.daemon.credentials = (username, password)

    def pull(self, name: str) -> None:
        with self.daemon.lock:
            self.daemon.pull(name, {})

    def tag(self, name: str, new: str) -> None:
        """Somebody tags an image."""
        with self.daemon.lock:
            self.store.tag(name, parse_reference(new).tagged)

    def lose(self, name: str) -> None:
        """Somebody removes an image, whatever its names; no matter if it is gone."""
        with self.daemon.lock:
            record = self.store.find(name)
            if record:
                self.store.drop(record)
                self.store.sweep()

    def adopt(self, parent: str, child: str) -> None:
        """Let child have been built from parent by the classic builder."""
        self.store.known(child).parent = self.store.known(parent).id

    def contain(self, image: str, name: str, state: str = "exited") -> None:
        """Make a container; ``state`` as the list of containers shows it."""
        with self.daemon.lock:
            self.daemon.contain({"Image": image}, name, state)

    def says(self, **info: t.Any) -> None:
        """Let ``/info`` have these fields."""
        self.daemon.info.update(info)

    # What a test lets go wrong

    def answer(self, method: str, pattern: str, status: int, document: t.Any, times: int = 1) -> None:
        """Answer the next such calls so, without doing anything; a Stream is of messages, one a line."""
        self._rules += [Rule(method, pattern, (status, document), None)] * times

    def after(self, method: str, pattern: str, action: t.Callable[[], t.Any], times: int = 1) -> None:
        """When the answer to the next such calls is made, and before it is sent, do this."""
        self._rules += [Rule(method, pattern, None, action)] * times

    def break_load(self, after: int) -> None:
        """Close the connection of the next load when so many bytes of its body came."""
        self._breaks["load"] = after

    def break_build(self, after: t.Optional[int] = None) -> None:
        """Close the connection of the next build when so many bytes of its body came, or else in its answer, before the end."""
        self._breaks["build"] = after

    def prune_builds(self) -> None:
        """Let no builder find again what it did before."""
        with self.daemon.lock:
            self.daemon.memory.steps.clear()

    # What a test asks

    def image_id(self, name: str) -> t.Optional[str]:
        """What a name means now, or None."""
        with self.daemon.lock:
            record = self.store.find(name)
            return record.id if record else None

    def count(self, method: str, pattern: str) -> int:
        """How many calls there were of this method whose path is matched whole."""
        return sum(call.method == method and bool(re.fullmatch(pattern, call.path)) for call in self.calls)

    # What it does

    def handle(self, call: Call, body: Body) -> Answer:
        kind = call.path.rpartition("/")[2]
        with self.daemon.lock:
            self.calls.append(call)
            rule = next((rule for rule in self._rules if rule.method == call.method and re.fullmatch(rule.pattern, call.path)), None)
            if rule:
                self._rules.remove(rule)
            breaks = kind in self._breaks
            limit = self._breaks.pop(kind, None)
        received = body(limit)
        if limit is not None:
            raise ConnectionAbortedError
        if kind == "load":
            self.loaded_bytes.append(len(received))
        if kind == "build":
            self.builds.append(Sent(call, received))
        if rule and rule.answer:
            return rule.answer
        answer = self.daemon.answer(call, received)
        if rule and rule.action:
            rule.action()
        return (answer[0], answer[1]._replace(breaks=True)) if breaks and isinstance(answer[1], Stream) else answer
