# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to registries and their token servers, on requests: TLS, proxies, time-outs, redirects, and trying again.

requests is imported when the first request is made, and nowhere else.
"""

from __future__ import annotations

import email.utils
import random
import ssl
import threading
import time
import typing as t
import urllib.parse
import warnings

from .._errors import RegistryError, shown
from .._oci.manifest import LIMIT
from . import trust, urls
from .failures import Broken, cause_of, library, translated, unreachable

CONNECT_SECONDS = 10
PATIENCE_SECONDS = 60
"""Who asks us to wait longer than this before we come again has refused."""

_PAUSE_SECONDS = 0.5
_TRANSIENT = (429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_POOL = 64


class Answer(t.NamedTuple):
    """``headers`` are looked up in any case; ``body`` is whole, and empty after HEAD."""

    status: int
    headers: t.Mapping[str, str]
    body: bytes
    url: str

    @property
    def retry_after(self) -> t.Optional[float]:
        """Seconds that the server asks us to wait, if it does (RFC 9110, section 10.2.3)."""
        stated = self.headers.get("Retry-After", "")
        seconds = urls.number(stated)
        if seconds is not None:
            return seconds
        try:
            return max(0.0, email.utils.parsedate_to_datetime(stated).timestamp() - time.time())
        except (TypeError, ValueError, OverflowError):
            return None


class Stream:
    """An answer of 200 or 206 whose body is not read yet."""

    retry_after = None

    def __init__(self, response: t.Any) -> None:
        self.status: int = response.status_code
        self.headers: t.Mapping[str, str] = response.headers
        self._response = response

    def read(self, n: int) -> bytes:
        """At most n bytes, none at the end; raises Broken where the connection ends before what was promised has come."""
        try:
            return t.cast(bytes, self._response.raw.read(n))
        except Exception as error:
            # What urllib3 raises is no error of requests here, and differs between its versions.
            raise Broken(cause_of(error)) from None

    def close(self) -> None:
        self._response.close()


class Body(t.Protocol):
    """What is sent: ``len()`` bytes, in pieces, from the start each time that it is iterated."""

    def __len__(self) -> int: ...

    def __iter__(self) -> t.Iterator[bytes]: ...


R = t.TypeVar("R", Answer, t.Union[Answer, Stream])


class Http:
    """Keeps connections to each server; any number of threads may ask at once."""

    def __init__(
        self, ca_cert: t.Optional[str], verify: bool, timeout: float, retries: int, client: t.Optional[trust.Pair] = None
    ) -> None:
        self._ca_cert = ca_cert
        self._client = client
        self.knows_us: t.Set[str] = set()
        """The origins to which the ``client`` certificate is shown: others that redirects lead to are none of its business."""
        self._verify = verify
        self._timeout = (min(CONNECT_SECONDS, timeout), timeout)
        self.retries = max(0, retries)
        self._adapters: t.Dict[str, t.Any] = {}
        self._lock = threading.Lock()

    def request(
        self, what: str, method: str, url: str, headers: t.Optional[t.Mapping[str, str]] = None, form: t.Optional[t.Mapping[str, str]] = None
    ) -> Answer:
        """Ask, follow redirects of GET and HEAD, and try again what may pass; ``what`` begins a message.

        Any status is returned, and is the caller's to judge. Raises RegistryError if no answer could be had, or one of more
        than 4 MiB.
        """
        return self.patiently(what, url, lambda: self.once(what, method, url, headers, form))

    def patiently(self, what: str, url: str, attempt: t.Callable[[], R]) -> R:
        """The first answer of ``attempt`` that is no reason to try again, or the last one; raises RegistryError if there is none."""
        tries = 0
        while True:
            tries += 1
            last = tries > self.retries
            pause = min(PATIENCE_SECONDS, _PAUSE_SECONDS * 2**tries) * random.uniform(0.5, 1)
            try:
                answer = attempt()
            except Broken as error:
                if last:
                    raise unreachable(what, url, tries, error) from None
            else:
                if last or answer.status not in _TRANSIENT:
                    return answer
                pause = pause if answer.retry_after is None else answer.retry_after
                if pause > PATIENCE_SECONDS:
                    return answer
            time.sleep(pause)

    def once(
        self,
        what: str,
        method: str,
        url: str,
        headers: t.Optional[t.Mapping[str, str]] = None,
        form: t.Optional[t.Mapping[str, str]] = None,
        body: t.Optional[Body] = None,
    ) -> Answer:
        """``request`` in one try; raises Broken if no whole answer came. Nothing that has a body is sent on by a redirect."""
        response = self._follow(what, method, url, dict(headers or {}), form if body is None else body)
        with response:
            return Answer(response.status_code, response.headers, _read(what, response, method != "HEAD"), response.url)

    def open(self, what: str, url: str, headers: t.Mapping[str, str]) -> t.Union[Answer, Stream]:
        """GET in one try: a Stream, which the caller closes, or what the server says instead. Raises Broken."""
        response = self._follow(what, "GET", url, dict(headers), None)
        if response.status_code in (200, 206):
            return Stream(response)
        with response:
            return Answer(response.status_code, response.headers, _read(what, response), response.url)

    def _follow(self, what: str, method: str, url: str, headers: t.Dict[str, str], data: t.Any) -> t.Any:
        """The response that redirects lead to."""
        for _hop in range(_MOST_REDIRECTS + 1):
            response = self._send(what, method, url, headers, data)
            if response.status_code not in _REDIRECTS or data is not None or not response.headers.get("Location"):
                return response
            with response:
                _read(what, response)
                location = response.headers["Location"]
            target = self.joined(what, url, location)
            if not urls.same_server(target, url):
                headers.pop("Authorization", None)
            url = target
        raise RegistryError("%s: %s redirects more than %d times" % (what, urls.origin(url), _MOST_REDIRECTS))

    def joined(self, what: str, url: str, location: str) -> str:
        """Where an answer from ``url`` sends us on; raises RegistryError if that is no address, or leaves TLS."""
        try:
            target = urllib.parse.urljoin(url, location)
            origin = urls.origin(target)
        except ValueError:
            raise RegistryError("%s: %s redirects to no address: %s" % (what, urls.origin(url), shown(location))) from None
        if not target.startswith(("https://", urls.scheme(url))):
            raise RegistryError("%s: %s redirects to %s, which is no TLS: refused" % (what, urls.origin(url), shown(origin)))
        return target

    def _send(self, what: str, method: str, url: str, headers: t.Mapping[str, str], data: t.Any) -> t.Any:
        requests = library(what)
        headers = dict(headers, **{"User-Agent": "stowage.oci", "Accept-Encoding": "identity"})
        proxies = {} if urls.loopback(url) else requests.utils.get_environ_proxies(url)
        with translated(what, url):
            # No session: that would follow redirects with its own idea of who may see what, and send what ~/.netrc has.
            request = requests.Request(method, url, headers=headers, data=data).prepare()
            return self._adapter(what, url).send(request, stream=True, timeout=self._timeout, verify=self._verify, proxies=proxies)

    def _adapter(self, what: str, url: str) -> t.Any:
        origin = urls.origin(url)
        with self._lock:
            if origin not in self._adapters:
                if not self._verify:
                    # It was asked for: urllib3 need not say so with every request.
                    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
                scheme, host = origin.split("://")
                client = self._client if origin in self.knows_us else None
                self._adapters[origin] = _adapter(what, trust.context(host, self._ca_cert, self._verify, client) if scheme == "https" else None)
            return self._adapters[origin]


def _adapter(what: str, context: t.Optional[ssl.SSLContext]) -> t.Any:
    base: t.Any = library(what).adapters.HTTPAdapter

    class Adapter(base):
        """Hands our TLS context, if there is one, to each kind of connection; requests' own certifi is trusted besides it."""

        def init_poolmanager(self, *args: t.Any, **kwargs: t.Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

        def proxy_manager_for(self, proxy: str, **kwargs: t.Any) -> t.Any:
            return super().proxy_manager_for(proxy, ssl_context=context, **kwargs)

    return Adapter(pool_maxsize=_POOL)


def _read(what: str, response: t.Any, whole: bool = True) -> bytes:
    """The body, to its end even if that is nothing: only then is the connection used again."""
    body = b""
    with translated(what, response.url):
        for piece in response.iter_content(1 << 16):
            body += piece
            if len(body) > LIMIT:
                raise RegistryError(
                    "%s: %s answers more than %d bytes: no manifest or config is that large" % (what, urls.origin(response.url), LIMIT)
                )
    promised = urls.number(response.headers.get("Content-Length", ""))
    if whole and promised is not None and len(body) < promised:
        raise Broken("the answer was cut after %d of %d bytes" % (len(body), promised))
    return body
