# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search, step by step: find the repositories, ask for the tags of each, and for the digest of each tag."""

from __future__ import annotations

import concurrent.futures
import threading
import typing as t

from .._errors import ArchiveError, InvalidReference, NotInRegistry, RegistryDenied, RegistryError, StowageError
from .._module import Failed
from .._oci.reference import Reference, parse
from .._plan import search as _plan
from .._plan.search import Wish
from .._registry import (
    search_artifactory,
    search_catalog,
    search_docker_hub,
    search_gitlab,
    search_harbor,
    search_nexus,
    search_quay,
    search_v1,
)
from .._registry.client import Client
from .._registry.keychain import Keychain
from .._registry.listing import MOST_PAGES, Listing, NotOffered
from .._registry.limits import Limited
from .._registry.search_shape import Found, Pages, Question, Source
from .._registry.session import Session

Result = t.Dict[str, t.Any]
T = t.TypeVar("T")
U = t.TypeVar("U")

_RANKED_PAGES = 100
"""Of a search that puts the best first; a list of all names is read to its end."""

_EXACT_PAGES = 10
"""Of such a search for an exact name."""


class Api(t.NamedTuple):
    pages: t.Callable[[Source, Question], Pages]
    most: int = MOST_PAGES


_APIS = {
    _plan.HUB: Api(search_docker_hub.pages, _RANKED_PAGES),
    _plan.V1: Api(search_v1.pages, _RANKED_PAGES),
    _plan.CATALOG: Api(search_catalog.pages),
    _plan.QUAY: Api(search_quay.pages, _RANKED_PAGES),
    _plan.HARBOR: Api(search_harbor.pages),
    _plan.GITLAB: Api(search_gitlab.pages),
    _plan.NEXUS: Api(search_nexus.pages),
    _plan.ARTIFACTORY: Api(search_artifactory.pages),
}


class Searcher:
    """One search. Raises Failed, with all that was found, if tags or digests could not be had."""

    def __init__(self, options: t.Mapping[str, t.Any], wish: Wish) -> None:
        self._options = options
        self._wish = wish
        self._parallel = max(1, options["parallel"])
        keychain = Keychain.of(options, [wish.registry])
        self._named = Session(options, keychain)
        self._source = Source(self._named, keychain, wish.registry)
        self._elsewhere: t.Optional[Session] = None
        self._failures: t.List[StowageError] = []
        self._limited: t.Optional[Limited] = None
        self._lock = threading.Lock()

    def __call__(self) -> Result:
        api, found, truncated = self._find()
        found.sort(key=lambda one: _plan.order(one.stars, one.reference.name))
        entries: t.List[Result] = [
            {
                "name": one.reference.repository,
                "reference": one.reference.name,
                "description": one.description,
                "stars": one.stars,
                "official": one.official,
            }
            for one in found
        ]
        if self._wish.tags is not None:
            for entry, tags in zip(entries, self._tags(found)):
                entry["tags"] = tags
        result = dict(changed=False, diff={"before": {}, "after": {}}, api=api, repositories=entries, truncated=truncated)
        if self._failures:
            raise Failed("; ".join(dict.fromkeys(str(error) for error in self._failures)), result)
        return result

    def _find(self) -> t.Tuple[str, t.List[Found], bool]:
        """The API that answered, what it found, and whether there is more."""
        apis = _plan.apis(self._wish)
        refused: t.List[RegistryError] = []
        for api in apis:
            try:
                return (api,) + self._collect(api)
            except RegistryError as error:
                passes = api == _plan.HUB and not isinstance(error, Limited) or isinstance(error, (NotOffered, RegistryDenied))
                if not passes:
                    raise
                refused.append(error)
        message, narrowed = str(refused[0]), _plan.narrowed(self._wish)
        if apis[1:]:
            message += ". It was asked in vain as api %s too" % ", ".join(apis[1:])
        if narrowed:
            message = "%s: %s, so that it can be asked in that way. In others it was in vain: %s" % (self._wish.registry, narrowed, message)
        raise RegistryError(message)

    def _collect(self, api: str) -> t.Tuple[t.List[Found], bool]:
        wish, most = self._wish, _APIS[api].most
        if wish.exact and most == _RANKED_PAGES:
            most = _EXACT_PAGES
        known: t.Set[str] = set()
        found: t.List[Found] = []
        for number, page in enumerate(_APIS[api].pages(self._source, Question(_plan.asked(wish), wish.scope, wish.exact)), 1):
            lack = _plan.untold(wish, [(one.stars, one.official) for one in page])
            if lack:
                raise NotOffered("%s: %s, asked as api %s, %s" % (self._source.reference.spelling, wish.registry, api, lack))
            before = len(known)
            for one in page:
                if one.reference.name in known:
                    continue
                known.add(one.reference.name)
                if _plan.wanted(wish, api, one.reference.repository, one.stars, one.official):
                    if len(found) == wish.limit > 0:
                        return found, True
                    found.append(one)
            if wish.exact and found:
                return found, False
            if number == most or (page and len(known) == before):
                # A server that answers the same page for ever has no more to tell.
                return found, number == most
        return found, False

    def _tags(self, found: t.Sequence[Found]) -> t.List[t.Optional[t.List[Result]]]:
        """Of each repository; None where they could not be had."""
        lists = self._side_by_side(self._list, found)
        tags = [
            None if names is None else [{"name": name, "digest": (one.tags or {}).get(name)} for name in _plan.chosen(self._wish, names)]
            for one, names in zip(found, lists)
        ]
        if self._wish.digests:
            unknown = [(one.reference, tag) for one, known in zip(found, tags) for tag in known or () if tag["digest"] is None]
            for (_reference, tag), digest in zip(unknown, self._side_by_side(self._digest, unknown)):
                tag["digest"] = digest
        return tags

    def _list(self, found: Found) -> t.List[str]:
        if found.tags is not None:
            return list(found.tags)
        try:
            return Listing(self._session(found.reference)).tags(found.reference)
        except NotInRegistry:
            # It was found, and has no tags: as after a push by digest alone.
            return []

    def _digest(self, of: t.Tuple[Reference, Result]) -> t.Optional[str]:
        """None if the tag is gone meanwhile, or names what is no image."""
        repository, tag = of
        try:
            reference = parse("%s:%s" % (repository.name, tag["name"]))
            return Client(self._session(reference)).resolve(reference).digest
        except (ArchiveError, InvalidReference, NotInRegistry):
            return None

    def _session(self, reference: Reference) -> Session:
        """What we are known by is for the registry that was named, and not for one that an answer names."""
        if reference.registry == self._wish.registry:
            return self._named
        with self._lock:
            if self._elsewhere is None:
                options = dict(self._options, username=None, password=None, client_cert=None, client_key=None)
                self._elsewhere = Session(options, Keychain.of(options, []))
            return self._elsewhere

    def _side_by_side(self, work: t.Callable[[T], t.Optional[U]], items: t.Sequence[T]) -> t.List[t.Optional[U]]:
        """The answers in the order of the items; None where one failed, which is noted."""

        def guarded(item: T) -> t.Union[U, StowageError, None]:
            if self._limited:
                # The others would only be refused too.
                return self._limited
            try:
                return work(item)
            except StowageError as error:
                if isinstance(error, Limited):
                    self._limited = error
                return error

        with concurrent.futures.ThreadPoolExecutor(max_workers=self._parallel) as pool:
            answers = list(pool.map(guarded, items))
        self._failures += [answer for answer in answers if isinstance(answer, StowageError)]
        return [None if isinstance(answer, StowageError) else answer for answer in answers]
