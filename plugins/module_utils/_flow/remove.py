# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove, step by step: what is there and who uses it, one plan after the other, delete, look again, count what went.

One after the other, because what is left of an image when its first name is gone decides what becomes of it with the second.
"""

from __future__ import annotations

import functools
import typing as t

from .._engine import layers as _layers
from .._engine import local as _local
from .._engine.engine import CLASSIC, CONTAINERD, PODMAN, Engine
from .._errors import EngineError, InvalidReference, StowageError
from .._module import concluded, failed
from .._oci import named as _named
from .._oci.named import Named
from .._oci.reference import Reference
from .._oci.reference import parse as parse_reference
from .._plan.remove import Container, Host, Image, Layers, Removal, after, freed, left_behind, plan

Result = t.Dict[str, t.Any]
Document = t.Dict[str, t.Any]

_RUNNING = ("running", "paused", "restarting")


class Remover:
    """One task on one host."""

    def __init__(self, engine: Engine, options: t.Mapping[str, t.Any], check_mode: bool) -> None:
        self._engine = engine
        self._force = options["force"]
        self._parallel = options["parallel"]
        self._check_mode = check_mode
        self._wishes = [_named.parse(text) for text in options["images"]]
        self._repositories = {wish.reference.name for wish in self._wishes if wish.reference} if options["dangling"] else set()
        # A list of all images takes an engine seconds where it has hundreds: not for what is absent anyway.
        needed = options["dangling"] or any(map(self._there, self._wishes))
        self._summaries = {str(summary["Id"]): summary for summary in engine.images(every=True)} if needed else {}
        self._host = _host(engine, self._summaries)
        self._before = self._host
        self._documents: t.Dict[str, Document] = {}
        self._went: t.Dict[str, Layers] = {}

    def __call__(self) -> Result:
        entries = [self._guarded(str(wish), functools.partial(self._wish, wish)) for wish in self._wishes]
        for removal in left_behind(self._host, self._repositories, self._force):
            image_id = t.cast(Image, removal.image).image_id
            entries.append(self._guarded(image_id, functools.partial(self._do, image_id, None, removal)))
        return concluded(entries, freed_bytes=self._freed())

    def _there(self, wish: Named) -> bool:
        """Whether there may be something to remove."""
        if wish.reference and wish.image_id:
            # Of several images whose IDs begin so an engine shows one or none.
            return True
        digest = wish.reference and wish.reference.digest
        return bool(_local.local(self._engine, wish) or (digest and self._engine.store == CONTAINERD and self._engine.inspect(digest)))

    def _guarded(self, name: str, work: t.Callable[[], Result]) -> Result:
        try:
            return work()
        except StowageError as error:
            return failed(name, error)

    def _wish(self, wish: Named) -> Result:
        return self._do(str(wish), wish.reference, plan(self._host, wish, self._force))

    def _do(self, spelling: str, reference: t.Optional[Reference], removal: Removal) -> Result:
        """One entry of ``images``."""
        entry: Result = {"reference": spelling, "image_id": None, "digest": None, "config_digest": None}
        if removal.image:
            image = _local.of_inspect(self._summaries[removal.image.image_id], self._engine.store, reference)
            entry.update(image_id=image.image_id, digest=image.digest, config_digest=image.config_digest)
        entry.update(changed=bool(removal.calls), action=removal.action)
        if not removal.calls:
            return entry
        self._measure(removal)
        if not self._check_mode:
            self._act(spelling, removal)
        self._host = after(self._host, removal)
        gone = {"reference": spelling, "digest": None, "image_id": None}
        return dict(entry, diff=({key: entry[key] for key in gone}, gone))

    def _act(self, spelling: str, removal: Removal) -> None:
        """Raises EngineError if a name or image that was to go is still there afterwards."""
        force = self._force and bool(removal.gone)
        for call in removal.calls:
            try:
                self._engine.remove(call, force)
            except EngineError as error:
                if self._engine.inspect(call):
                    raise EngineError("%s: %s" % (spelling, error)) from None
        image_id = removal.gone[0] if removal.gone else None
        left = self._engine.inspect(image_id) if image_id else None
        if left and not left.get("RepoTags"):
            # The containerd store keeps an image that lost its last name, if it has children or containers.
            self._engine.remove(t.cast(str, image_id), force)
            left = self._engine.inspect(t.cast(str, image_id))
        # By digest Podman finds an image under any name.
        there = [call for call in removal.calls if "@" not in call and call != image_id and self._engine.inspect(call)]
        if left or there:
            raise EngineError(
                "%s: the engine at %s reported no error, and still has %s: somebody else named it meanwhile, run again"
                % (spelling, self._engine.url, ", ".join(there) or image_id)
            )

    def _measure(self, removal: Removal) -> None:
        """Look at the layers while they are there."""
        if removal.gone and not self._documents:
            self._documents = _local.documents(self._engine, self._before.images, self._parallel)
        for image_id in removal.gone:
            if image_id in self._documents:
                past = _layers.history(self._engine, image_id) or []
                self._went[image_id] = self._layers(self._documents[image_id], past)

    def _layers(self, document: Document, past: _layers.History) -> Layers:
        """Of a half-loaded image no layers are shown, and so nothing of its blobs can be counted."""
        sizes: t.Dict[str, t.Optional[int]] = {layer.chain_id: layer.size for layer in _layers.layers(document, past)}
        whole = self._engine.store == CONTAINERD and _local.of_inspect(document, self._engine.store).complete
        return Layers(sizes, frozenset((document.get("RootFS") or {}).get("Layers") or ()), int(document.get("Size") or 0) if whole else 0)

    def _freed(self) -> int:
        """In bytes, of what is really gone."""
        if not self._went:
            return 0
        left = set(self._host.images) if self._check_mode else {str(summary["Id"]) for summary in self._engine.images(every=True)}
        # Docker keeps the layers of an image that was taken from a container by force; Podman takes the container too.
        held = left if self._engine.store == PODMAN else left.union(container.image_id for container in self._before.containers)
        gone = [layers for image_id, layers in self._went.items() if image_id not in left]
        return freed(gone, [self._layers(self._documents[image_id], ()) for image_id in held if image_id in self._documents])


def _host(engine: Engine, summaries: t.Mapping[str, Document]) -> Host:
    classic, podman = engine.store == CLASSIC, engine.store == PODMAN
    containers = tuple(
        Container(_name(document), _id(document.get("ImageID")), document.get("State") in _RUNNING)
        for document in (engine.containers() if summaries else ())
    )
    images = {image_id: _image_of(summary, engine.store) for image_id, summary in summaries.items()}
    return Host(images, containers, holds_parents=classic, drops_parents=classic or podman, digests_follow=classic)


def _image_of(summary: Document, store: str) -> Image:
    image = _local.of_inspect(summary, store)
    parsed = [parse_reference(text) for text in image.repo_tags + image.repo_digests]
    once = {reference.name for reference in parsed}
    digests = set(image.repo_digests)
    if store == PODMAN and not parsed:
        once = set(filter(None, map(_repository, summary.get("History") or ())))
        digests = {"%s@%s" % (name, summary.get("Digest")) for name in once}
    if store == CONTAINERD and not parsed:
        noted = ((summary.get("Descriptor") or {}).get("annotations") or {}).get("io.containerd.image.name")
        once = set(filter(None, [_repository(noted)]))
    # Elsewhere than on the classic store a digest is a name only if it is listed among the names.
    by_digest = image.repo_digests if store == CLASSIC else [text for text in image.repo_digests if _listed(text, summary)]
    return Image(image.image_id, image.repo_tags + tuple(by_digest), frozenset(digests), frozenset(once), _id(summary.get("ParentId")) or None)


def _listed(name: str, summary: Document) -> bool:
    return any("@" in text and str(parse_reference(text)) == name for text in summary.get("RepoTags") or ())


def _repository(text: t.Optional[str]) -> t.Optional[str]:
    try:
        return parse_reference(text).name if text else None
    except InvalidReference:
        return None


def _name(container: Document) -> str:
    return ((container.get("Names") or [""])[0] or str(container.get("Id"))[:12]).lstrip("/")


def _id(text: t.Optional[str]) -> str:
    """Podman leaves the algorithm out where it speaks of parents."""
    return "sha256:" + text.rpartition(":")[2] if text else ""
