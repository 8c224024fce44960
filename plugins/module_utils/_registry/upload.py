# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing to registries: blobs and manifests that come, blobs that are there in another repository, and what goes (distribution-spec, "Push")."""

from __future__ import annotations

import contextlib
import re
import typing as t
import urllib.parse

from .._errors import RegistryDenied, RegistryError
from .._oci.digest import CHUNK, Digest, Verified
from .._oci.manifest import Descriptor
from .._oci.reference import Reference
from .auth import reason
from .session import Session, pull
from .transport import Answer
from .urls import same_server

Opened = t.Callable[[], t.ContextManager[t.Any]]
"""Opens a blob, from its beginning each time."""

_NOT_THERE = (404, 405, 501)
"""No such blob, or a registry that does not say."""

_NO_MONOLITH = (404, 405, 411, 415, 416, 501)
"""How a registry says that it takes a blob by PATCH alone."""

_ADVICE = {
    404: "make the repository first, if the registry makes none by a push, or look at the name",
    405: "it is read-only, so push to the registry that it mirrors, or allow writing in its configuration",
    413: "raise the limit of the registry, or of a proxy before it",
}


def push(reference: Reference) -> t.Tuple[str, ...]:
    """What writing to a repository takes."""
    return ("repository:%s:pull,push" % reference.repository,)


class Mount(t.NamedTuple):
    """``done``, or an upload that the registry began instead at ``location``, if it did."""

    done: bool
    location: str = ""


class Writer:
    """All registries of a task, to be written to; every method raises RegistryDenied or RegistryError."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def has_blob(self, reference: Reference, digest: str) -> bool:
        """Whether the repository has this blob."""
        answer = self._session.ask("HEAD", reference, self._session.api(reference, "blobs/%s" % digest), pull(reference))
        if answer.status in _NOT_THERE:
            return False
        self._session.judge(reference, answer)
        return True

    def mount(self, reference: Reference, digest: str, repository: str) -> Mount:
        """Have a blob that another repository of the same registry has; a refusal is no error, as it can be uploaded."""
        url = _more(self._session.api(reference, "blobs/uploads/"), {"mount": digest, "from": repository})
        try:
            answer = self._session.ask("POST", reference, url, push(reference) + ("repository:%s:pull" % repository,))
        except RegistryDenied:
            return Mount(False)
        if answer.status == 202 and answer.headers.get("Location"):
            return Mount(False, self._session.http.joined(reference.spelling, answer.url, answer.headers["Location"]))
        return Mount(answer.status == 201)

    def upload(self, reference: Reference, blob: Descriptor, opened: Opened, what: str, begun: str = "") -> None:
        """Send a blob, proving its digest on the way; ``what`` is how messages call it, ``begun`` the location of a Mount.

        Raises BlobMismatch, or what ``opened`` does, if the source has something else.
        """
        with pushing(reference):
            url = self._session.api(reference, "blobs/uploads/")
            answer = self._session.http.patiently(reference.spelling, url, _Upload(self._session, reference, blob, opened, what, begun))
            self._judge(reference, answer, what)

    def put_manifest(self, reference: Reference, raw: bytes, media_type: str) -> None:
        """Have these bytes under the reference's tag, or under its digest if it has no tag."""
        url = self._session.api(reference, "manifests/%s" % (reference.tag or reference.digest))
        headers, body = {"Content-Type": media_type}, _Raw(raw)
        with pushing(reference):
            answer = self._session.http.patiently(
                reference.spelling, url, lambda: self._session.once("PUT", reference, url, push(reference), headers, body)
            )
            self._judge(reference, answer, "the manifest")
        digest, stored = Digest.of(raw), answer.headers.get("Docker-Content-Digest", "")
        if stored.startswith("sha256:") and stored != digest:
            raise RegistryError(
                "%s: %s stored the manifest %s as %s: it changes what is pushed to it, and so cannot hold this image"
                % (reference.spelling, reference.registry, digest, stored)
            )

    def delete(self, reference: Reference) -> bool:
        """Remove the manifest of the reference's digest, with all tags of it; False if there is none."""
        url = self._session.api(reference, "manifests/%s" % reference.digest)
        with pushing(reference):
            answer = self._session.ask("DELETE", reference, url, ("repository:%s:delete,pull,push" % reference.repository,))
            if answer.status == 404:
                return False
            if answer.status == 405:
                raise RegistryError(
                    "%s: %s deletes nothing (%s): allow it in the registry's configuration" % (reference.spelling, reference.registry, reason(answer))
                )
            self._judge(reference, answer, "the manifest")
        return True

    def _judge(self, reference: Reference, answer: Answer, what: str) -> None:
        """Raise what any other status than success means for a push."""
        if 200 <= answer.status < 300:
            return
        why, advice = reason(answer), _ADVICE.get(answer.status)
        if answer.status == 400 and why != "HTTP 400" or 300 <= answer.status < 400:
            advice = "look at its log"
        if advice is None:
            self._session.judge(reference, answer)
        raise RegistryError("%s: %s does not take %s (%s): %s" % (reference.spelling, reference.registry, what, why, advice))


