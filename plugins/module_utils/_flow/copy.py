# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy, step by step: look at source and destination, decide, have the blobs there, then the manifests, and the names last."""

from __future__ import annotations

import concurrent.futures
import threading
import typing as t

from .._errors import ArchiveError, BlobMismatch, NotInRegistry, RegistryError, StowageError
from .._module import Result, concluded, failed
from .._oci.digest import Digest
from .._oci.manifest import Descriptor, Manifest, parse
from .._oci.reference import Reference
from .._plan.content import Blob, Document, Tree, tree
from .._plan.copy import Copy, Facts, Held, Keep, Move, Plan, Wish, compare, decide, held_in, needs, searched
from .._registry.client import Client
from .._registry.upload import Writer
from .origins import Found, Origin

K = t.TypeVar("K")
V = t.TypeVar("V")


class _Seen(t.NamedTuple):
    """An image at both ends; ``content`` is None where it stays and was not looked into."""

    found: Found
    target: Reference
    there: t.Optional[Digest]
    plan: t.Union[Keep, Copy]
    content: t.Optional[Tree]


class Copier:
    """One task: a registry shall have images of ``origin``."""

    def __init__(self, origin: Origin, client: Client, writer: Writer, parallel: int, check_mode: bool) -> None:
        self._origin = origin
        self._client = client
        self._writer = writer
        self._parallel = max(1, parallel)
        self._check_mode = check_mode
        self._lock = threading.Lock()
        self._totals: t.Dict[str, t.Any] = dict.fromkeys(("sent_bytes", "sent_blobs", "mounted_blobs", "held_bytes", "held_blobs"), 0)

    def __call__(self, wishes: t.Sequence[Wish]) -> Result:
        """The result of the task; raises Failed if an image failed."""
        seen, errors = self._each(self._look, wishes)
        trees = {wish: one.content for wish, one in seen.items() if isinstance(one.plan, Copy) and one.content}
        has, unknown = self._ask(trees)
        errors.update(_first(trees, unknown))
        trees, kept = _without(trees, errors), {wish: one for wish, one in seen.items() if isinstance(one.plan, Keep)}
        lacking = any(key not in has for wish, content in trees.items() for key in held_in(wish, needs(wish, content, has)))
        elsewhere = self._elsewhere(trees, self._each(lambda wish: self._known(kept[wish]), kept)[0] if lacking else {}, has)
        plan = decide(trees, Facts(has, elsewhere), self._origin.where, self._origin.holds, self._origin.bases)
        errors.update(plan.failures)
        self._count("held", plan.held.values())
        if self._check_mode:
            self._count("sent", (move.blob for move in plan.moves if not move.mounts))
            self._count("mounted", (move.blob for move in plan.moves if move.mounts))
        else:
            errors.update(_first(trees, self._move(plan)))
            left = _without(trees, errors)
            errors.update(self._each(lambda wish: self._name(seen[wish].target, left[wish], has), left)[1])
        return concluded([self._entry(wish, seen.get(wish), errors.get(wish)) for wish in wishes], **self._totals)

    # What there is

    def _look(self, wish: Wish) -> _Seen:
        found = self._origin.find(wish)
        # Without a tag the name is the digest, which is another one if a platform was chosen.
        target = wish.target if wish.target.tag else wish.target._replace(digest=found.descriptor.digest)
        try:
            there: t.Optional[Digest] = self._client.resolve(target).digest
        except NotInRegistry:
            there = None
        plan = compare(found.descriptor.digest, there)
        content = self._origin.tree(wish, found) if self._origin.free or isinstance(plan, Copy) else None
        return _Seen(found, target, there, plan, content)

    def _ask(self, trees: t.Mapping[Wish, Tree]) -> t.Tuple[t.Set[Held], t.Dict[Held, StowageError]]:
        """What of manifests, and then of the blobs of those that are lacking, the destination has; each is asked for once."""
        below = {key: wish.target for wish, content in trees.items() for key in held_in(wish, content.below)}
        answers, unknown = self._each(lambda key: self._has_manifest(below[key], key[1]), below)
        has = {key for key, there in answers.items() if there}
        blobs = {key: wish.target for wish, content in trees.items() for key in held_in(wish, needs(wish, content, has))}
        answers, more = self._each(lambda key: self._writer.has_blob(blobs[key], key[1]), blobs)
        return has.union(key for key, there in answers.items() if there), {**unknown, **more}

    def _elsewhere(self, trees: t.Mapping[Wish, Tree], kept: t.Mapping[Wish, Tree], has: t.Set[Held]) -> t.Dict[str, t.List[str]]:
        """Repositories of the destination's registry that are known to hold a blob, by its digest."""
        found: t.Dict[str, t.Dict[str, None]] = {}
        for wish, content in list(kept.items()) + list(trees.items()):
            for repository, digest in held_in(wish, content.blobs):
                repositories = found.setdefault(digest, {})
                repositories.update(dict.fromkeys(self._origin.mounts(wish)))
                if wish in kept or (repository, digest) in has:
                    repositories[repository] = None
        return {digest: list(repositories) for digest, repositories in found.items()}

    def _known(self, one: _Seen) -> Tree:
        """What a kept image consists of, asked of the destination: it holds blobs that others need."""

        def read(child: Descriptor) -> bytes:
            return self._client.manifest(one.target._replace(tag=None, digest=child.digest))[0]

        root = one.found.descriptor
        return one.content or tree(root, read(root), str(one.target), read)

    def _has_manifest(self, target: Reference, digest: str) -> bool:
        try:
            self._client.resolve(target._replace(tag=None, digest=Digest(digest)))
        except NotInRegistry:
            return False
        return True

    # What is done

    def _move(self, plan: Plan) -> t.Dict[Held, StowageError]:
        """Blobs that others follow come first; what could not be had, by its key."""
        self._origin.ready(move.blob.descriptor.digest for move in plan.moves if not move.mounts)
        moves = {move.key: move for move in plan.moves}
        lost = self._each(lambda key: self._bring(moves[key]), [key for key, move in moves.items() if not move.follows])[1]
        lost.update(self._each(lambda key: self._bring(moves[key]), [key for key, move in moves.items() if move.follows])[1])
        return lost

    def _bring(self, move: Move) -> None:
        target, blob, begun = move.wish.target, move.blob.descriptor, ""
        for repository in move.mounts:
            mounted = self._writer.mount(target, blob.digest, repository)
            if mounted.done:
                self._count("mounted", [move.blob])
                return
            begun = mounted.location or begun
        if not self._origin.holds(blob.digest):
            raise ArchiveError(
                "%s (%s) is not in %s, and %s does not give it out of %s: give the earlier bundle that has it as base"
                % (move.blob.what, blob.digest, searched(self._origin.where, self._origin.bases), target.registry, " or ".join(move.mounts))
            )
        try:
            self._writer.upload(target, blob, lambda: self._origin.open(move), move.blob.what, begun)
        except BlobMismatch as error:
            if self._origin.free:
                raise
            # It is no archive that is damaged.
            raise RegistryError("%s: the registry, or what lies between, is damaged" % str(error).rpartition(": ")[0]) from None
        self._count("sent", [move.blob])

    def _name(self, target: Reference, content: Tree, has: t.Container[Held]) -> None:
        """Manifests before the indexes that name them, and the one that has the name at the end."""
        for document in content.documents[:-1]:
            if (target.repository, document.descriptor.digest) not in has:
                self._put(target._replace(tag=None, digest=document.descriptor.digest), document)
        self._put(target, content.root)

    def _put(self, target: Reference, document: Document) -> None:
        self._writer.put_manifest(target, document.raw, document.descriptor.media_type)

    # What is told

    def _entry(self, wish: Wish, seen: t.Optional[_Seen], error: t.Optional[StowageError]) -> Result:
        if error or seen is None:
            return dict(failed(wish.spelling, t.cast(StowageError, error)), destination=str(wish.target))
        digest = seen.found.descriptor.digest
        sides = [{"reference": str(seen.target), "digest": side} for side in (seen.there, digest)]
        return {
            "reference": wish.spelling,
            "destination": str(seen.target),
            "image_id": None,
            "digest": digest,
            "config_digest": _config(seen.content),
            "changed": isinstance(seen.plan, Copy),
            "action": "copied" if isinstance(seen.plan, Copy) else "kept",
            "reason": seen.plan.reason,
            "diff": tuple(sides),
        }

    def _count(self, what: str, blobs: t.Iterable[Blob]) -> None:
        sizes = [blob.descriptor.size for blob in blobs]
        with self._lock:
            self._totals[what + "_blobs"] += len(sizes)
            if what + "_bytes" in self._totals:
                self._totals[what + "_bytes"] += sum(sizes)

    def _each(self, work: t.Callable[[K], V], items: t.Iterable[K]) -> t.Tuple[t.Dict[K, V], t.Dict[K, StowageError]]:
        """Side by side: what came out, and what went wrong."""
        items = list(items)

        def guarded(item: K) -> t.Union[V, StowageError]:
            try:
                return work(item)
            except StowageError as error:
                return error

        with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(self._parallel, len(items)))) as pool:
            answers = list(zip(items, pool.map(guarded, items)))
        done = {item: answer for item, answer in answers if not isinstance(answer, StowageError)}
        return done, {item: answer for item, answer in answers if isinstance(answer, StowageError)}


def _first(trees: t.Mapping[Wish, Tree], errors: t.Mapping[Held, StowageError]) -> t.Dict[Wish, StowageError]:
    """The images that what went wrong belongs to."""
    found = {}
    for wish, content in trees.items():
        own = [errors[key] for key in held_in(wish, content.below + tuple(content.blobs)) if key in errors]
        if own:
            found[wish] = own[0]
    return found


def _without(trees: t.Mapping[Wish, Tree], errors: t.Container[Wish]) -> t.Dict[Wish, Tree]:
    return {wish: content for wish, content in trees.items() if wish not in errors}


def _config(content: t.Optional[Tree]) -> t.Optional[str]:
    parsed = parse(content.root.raw, "", content.root.descriptor.media_type) if content else None
    return parsed.config.digest if isinstance(parsed, Manifest) else None
