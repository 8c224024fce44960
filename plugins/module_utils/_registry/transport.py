# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to registries and their token servers, on requests: TLS, proxies, time-outs, redirects, and trying again.

requests is imported when the first request is made, and nowhere else.
"""

from __future__ import annotations

import email.utils
import ipaddress
import random
import re
import ssl
import sys
import threading
import time
import typing as t
import urllib.parse
import warnings

from .._errors import RegistryError, shown
from .._oci.manifest import LIMIT
from . import trust

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
        seconds = number(stated)
        if seconds is not None:
            return seconds
        try:
            return max(0.0, email.utils.parsedate_to_datetime(stated).timestamp() - time.time())
        except (TypeError, ValueError, OverflowError):
            return None


class _Broken(Exception):
    """A connection that failed or an answer that was cut: worth another try."""


class Http:
    """Keeps connections to each server; any number of threads may ask at once."""

    def __init__(self, ca_cert: t.Optional[str], verify: bool, timeout: float, retries: int) -> None:
        self._ca_cert = ca_cert
        self._verify = verify
        self._timeout = (min(CONNECT_SECONDS, timeout), timeout)
        self._retries = max(0, retries)
        self._adapters: t.Dict[str, t.Any] = {}
        self._lock = threading.Lock()

    def request(
        self, what: str, method: str, url: str, headers: t.Optional[t.Mapping[str, str]] = None, form: t.Optional[t.Mapping[str, str]] = None
    ) -> Answer:
        """Ask, follow redirects of GET and HEAD, and try again what may pass; ``what`` begins a message.

        Any status is returned, and is the caller's to judge. Raises RegistryError if no answer could be had, or one of more
        than 4 MiB.
        """
        tries = 0
        while True:
            tries += 1
            last = tries > self._retries
            pause = min(PATIENCE_SECONDS, _PAUSE_SECONDS * 2**tries) * random.uniform(0.5, 1)
            try:
                answer = self._follow(what, method, url, dict(headers or {}), form)
            except _Broken as error:
                if last:
                    server = _origin(url) + (" in %d tries" % tries if tries > 1 else "")
                    raise RegistryError("%s: no answer from %s (%s): see whether it runs and can be reached" % (what, server, error)) from None
            else:
                if last or answer.status not in _TRANSIENT:
                    return answer
                pause = pause if answer.retry_after is None else answer.retry_after
                if pause > PATIENCE_SECONDS:
                    return answer
            time.sleep(pause)

    def _follow(self, what: str, method: str, url: str, headers: t.Dict[str, str], form: t.Optional[t.Mapping[str, str]]) -> Answer:
        for _hop in range(_MOST_REDIRECTS + 1):
            answer = self._once(what, method, url, headers, form)
            if answer.status not in _REDIRECTS or form is not None or not answer.headers.get("Location"):
                return answer
            try:
                target = urllib.parse.urljoin(url, answer.headers["Location"])
                origin = _origin(target)
            except ValueError:
                raise RegistryError("%s: %s redirects to no address: %s" % (what, _origin(url), shown(answer.headers["Location"]))) from None
            if not target.startswith(("https://", _scheme(url))):
                raise RegistryError("%s: %s redirects to %s, which is no TLS: refused" % (what, _origin(url), shown(origin)))
            if origin != _origin(url):
                headers.pop("Authorization", None)
            url = target
        raise RegistryError("%s: %s redirects more than %d times" % (what, _origin(url), _MOST_REDIRECTS))

    def _once(self, what: str, method: str, url: str, headers: t.Mapping[str, str], form: t.Optional[t.Mapping[str, str]]) -> Answer:
        requests = _library(what)
        headers = dict(headers, **{"User-Agent": "stowage.oci", "Accept-Encoding": "identity"})
        proxies = {} if _loopback(url) else requests.utils.get_environ_proxies(url)
        try:
            # No session: that would follow redirects with its own idea of who may see what, and send what ~/.netrc has.
            request = requests.Request(method, url, headers=headers, data=form).prepare()
            with self._adapter(what, url).send(request, stream=True, timeout=self._timeout, verify=self._verify, proxies=proxies) as response:
                # Read to its end even if that is nothing: only then is the connection used again.
                body = response.content if method == "HEAD" else _read(what, response)
                return Answer(response.status_code, response.headers, body, url)
        except requests.exceptions.SSLError as error:
            raise RegistryError(_tls_failure(what, url, error)) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Broken(_why(error)) from None
        except (requests.exceptions.RequestException, ValueError) as error:
            raise RegistryError("%s: cannot ask %s (%s)" % (what, _origin(url), _why(error))) from None

    def _adapter(self, what: str, url: str) -> t.Any:
        origin = _origin(url)
        with self._lock:
            if origin not in self._adapters:
                if not self._verify:
                    # It was asked for: urllib3 need not say so with every request.
                    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
                scheme, host = origin.split("://")
                self._adapters[origin] = _adapter(what, trust.context(host, self._ca_cert, self._verify) if scheme == "https" else None)
            return self._adapters[origin]


def number(text: str) -> t.Optional[int]:
    """What a header states in digits, or None."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _library(what: str) -> t.Any:
    """The module requests; raises RegistryError that says which Python lacks it."""
    try:
        import requests
    except ImportError:
        raise RegistryError(
            "%s: asking a registry needs the Python library requests, and %s has none: install python3-requests with the system's package "
            "manager, or requests with that Python's pip" % (what, sys.executable)
        ) from None
    return requests


