# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Search: whom to ask in which way, which repositories and tags are wanted, and in which order they come."""

from __future__ import annotations

import fnmatch
import re
import typing as t

from .._errors import InvalidInput, InvalidReference, login, masked, shown
from .._oci.reference import DOCKER_HUB, misplaced, parse
from .versions import Range, newest_first

AUTO, HUB, V1, CATALOG, QUAY, HARBOR, GITLAB, NEXUS, ARTIFACTORY = (
    "auto", "docker_hub", "v1", "catalog", "quay", "harbor", "gitlab", "nexus", "artifactory"
)
APIS = (AUTO, HUB, V1, CATALOG, QUAY, HARBOR, GITLAB, NEXUS, ARTIFACTORY)

_OF_HOST = {DOCKER_HUB: HUB, "quay.io": QUAY, "gitlab.com": GITLAB}
_ASKED = (CATALOG, HARBOR, QUAY, V1, NEXUS)
"""What may answer at a host of which nothing is known, in the order in which they are tried."""

_ASKED_FOR_SCOPE = (HARBOR, GITLAB, NEXUS, ARTIFACTORY)
_NEED_QUERY = (HUB, QUAY)
_NEED_SCOPE = {GITLAB: "the path or number of a project or group", ARTIFACTORY: "the name of a Docker repository of Artifactory's"}
_LISTS = (CATALOG, GITLAB, NEXUS, ARTIFACTORY)
"""These tell all names, as Harbor does of a project, and we choose; the others search, in descriptions too."""

_HAVE_STARS = (HUB, V1, QUAY)
_HAVE_OFFICIAL = (HUB, V1)

_NO_STARS = "tells no stars: leave min_stars away"
_NO_OFFICIAL = "does not tell which images are official: leave official away"

_OFFICIAL = "library/"
_WILD = re.compile(r"\[.*\]|[*?]")
_REFERRERS = re.compile(r"sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{64,128})(?:\..*)?")
"""Tags by which signatures and the like name their image (distribution-spec, "Referrers Tag Schema"; cosign)."""

_WORDS = {"true": True, "yes": True, "false": False, "no": False}


class Wish(t.NamedTuple):
    """``limit`` and ``tag_limit`` are 0 for all; ``tags`` is None where none are wanted, else a pattern that they have.

    ``exact``: the query is the whole name of the one repository that is wanted.
    """

    registry: str
    query: str
    exact: bool
    api: str
    scope: str
    limit: int
    official: bool
    min_stars: int
    tags: t.Optional[t.Pattern[str]]
    tag_range: t.Optional[Range]
    tag_limit: int
    digests: bool


def wish(options: t.Mapping[str, t.Any]) -> Wish:
    """The module's options; raises InvalidInput that says which of them is wrong."""
    for name in ("limit", "tag_limit", "min_stars"):
        if options[name] < 0:
            raise InvalidInput("%s %d: give a number from 0 on" % (name, options[name]))
    tag_range = Range(options["tag_range"]) if options["tag_range"] else None
    registry = _registry(options["registry"])
    if login(options["scope"]):
        raise InvalidInput("scope %s: %s" % (shown(masked(options["scope"])), misplaced(options["scope"])))
    found = Wish(
        registry, _query(options["query"].strip(), options["exact"], registry), options["exact"], options["api"], options["scope"].strip("/ "),
        options["limit"], options["official"], options["min_stars"],
        _pattern(options["tags"], bool(tag_range or options["digests"] or options["tag_limit"])), tag_range, options["tag_limit"], options["digests"],
    )
    _possible(found)
    return found


def apis(wished: Wish) -> t.Tuple[str, ...]:
    """How to ask, one after the other until one answers."""
    api = _OF_HOST.get(wished.registry, AUTO) if wished.api == AUTO else wished.api
    if api == HUB:
        return (HUB, V1)
    if api != AUTO:
        return (api,)
    able = [name for name in (_ASKED_FOR_SCOPE if wished.scope else _ASKED) if wished.query or name not in _NEED_QUERY]
    return tuple(name for name in able if _lacks(name, wished) is None)


def asked(wished: Wish) -> str:
    """What a search is asked for: the query, or the longest part of it that has no wildcards."""
    if wished.exact:
        return _short(wished, wished.query)
    return max(_WILD.split(wished.query), key=len)


def untold(wished: Wish, told: t.Sequence[t.Tuple[t.Optional[int], t.Optional[bool]]]) -> t.Optional[str]:
    """Which option wants to know what a registry tells of none of its repositories, of each of which ``told`` has stars and official."""
    if told and wished.min_stars and all(stars is None for stars, _official in told):
        return _NO_STARS
    if told and wished.official and all(official is None for _stars, official in told):
        return _NO_OFFICIAL
    return None


def narrowed(wished: Wish) -> t.Optional[str]:
    """Why api=auto asks a host of which nothing is known in fewer ways than it could, if an option is why."""
    return _lacks(CATALOG, wished) if wished.api == AUTO and wished.registry not in _OF_HOST and not wished.scope else None