class _Upload:
    """One blob; each call is a try, which goes on where the one before broke off if the registry can."""

    def __init__(self, session: Session, reference: Reference, blob: Descriptor, opened: Opened, what: str, begun: str) -> None:
        self._session = session
        self._reference = reference
        self._blob = blob
        self._opened = opened
        self._what = what
        self._location = begun
        self._fresh = bool(begun)
        self._monolithic = True

    def __call__(self) -> Answer:
        at = self._resumed()
        if at:
            answer = self._patched(at)
            if answer.status < 400:
                return answer
        answer = self._begun()
        if answer.status != 202:
            return answer
        if not self._monolithic:
            return self._patched(0)
        answer = self._put(0)
        if answer.status in _NO_MONOLITH:
            self._monolithic, self._location = False, ""
            return self()
        return answer

    def _resumed(self) -> int:
        """How many bytes the registry has of a try that broke off; 0 to begin again."""
        if self._fresh or not self._location:
            return 0
        location, self._location = self._location, ""
        answer = self._once("GET", location)
        held = re.fullmatch("(?:bytes=)?0-([0-9]{1,18})", answer.headers.get("Range", ""))
        if answer.status != 204 or not held or not 0 < int(held.group(1)) < self._blob.size:
            return 0
        self._moved(answer, location)
        return int(held.group(1)) + 1

    def _begun(self) -> Answer:
        """A new upload, or the one that a mount left us."""
        if self._fresh:
            self._fresh = False
            return Answer(202, {}, b"", self._location)
        self._location = ""
        answer = self._once("POST", self._session.api(self._reference, "blobs/uploads/"))
        if answer.status == 202:
            self._moved(answer, "")
        return answer

    def _patched(self, at: int) -> Answer:
        """All from ``at`` on by PATCH, and the end."""
        if at < self._blob.size:
            span = {"Content-Range": "%d-%d" % (at, self._blob.size - 1)}
            location = self._location
            answer = self._once("PATCH", location, _Body(self._blob, self._opened, self._what, at), span)
            if answer.status != 202:
                return answer
            self._moved(answer, location)
        return self._put(self._blob.size)

    def _put(self, at: int) -> Answer:
        body = _Body(self._blob, self._opened, self._what, at)
        return self._once("PUT", _more(self._location, {"digest": self._blob.digest}), body if len(body) else None)

    def _moved(self, answer: Answer, location: str) -> None:
        """Where the upload goes on."""
        target = answer.headers.get("Location") or location
        if not target:
            raise RegistryError(
                "%s: %s begins an upload and does not say where: look at its log" % (self._reference.spelling, self._reference.registry)
            )
        self._location = self._session.http.joined(self._reference.spelling, answer.url, target)

    def _once(self, method: str, url: str, body: t.Optional[_Body] = None, headers: t.Optional[t.Mapping[str, str]] = None) -> Answer:
        headers = dict(headers or {}, **({"Content-Type": "application/octet-stream"} if body else {}))
        reference = self._reference
        if same_server(url, self._session.base(reference.registry)):
            return self._session.once(method, reference, url, push(reference), headers, body)
        # Another host learns no credential of ours.
        return self._session.http.once(reference.spelling, method, url, headers, body=body)


class _Body:
    """A blob from ``start`` on, proved as it is sent: the last piece goes only if all of it is right."""

    def __init__(self, blob: Descriptor, opened: Opened, what: str, start: int) -> None:
        self._blob = blob
        self._opened = opened
        self._what = what
        self._start = start

    def __len__(self) -> int:
        return self._blob.size - self._start

    def __iter__(self) -> t.Iterator[bytes]:
        skip = self._start
        with self._opened() as stream:
            proved = Verified(stream, self._blob.digest, self._blob.size, self._what)
            while skip:
                skip -= len(proved.read(min(skip, CHUNK)))
            yield from iter(lambda: proved.read(CHUNK), b"")


class _Raw:
    """Bytes as a body."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> t.Iterator[bytes]:
        yield self._raw


@contextlib.contextmanager
def pushing(reference: Reference) -> t.Iterator[None]:
    """A refusal meanwhile may be of writing alone."""
    try:
        yield
    except RegistryDenied as error:
        raise RegistryDenied("%s; to push takes the right to write to %s" % (error, reference.repository)) from None


def _more(url: str, query: t.Mapping[str, str]) -> str:
    """The URL with further parameters; those that it has stay as they are."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(query="&".join(filter(None, (parts.query, urllib.parse.urlencode(query, safe=":/"))))).geturl()
