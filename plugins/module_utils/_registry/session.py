# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to registries as whoever we are there: addresses, challenges, and what a refusal means."""

from __future__ import annotations

import typing as t
import urllib.parse

from .._errors import NotInRegistry, RegistryError
from .._oci.reference import DOCKER_HUB, Reference
from .auth import Auth, reason
from .keychain import Keychain
from .limits import limited
from .transport import Answer, Body, Http, Stream
from .urls import same_server

_HUB_HOST = "registry-1.docker.io"

A = t.TypeVar("A", Answer, t.Union[Answer, Stream])


def pull(reference: Reference) -> t.Tuple[str, ...]:
    """What reading a repository takes (distribution, spec/auth/scope.md)."""
    return ("repository:%s:pull" % reference.repository,)


class Session:
    """All registries of a task, from the option group ``registry``; nothing is asked before it is needed.

    ``retries`` overrides that option. Any number of threads may ask at once.
    """

    def __init__(self, options: t.Mapping[str, t.Any], keychain: Keychain, retries: t.Optional[int] = None) -> None:
        self._plain = options["plain_http"]
        retries = options["retries"] if retries is None else retries
        client = (options["client_cert"], options["client_key"]) if options["client_cert"] else None
        self.http = Http(options["ca_cert"], options["validate_certs"], options["registry_timeout"], retries, client)
        self._auth = Auth(self.http, keychain, self._plain)

    def base(self, registry: str) -> str:
        """``https://host[:port]``"""
        host = _HUB_HOST if registry == DOCKER_HUB else registry
        origin = "%s://%s" % ("http" if self._plain and registry != DOCKER_HUB else "https", host)
        self.http.knows_us.add(origin)
        return origin

    def api(self, reference: Reference, path: str) -> str:
        """The URL of something of a repository, such as ``tags/list``."""
        return "%s/v2/%s/%s" % (self.base(reference.registry), reference.repository, path)

    def ask(
        self, method: str, reference: Reference, url: str, scopes: t.Tuple[str, ...], headers: t.Optional[t.Mapping[str, str]] = None
    ) -> Answer:
        """Ask, answer a challenge, and try again what may pass; the status of the answer is for ``judge``."""
        return self.http.patiently(reference.spelling, url, lambda: self.once(method, reference, url, scopes, headers))

    def once(
        self,
        method: str,
        reference: Reference,
        url: str,
        scopes: t.Tuple[str, ...],
        headers: t.Optional[t.Mapping[str, str]] = None,
        body: t.Optional[Body] = None,
    ) -> Answer:
        """``ask`` in one try, with a body if there is one; raises Broken."""
        return self._known(
            reference, scopes, headers, lambda known: self.http.once(reference.spelling, method, url, known, body=body)
        )

    def open(self, reference: Reference, url: str, scopes: t.Tuple[str, ...], headers: t.Mapping[str, str]) -> t.Union[Answer, Stream]:
        """GET in one try: a Stream, which the caller closes, or what the registry says instead; raises Broken."""
        return self._known(reference, scopes, headers, lambda known: self.http.open(reference.spelling, url, known))

    def _known(
        self, reference: Reference, scopes: t.Tuple[str, ...], headers: t.Optional[t.Mapping[str, str]], attempt: t.Callable[[t.Dict[str, str]], A]
    ) -> A:
        """An attempt with what the registry wants to see, and after a challenge another one.

        Where a redirect led is no registry: its challenge, which could name a token server of its own, is not answered.
        """
        shown = self._auth.header(reference, scopes)
        answer = attempt(dict(headers or {}, **shown))
        if answer.status == 401 and self._own(reference, answer):
            better = self._auth.challenged(reference, scopes, shown, answer.headers.get("WWW-Authenticate", ""))
            if better:
                answer = attempt(dict(headers or {}, **better))
        return answer

    def _own(self, reference: Reference, answer: t.Union[Answer, Stream]) -> bool:
        """Whether it is the registry itself that answers."""
        return isinstance(answer, Stream) or same_server(answer.url, self.base(reference.registry))

    def judge(self, reference: Reference, answer: Answer) -> None:
        """Raise what a status of 400 or more means."""
        if answer.status < 400:
            return
        spelling, registry, why = reference.spelling, reference.registry, reason(answer)
        if answer.status in (401, 403) and not self._own(reference, answer):
            raise RegistryError(
                "%s: %s sends us on to %s, which refuses (%s): look at the registry's storage, and at the clocks of both"
                % (spelling, registry, urllib.parse.urlsplit(answer.url).netloc, why)
            )
        if answer.status in (401, 403):
            raise self._auth.denied(reference, answer)
        if answer.status == 404:
            raise NotInRegistry("%s: %s has no such image (%s): look at its repository and tag" % (spelling, registry, why))
        if answer.status == 429:
            raise limited(spelling, registry, answer)
        if answer.status == 400 and answer.url.startswith("http://"):
            raise RegistryError("%s: %s refuses to be asked without TLS (%s): leave plain_http away if it speaks TLS" % (spelling, registry, why))
        raise RegistryError("%s: %s failed (%s): look at its log, or try again later" % (spelling, registry, why))
