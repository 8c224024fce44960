# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries as the source of a bundle: manifests as they are there, and layers that an interrupted run does not fetch again."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
import typing as t

from .._errors import ArchiveError, RegistryError, shown
from .._oci import bundle, place
from .._oci import image as _image
from .._oci import manifest as _manifest
from .._oci.archive import Archive
from .._oci.digest import CHUNK, Digest, Verified, drain, hashing
from .._oci.extent import Extent, room
from .._oci.manifest import Descriptor, Index, Manifest
from .._oci.platform import Platform
from .._oci.reference import Reference
from .._plan.archive import Offer, Sought, choose
from .._plan.content import narrowed
from .._registry.client import Client
from .archive import Fetched


class RegistrySource:
    """What ``old``, the bundle so far, has of the images is not asked for; layers that a ``base`` has are not fetched.

    ``by_config``: the bundle keeps no manifests (docker-archive), so images are compared by their configs.
    """

    def __init__(
        self,
        client: Client,
        platforms: t.Sequence[Platform],
        old: t.Optional[Archive],
        base: t.Callable[[str], bool],
        by_config: bool,
        parallel: int,
    ) -> None:
        self._client = client
        self._platforms = platforms
        self._old = old
        self._base = base
        self._by_config = by_config
        self._parallel = max(1, parallel)
        self._members: t.Dict[str, bundle.Member] = {}

    # What there is

    def look(self, reference: Reference) -> Sought:
        """One HEAD, or nothing for a digest that the old bundle has; then whatever of manifests and configs that lacks."""
        where = reference.where
        digest, media_type = reference.digest, ""
        raw = self._known(digest)
        if digest is None or raw is None:
            target = self._client.resolve(reference)
            digest, media_type = target.digest, target.media_type
            raw = self._manifest(reference, digest)
        parsed = _manifest.parse(raw, where, media_type)
        member = self._of_index(reference, parsed, where) if isinstance(parsed, Index) else self._single(reference, parsed, where)
        self._members[member.name] = member
        config = member.variants[0].config.digest if len(member.variants) == 1 else None
        sought = Sought(reference, None, digest, config, tuple(map(self._offer, member.variants)))
        if self._by_config:
            return sought
        attached = tuple(blob.digest for manifest in member.attachments for blob in manifest.blobs)
        return sought._replace(target=member.target[0].digest, attached=attached)

    def _single(self, reference: Reference, manifest: Manifest, where: str) -> bundle.Member:
        image = self._fetched(reference, manifest, where)
        choose(self._platforms, [self._offer(image)], where)
        return bundle.Member(reference.tagged, (image,))

    def _of_index(self, reference: Reference, index: Index, where: str) -> bundle.Member:
        chosen = narrowed(index, self._platforms, where)
        kept = chosen if isinstance(chosen, Index) else None
        images, attached = [], []
        for child in {child.digest: child for child in (kept.manifests if kept else [t.cast(Descriptor, chosen)])}.values():
            manifest = self._parsed(reference, child, where)
            if child.attestation or manifest.artifact:
                attached.append(manifest)
                continue
            image = self._fetched(reference, manifest, where)
            if child.platform and child.platform[:2] == image.config.platform[:2]:
                # Old configs do not say for which arm they are.
                image = image._replace(config=image.config._replace(platform=child.platform))
            images.append(image)
        if not images:
            raise ArchiveError("%s is an index without an image: name another tag" % where)
        return bundle.Member(reference.tagged, tuple(images), kept, tuple(attached))

    def _parsed(self, reference: Reference, child: Descriptor, where: str) -> Manifest:
        found = _manifest.parse(self._manifest(reference, child.digest), where, child.media_type)
        if isinstance(found, Index):
            raise ArchiveError("%s is an index of indexes, which no engine reads: name one of them by its digest" % where)
        return found

    def _fetched(self, reference: Reference, manifest: Manifest, where: str) -> _image.Image:
        if manifest.artifact:
            raise ArchiveError("%s is no image, but %s: a bundle holds images alone" % (where, shown(manifest.artifact)))
        raw = self._known(manifest.config.digest) or self._client.raw_config(reference, manifest)
        return _image.assemble((), manifest, raw, where)

    def _manifest(self, reference: Reference, digest: Digest) -> bytes:
        return self._known(digest) or self._client.manifest(reference._replace(tag=None, digest=digest))[0]

    def _known(self, digest: t.Optional[Digest]) -> t.Optional[bytes]:
        return self._old.document(digest) if self._old and digest else None

    def _offer(self, image: _image.Image) -> Offer:
        size = sum(layer.descriptor.size for layer in image.layers if not self._base(layer.descriptor.digest))
        if self._by_config:
            shows = {"Id": image.config.digest, "RootFS": {"Layers": [layer.diff_id for layer in image.layers]}}
            return Offer(image.config.platform, None, shows, size=size)
        return Offer(image.config.platform, image.manifest.digest, size=size)

    # What is fetched

    @contextlib.contextmanager
    def fetch(self, sought: t.Sequence[Sought], target: str) -> t.Iterator[Fetched]:
        """All blobs on disk: in the old bundle, if they are right there, or fetched beside ``target``.

        What was fetched stays when something fails, and goes when the bundle is written.
        """
        members = [self._members[image.name] for image in sought]
        wanted: t.Dict[str, _Wanted] = {}
        for image, member in zip(sought, members):
            for blob, what in member.blobs:
                if not self._base(blob.digest):
                    wanted.setdefault(blob.digest, _Wanted(image.reference, blob, what))
        with place.parts(target) as folder:
            extents = self._reused(wanted)
            reused = sum(extent.size for extent in extents.values())
            fetcher = _Fetcher(self._client, folder, [one for digest, one in wanted.items() if digest not in extents])
            room(folder, fetcher.left() + sum(one.blob.size for one in wanted.values()), "fetching and bundling the images")
            extents.update(fetcher.fetch(self._parallel))
            yield Fetched(members, extents, fetcher.read, reused + fetcher.resumed, proved=True)

    def _reused(self, wanted: t.Mapping[str, _Wanted]) -> t.Dict[str, Extent]:
        """Blobs of the old bundle; one that is damaged there is fetched."""
        if self._old is None:
            return {}
        found = {}
        for digest, extent in self._old.extents(digest for digest in wanted if self._old.holds(digest)).items():
            with contextlib.suppress(ArchiveError), extent.open() as stream:
                drain(Verified(stream, digest, wanted[digest].blob.size, wanted[digest].what))
                found[digest] = extent
        return found


