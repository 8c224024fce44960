# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TOML files of engines: hosts.toml and config.toml of containerd get marked blocks, Podman a drop-in that is all ours.

``parse`` is tomllib.loads, which managed hosts may lack and the controller has.
"""

from __future__ import annotations

import json
import re
import typing as t

from .._errors import InvalidInput

Parse = t.Callable[[str], t.Dict[str, t.Any]]
Table = t.Dict[str, t.Any]

HEAD = "# Written by the Ansible role stowage.oci.trust: what you add here is lost; use another file.\n"
CONFIG_PATH = "/etc/containerd/certs.d"
_PLUGINS = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}


def document(text: str, path: str, parse: Parse) -> Table:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidInput("%s is not valid TOML (%s): nothing was changed; repair it, then run again" % (path, error)) from None


def with_block(text: str, path: str, name: str, body: str, where: str, parse: Parse) -> str:
    """The text with one more block, or a renewed one; an empty body takes it out.

    ``where``: "top" of the file, "tables" (before the first one) or "end". Raises InvalidInput if the file says the same
    things already, or says them so that a block changes what the rest means.
    """
    block = "%s%s%s" % (_mark(name, "begin"), body, _mark(name, "end")) if body else ""
    found = re.search("%s.*?%s" % (re.escape(_mark(name, "begin")), re.escape(_mark(name, "end"))), text, re.DOTALL)
    rest = text[: found.start()] + text[found.end() :] if found else text
    before = document(rest, path, parse)
    if found:
        new = text[: found.start()] + block + text[found.end() :]
    elif body:
        at = {"top": 0, "end": len(text), "tables": _first_table(text)}[where]
        new = text[:at] + ("\n" if at and text[at - 1] != "\n" else "") + block + text[at:]
    else:
        return text
    try:
        fits = parse(new) == _joined(before, parse(body))
    except (KeyError, ValueError):
        fits = False
    if not fits:
        raise InvalidInput("%s has such settings already: nothing was changed; have it say this yourself:\n%s" % (path, body.rstrip()))
    return new


def _mark(name: str, which: str) -> str:
    return "# stowage.oci.trust %s: %s\n" % (name, which)


def _first_table(text: str) -> int:
    found = re.search(r"^(?:# stowage[.]oci[.]trust \S+: begin\n|[ \t]*)\[", text, re.MULTILINE)
    return found.start() if found else len(text)


def _joined(first: Table, second: Table) -> Table:
    """Both; KeyError if they say two things of one."""
    result = dict(first)
    for key, value in second.items():
        if isinstance(value, dict) and isinstance(result.get(key, {}), dict):
            result[key] = _joined(result.get(key, {}), value)
        elif key in result:
            raise KeyError(key)
        else:
            result[key] = value
    return result


# containerd


def endpoint(host: str, insecure: str) -> str:
    return "%s://%s" % ("http" if insecure == "plain_http" else "https", host)


def server_blocks(host: str, insecure: str, facts: Table) -> t.Tuple[str, str]:
    """For the registry's own hosts.toml: how it is reached, at the top, and the same as a table, without which containerd 1.6
    reads none of the file; empty if there is nothing to say. ``facts``: paths of ca, cert and key."""
    lines = _security(insecure, facts)
    if not lines and insecure == "never":
        return "", ""
    url = endpoint(host, insecure)
    return _lines([("server", url)] + lines), "[host.%s]\n%s" % (value_of(url), _lines(lines))


def mirror_block(host: str, insecure: str, facts: Table) -> str:
    """For the hosts.toml of a registry that is mirrored."""
    pairs = [("capabilities", ["pull", "resolve"])] + _security(insecure, facts)
    return "[host.%s]\n%s" % (value_of(endpoint(host, insecure)), _lines(pairs))


def _security(insecure: str, facts: Table) -> t.List[t.Tuple[str, t.Any]]:
    pairs: t.List[t.Tuple[str, t.Any]] = []
    if facts.get("ca"):
        pairs.append(("ca", facts["ca"]))
    if facts.get("cert"):
        pairs.append(("client", [[facts["cert"], facts["key"]]]))
    if insecure == "unverified":
        pairs.append(("skip_verify", True))
    return pairs


def has_config_path(dump: Table) -> bool:
    """Whether containerd looks below CONFIG_PATH, or has no use for it: without CRI others read the folder by themselves."""
    if any("cri" in str(name).split(".") for name in dump.get("disabled_plugins") or []):
        return True
    plugins = dump.get("plugins") or {}
    paths = [((plugins.get(name) or {}).get("registry") or {}).get("config_path") or "" for name in _PLUGINS.values()]
    return any(CONFIG_PATH in path.split(":") for path in paths)


def config_block(text: str, path: str, parse: Parse) -> str:
    """What config.toml must say so that hosts.toml files count."""
    version = document(text, path, parse).get("version")
    if text.strip() and version not in _PLUGINS:
        raise InvalidInput(
            "%s has no version 2 or 3, and does not make containerd look for hosts.toml files: nothing was changed; "
            "bring it to version 2 (containerd config migrate), then run again" % path
        )
    head = "" if text.strip() else "version = 2\n"
    return '%s[plugins."%s".registry]\nconfig_path = "%s"\n' % (head, _PLUGINS[version or 2], CONFIG_PATH)


# Podman


def registries_conf(ours: t.Sequence[Table], others: t.Mapping[str, Table]) -> str:
    """The drop-in for all of our registries; empty if there is nothing to say.

    ``ours``: host, insecure, mirror_of; the last mirror is asked first. ``others``: what other files say of a prefix: since the
    last file that speaks of it counts alone (containers-registries.conf.d(5)), ours repeats that.
    """
    tables: t.Dict[str, Table] = {}
    for one in ours:
        host = one["host"]
        if one["insecure"] != "never" and not (others.get(host) or {}).get("insecure"):
            tables.setdefault(host, _copied(host, others))["insecure"] = True
        mirror = {"location": host, "insecure": True} if one["insecure"] != "never" else {"location": host}
        for prefix in one["mirror_of"]:
            table = tables[prefix] if prefix in tables else _copied(prefix, others)
            mirrors = table.get("mirror") or []
            if not any(_same(mirror, there) for there in mirrors):
                tables[prefix] = dict(table, mirror=[mirror] + [there for there in mirrors if there.get("location") != host])
    return HEAD + "".join(_registry(tables[prefix]) for prefix in sorted(tables)) if tables else ""


def _copied(prefix: str, others: t.Mapping[str, Table]) -> Table:
    return dict({"prefix": prefix, "location": prefix}, **others.get(prefix, {}))


def _same(mirror: Table, there: Table) -> bool:
    return there.get("location") == mirror["location"] and bool(there.get("insecure")) == bool(mirror.get("insecure"))


def _registry(table: Table) -> str:
    text = "\n[[registry]]\n" + _lines([(key, value) for key, value in table.items() if key != "mirror"])
    return text + "".join("\n[[registry.mirror]]\n" + _lines(list(mirror.items())) for mirror in table.get("mirror") or [])


def prefixes(documents: t.Iterable[Table]) -> t.Dict[str, Table]:
    """What these files, in the order in which they are read, say of each prefix."""
    found: t.Dict[str, Table] = {}
    for one in documents:
        tables = one.get("registry")
        for table in tables if isinstance(tables, list) else []:
            prefix = table.get("prefix") or table.get("location")
            if prefix:
                found[prefix] = table
    return found


def _lines(pairs: t.Sequence[t.Tuple[str, t.Any]]) -> str:
    return "".join("%s = %s\n" % (key, value_of(value)) for key, value in pairs)


def value_of(value: t.Any) -> str:
    """JSON's texts, numbers, booleans and lists are TOML too."""
    return json.dumps(value, ensure_ascii=False)