def _adapter(what: str, context: t.Optional[ssl.SSLContext]) -> t.Any:
    requests = _library(what)

    class Adapter(requests.adapters.HTTPAdapter):
        """Hands our TLS context, if there is one, to each kind of connection; requests' own certifi is trusted besides it."""

        def init_poolmanager(self, *args: t.Any, **kwargs: t.Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

        def proxy_manager_for(self, proxy: str, **kwargs: t.Any) -> t.Any:
            return super().proxy_manager_for(proxy, ssl_context=context, **kwargs)

    return Adapter(pool_maxsize=_POOL)


def _read(what: str, response: t.Any) -> bytes:
    body = b""
    for piece in response.iter_content(1 << 16):
        body += piece
        if len(body) > LIMIT:
            raise RegistryError("%s: %s answers more than %d bytes: no manifest or config is that large" % (what, _origin(response.url), LIMIT))
    promised = number(response.headers.get("Content-Length", ""))
    if promised is not None and len(body) < promised:
        raise _Broken("the answer was cut after %d of %d bytes" % (len(body), promised))
    return body


def _tls_failure(what: str, url: str, error: BaseException) -> str:
    host = urllib.parse.urlsplit(url).netloc
    cause = _chain(error)[-1]
    if type(cause).__name__ in ("SSLCertVerificationError", "CertificateError"):
        why = getattr(cause, "verify_message", None) or str(cause)
        return "%s: the certificate of %s does not verify (%s): give its CA as ca_cert, or as /etc/docker/certs.d/%s/ca.crt" % (what, host, why, host)
    if getattr(cause, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "%s: %s speaks no TLS: set plain_http if it is meant to be asked without" % (what, host)
    return "%s: TLS with %s failed (%s)" % (what, host, cause)


def _why(error: BaseException) -> str:
    """The innermost cause in its own words: requests and urllib3 wrap it three times."""
    chain = _chain(error)
    names = {type(link).__name__ for link in chain}
    if names & {"ConnectTimeout", "ReadTimeout", "ConnectTimeoutError", "ReadTimeoutError"}:
        return "silent for too long, see registry_timeout"
    cause = chain[-1]
    return ("through a proxy: " if "ProxyError" in names else "") + (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)


def _chain(error: t.Optional[BaseException]) -> t.List[BaseException]:
    chain: t.List[BaseException] = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _scheme(url: str) -> str:
    return url.partition("://")[0] + "://"


def _origin(url: str) -> str:
    """Scheme, host and port: what may be said of an URL in a message, and what a credential is for."""
    return _scheme(url) + urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _loopback(url: str) -> bool:
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