def wanted(wished: Wish, api: str, name: str, stars: t.Optional[int], official: t.Optional[bool]) -> bool:
    """Whether a repository that the API found is one of those that were asked for."""
    if (wished.official and not official) or (stars or 0) < wished.min_stars:
        return False
    if wished.exact:
        return name == wished.query
    query, low = wished.query.lower(), name.lower()
    if _WILD.search(query):
        return fnmatch.fnmatchcase(low, query) or fnmatch.fnmatchcase(_short(wished, low), query)
    return query in low or not (api in _LISTS or wished.scope)


def order(stars: t.Optional[int], name: str) -> t.Tuple[int, str]:
    """The key by which repositories are sorted: the most stars first, then by name."""
    return (-(stars or 0), name)


def chosen(wished: Wish, tags: t.Iterable[str]) -> t.List[str]:
    """The wanted ones of a repository's tags, the newest version first."""
    pattern, limits = t.cast("t.Pattern[str]", wished.tags), wished.tag_range
    found = [tag for tag in tags if not _REFERRERS.fullmatch(tag) and pattern.search(tag) and (limits is None or tag in limits)]
    return newest_first(found)[: wished.tag_limit or None]


def _registry(text: str) -> str:
    try:
        name = parse(text + "/x").registry
        if "/" not in text and (name == text or name == DOCKER_HUB != text and text == "index." + DOCKER_HUB):
            return name
    except InvalidReference:
        pass
    why = misplaced(text)
    raise InvalidInput(
        "registry %s: name a host with an optional port, as image names begin with, for example registry.example.com:5000%s"
        % (shown(masked(text)), " (%s)" % why if why else "")
    )


def _query(text: str, exact: bool, registry: str) -> str:
    """The query; an exact one as the repository's name is written in full."""
    if ":" in text or "@" in text:
        raise InvalidInput(
            "query %s: names of repositories are searched, which have no registry, tag or digest: %s"
            % (shown(masked(text)), misplaced(text) or _instead(text))
        )
    if not exact:
        return text
    try:
        return parse("%s/%s" % (registry, text)).repository
    except InvalidReference:
        lower = ", in lower case" if text.lower() != text else ""
        raise InvalidInput("query %s: with exact give the whole name of one repository, such as team/app%s" % (shown(text), lower)) from None


def _instead(text: str) -> str:
    """How a query that is a reference is written in options."""
    name, colon, tag = text.partition("@")[0].rpartition(":")
    if not colon or not name or not tag or "/" in tag or ":" in name:
        return "name a host with registry, choose tags with tags"
    host, slash, path = name.partition("/")
    host, name = (host, path) if slash and ("." in host or host == "localhost") else ("", name)
    return "write %squery: %s with tags: ^%s$" % ("registry: %s and " % shown(host) if host else "", shown(name), shown(re.escape(tag)))


def _short(wished: Wish, name: str) -> str:
    """As Docker Hub calls its official images."""
    return name[len(_OFFICIAL):] if wished.registry == DOCKER_HUB and name.startswith(_OFFICIAL) else name


def _pattern(given: t.Any, implied: bool) -> t.Optional[t.Pattern[str]]:
    given = _WORDS.get(given.lower(), given) if isinstance(given, str) else given
    if isinstance(given, bool) or given in (None, ""):
        return re.compile("") if given or implied else None
    try:
        return re.compile(given)
    except (re.error, TypeError) as error:
        raise InvalidInput("tags %s: give false, true or a regular expression (%s)" % (shown(given), error)) from None


def _possible(wished: Wish) -> None:
    """Raise InvalidInput where the API cannot answer this wish."""
    if wished.api == HUB and wished.registry != DOCKER_HUB:
        raise InvalidInput("api docker_hub searches %s alone, and registry is %s" % (DOCKER_HUB, wished.registry))
    able = apis(wished)
    why = _lacks(able[0], wished) if able else "no API that api=auto tries has this: name an api, or leave official, min_stars and scope away"
    if why:
        raise InvalidInput("%s: %s" % (wished.registry, why))


def _lacks(api: str, wished: Wish) -> t.Optional[str]:
    """Why this API cannot answer the wish, if it cannot."""
    if api in _NEED_QUERY and not wished.query:
        return "api %s is searched, and lists nothing: give a query" % api
    if api in _NEED_QUERY and not asked(wished):
        return "api %s is searched: give a query with a part that has no wildcards" % api
    if api in _NEED_SCOPE and not wished.scope:
        return "api %s needs scope, %s" % (api, _NEED_SCOPE[api])
    if wished.scope and api not in _ASKED_FOR_SCOPE:
        return "api %s knows no scope: leave it away" % api
    if wished.min_stars and api not in _HAVE_STARS:
        return "api %s %s" % (api, _NO_STARS)
    if wished.official and api not in _HAVE_OFFICIAL:
        return "api %s %s" % (api, _NO_OFFICIAL)
    return None
