# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the errors of requests, and of what lies below it, mean for who asked: worth another try, or a sentence that says what to do."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
import typing as t
import urllib.parse

from .._errors import RegistryError
from .urls import origin

_NO_SUCH_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class Broken(Exception):
    """A connection that failed or an answer that was cut: worth another try."""


def library(what: str) -> t.Any:
    """The module requests; raises RegistryError that says which Python lacks it."""
    try:
        import requests
    except ImportError:
        raise RegistryError(
            "%s: asking a registry needs the Python library requests, and %s has none: install python3-requests with the system's package "
            "manager, or requests with that Python's pip" % (what, sys.executable)
        ) from None
    return requests


@contextlib.contextmanager
def translated(what: str, url: str) -> t.Iterator[None]:
    """What requests raises comes out as Broken, or as RegistryError where another try would be in vain; ``what`` begins its message."""
    requests = library(what)
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise RegistryError(_tls_failure(what, url, error)) from None
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        chain = _chain(error)
        if any(isinstance(link, ssl.SSLError) and "ALERT" in str(link) for link in chain):
            # With TLS 1.3 a server refuses a client's certificate only after the handshake.
            raise RegistryError(_tls_failure(what, url, error)) from None
        if any(isinstance(link, socket.gaierror) and link.errno in _NO_SUCH_HOST for link in chain):
            # A resolver that may know it later answers otherwise (EAI_AGAIN).
            raise RegistryError(
                "%s: cannot ask %s (%s): see how its name is written, and whether it can be resolved here" % (what, origin(url), cause_of(error))
            ) from None
        raise Broken(cause_of(error)) from None
    except (requests.exceptions.RequestException, ValueError) as error:
        raise RegistryError("%s: cannot ask %s (%s)" % (what, origin(url), cause_of(error))) from None


def unreachable(what: str, url: str, tries: int, why: object) -> RegistryError:
    """The sentence for a server that gave no whole answer."""
    server = origin(url) + (" in %d tries" % tries if tries > 1 else "")
    return RegistryError("%s: no answer from %s (%s): see whether it runs and can be reached" % (what, server, why))


def _tls_failure(what: str, url: str, error: BaseException) -> str:
    host = urllib.parse.urlsplit(url).netloc
    cause = _chain(error)[-1]
    if type(cause).__name__ in ("SSLCertVerificationError", "CertificateError"):
        why = getattr(cause, "verify_message", None) or str(cause)
        return "%s: the certificate of %s does not verify (%s): give its CA as ca_cert, or as /etc/docker/certs.d/%s/ca.crt" % (what, host, why, host)
    if getattr(cause, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "%s: %s speaks no TLS: set plain_http if it is meant to be asked without" % (what, host)
    if re.search("ALERT|EOF occurred", str(cause)):
        return "%s: %s refuses TLS with us (%s): if it wants a client's certificate, give client_cert and client_key" % (what, host, cause)
    return "%s: TLS with %s failed (%s)" % (what, host, cause)


def cause_of(error: BaseException) -> str:
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