class _Wanted(t.NamedTuple):
    """A blob, and the image in whose repository it is."""

    reference: Reference
    blob: Descriptor
    what: str


class _Fetcher:
    """Fetches blobs into files of ``folder``, which are named by digest once they are proved."""

    def __init__(self, client: Client, folder: str, wanted: t.Sequence[_Wanted]) -> None:
        self._client = client
        self._folder = folder
        self._wanted = wanted
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.read = 0
        """Bytes that came from registries."""
        self.resumed = 0
        """Bytes that an earlier run had fetched."""
        names = {os.path.basename(self._path(one)) for one in wanted}
        for left in os.listdir(folder):
            if left.partition(".")[0] not in names:
                os.unlink(os.path.join(folder, left))

    def left(self) -> int:
        """Bytes that are still to come."""
        here = {name: os.path.getsize(os.path.join(self._folder, name)) for name in os.listdir(self._folder)}
        names = [os.path.basename(self._path(one)) for one in self._wanted]
        return sum(max(0, one.blob.size - here.get(name, here.get(name + ".part", 0))) for one, name in zip(self._wanted, names))

    def fetch(self, parallel: int) -> t.Dict[str, Extent]:
        """Where they lie, by digest; the first failure ends all."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=parallel) as pool:
            try:
                paths = list(pool.map(self._one, self._wanted))
            except BaseException:
                self._stop.set()
                raise
        return {one.blob.digest: Extent(path, 0, one.blob.size) for one, path in zip(self._wanted, paths)}

    def _path(self, one: _Wanted) -> str:
        return os.path.join(self._folder, one.blob.digest.replace(":", "-"))

    def _one(self, one: _Wanted) -> str:
        path = self._path(one)
        if os.path.exists(path):
            self._count(resumed=one.blob.size)
            return path
        with open(path + ".part", "a+b") as out:
            digest = hashing(one.blob.digest)
            out.seek(0)
            for data in iter(lambda: out.read(CHUNK), b""):
                digest.update(data)
            begun = out.tell()
            if begun > one.blob.size:
                out.truncate(0)
                begun, digest = 0, hashing(one.blob.digest)
            self._count(resumed=begun)
            with self._client.blob(one.reference, one.blob, one.what, begun) as stream:
                for data in iter(lambda: stream.read(CHUNK), b""):
                    if self._stop.is_set():
                        raise RegistryError("%s: not fetched to its end, as another failed" % one.what)
                    digest.update(data)
                    out.write(data)
                    self._count(read=len(data))
            size = out.tell()
        if size != one.blob.size or digest.hexdigest() != one.blob.digest.hex:
            os.unlink(path + ".part")
            if begun:
                return self._one(one)  # what was there may have been the wrong half
            more = "more than %d bytes" % one.blob.size if size > one.blob.size else "sha256:%s" % digest.hexdigest()
            raise RegistryError(
                "%s: %s sends something else as %s: %s where %s is promised: the registry, or what lies between, is damaged"
                % (one.reference.spelling, one.reference.registry, one.what, more, one.blob.digest)
            )
        os.rename(path + ".part", path)
        return path

    def _count(self, read: int = 0, resumed: int = 0) -> None:
        with self._lock:
            self.read += read
            self.resumed += resumed
