# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_load as a task runs it: the module, and in a few lines the controller that sends what it asks for.

    loaded = load(tmp_path / "app.tar", engine_host=engine.url, staging_dir=str(tmp_path / "staging"))
    assert loaded.sent == {digest: bytes} and loaded.result["changed"]
"""

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._flow.staging import put
from ansible_collections.stowage.oci.plugins.module_utils._oci.archive import Archive, select
from ansible_collections.stowage.oci.plugins.module_utils._oci.files import expand
from ansible_collections.stowage.oci.plugins.module_utils._plan.load import Elsewhere, Need
from ansible_collections.stowage.oci.plugins.module_utils._plan.names import want
from ansible_collections.stowage.oci.plugins.modules import image_load
from ansible_collections.stowage.oci.tests.unit.running import Result, outcome

PIECE = 64 << 10
ROUNDS = 6


class Loaded(t.NamedTuple):
    """``sent`` are bytes by digest of the blob, ``asks`` what each round of the module asked for."""

    result: Result
    sent: t.Dict[str, int]
    asks: t.List[Result]

    @property
    def sent_bytes(self) -> int:
        return sum(self.sent.values())

    @property
    def entries(self) -> t.Dict[str, Result]:
        return {entry["reference"]: entry for entry in self.result["images"]}

    @property
    def actions(self) -> t.List[str]:
        return [entry["action"] for entry in self.result["images"]]


class Interrupted(Exception):
    """The controller was killed in the middle of a transfer."""


def load(
    src: t.Any, check: bool = False, between: t.Callable[[], t.Any] = lambda: None, stop_after: t.Optional[int] = None, **params: t.Any
) -> Loaded:
    """Run the task. ``between`` is called after each transfer; after ``stop_after`` bytes the transfer is broken off."""
    sent: t.Dict[str, int] = {}
    asks: t.List[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        archive = Archive(str(src), scratch, [Archive(path, "") for path in params.get("base", ())])
        wishes = want(select(archive, params.get("images")), params.get("names") or {}, archive.where)
        wish: t.Dict[str, t.Any] = {"images": [one.json() for one in wishes], "sizes": {}, "seen": {}, "distrusted": [], "done": []}
        wish["archive"] = Elsewhere.of(archive, wishes)._asdict()
        for _round in range(ROUNDS):
            result = outcome(image_load, check, dict(params, src=str(src), wish=wish))
            ask = result.pop("ask", None)
            if not ask:
                break
            asks.append(ask)
            sizes_known = all(item["size"] is not None for item in ask["missing"])
            for need, item in [(Need(*(item[field] for field in Need._fields)), item) for item in ask["missing"]]:
                document = archive.document(need.of)
                if document is None:
                    extent = archive.extents([need.of])[need.of]
                    if need.digest != need.of:
                        extent = expand(extent, os.path.join(scratch, need.digest.replace(":", "-")), need.what)
                    with extent.open() as stream:
                        document = stream.read()
                wish["sizes"][need.digest] = len(document)
                if not sizes_known:
                    continue
                sent[need.digest] = sent.get(need.digest, 0) + len(document) - item["staged"]
                for offset in range(item["staged"], 0 if check else len(document), PIECE):
                    if stop_after is not None and stop_after <= 0:
                        raise Interrupted
                    piece = document[offset:offset + PIECE]
                    stop_after = stop_after - len(piece) if stop_after is not None else None
                    put(ask["root"], need.digest, offset, piece)
            if check and sizes_known:
                break
            wish.update(ask["state"])
            if sizes_known:
                between()
        return Loaded(result, sent, asks)


def four_times(src: t.Any, **params: t.Any) -> t.Tuple[Loaded, Loaded]:
    """Check mode, real, check mode again, real again: check mode tells the truth, and a second run changes nothing.

    The first and the second real run.
    """
    checked, real, checked_again, again = [load(src, check, **params) for check in (True, False, True, False)]
    for one in (checked, real, checked_again, again):
        assert not one.result.get("failed"), one.result["msg"]
    for foretold, done in ((checked, real), (checked_again, again)):
        for key in ("changed", "diff", "held_bytes", "held_blobs"):
            assert foretold.result[key] == done.result[key], key
        assert foretold.sent == done.sent
        assert foretold.actions == done.actions
    assert not again.result["changed"] and set(again.actions) == {"kept"}
    assert not again.sent and again.result["diff"]["before"] == again.result["diff"]["after"]
    return real, again


def once(act: t.Callable[[], t.Any]) -> t.Callable[[], t.Any]:
    """For ``between``: acts the first time that it is called."""
    rest = [act]
    return lambda: rest.pop()() if rest else None
