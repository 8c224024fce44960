# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Distribution's configuration, made from the variables of the role ``registry``; of 2.8 or of 3, whose keys differ."""

from __future__ import annotations

import typing as t

from .._errors import InvalidInput
from . import keys
from .config_wish import Version, Wish
from .keys_check import Check, tree

Section = t.Dict[str, t.Any]

# Debian's, and that of the image registry:3.
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def configuration(variables: t.Mapping[str, t.Any], version_text: str, paths: t.Mapping[str, str]) -> Section:
    """``paths`` are those of the files that the role puts there, as the registry sees them."""
    wish, files, version = Wish(variables), Wish(paths, "the filter's paths: "), Version.parse(version_text)
    made = {
        "version": 0.1, "log": log(wish), "storage": storage(wish, version), "http": http(wish, files), "auth": auth(wish, files),
        "redis": redis(wish, version), "proxy": proxy(wish, version), "notifications": notifications(wish, version), "health": health(wish),
    }
    overrides = wish.any("config_overrides")
    Check("registry_config_overrides", version.name)(overrides)
    whole = laid_over({name: section for name, section in made.items() if section}, overrides)
    refuse_contradictions(whole, version)
    return whole


def laid_over(lower: t.Any, upper: t.Any) -> t.Any:
    """Dicts are joined key by key; of anything else the upper one counts."""
    if not isinstance(upper, dict):
        return upper
    lower = lower if isinstance(lower, dict) else {}
    return {**lower, **{key: laid_over(lower.get(key), value) for key, value in upper.items()}}


def log(wish: Wish) -> Section:
    return {
        "level": wish.needed("log_level"), "formatter": wish.needed("log_format"), "accesslog": {"disabled": not wish.flag("log_access")},
        "fields": {"service": "registry"},
    }


# Storage


def storage(wish: Wish, version: Version) -> Section:
    # A proxy deletes what is older than it remembers, and lets no client delete.
    deletes = wish.flag("delete") or bool(wish.url("proxy_url"))
    made: Section = {
        wish.needed("storage"): driver(wish, version), "delete": {"enabled": deletes}, "redirect": {"disable": not wish.flag("storage_redirect")},
        "maintenance": {
            "uploadpurging": {"enabled": True, "age": "168h", "interval": "24h", "dryrun": False},
            "readonly": {"enabled": wish.flag("readonly")},
        },
    }
    cache = wish.needed("cache")
    return made if cache == "none" else {**made, "cache": {"blobdescriptor": cache}}


def driver(wish: Wish, version: Version) -> Section:
    name, options = wish.needed("storage"), wish.any("storage_options")
    has = [one for one in tree(version.name)["storage"] if one not in keys.BESIDE_DRIVERS]
    if name not in has:
        raise wish.wrong("storage", "cannot be %s with distribution %s; the role knows %s of it" % (name, version.name, ", ".join(has)))
    Check(wish.variable("storage_options"), version.name, ("storage", name))(options)
    missing = [one for one in keys.REQUIRED.get(name, ()) if not options.get(one)]
    if missing:
        raise wish.wrong("storage_options", "lacks %s, which %s needs" % (" and ".join(missing), name))
    return {**implied(wish, version, name, options), **options}


def implied(wish: Wish, version: Version, name: str, options: Section) -> Section:
    if name == "filesystem":
        if "rootdirectory" in options:
            raise wish.wrong("storage_options", "has a rootdirectory; the folder of filesystem is registry_storage_path")
        return {"rootdirectory": wish.path("storage_path")}
    # As 2.8 does always. A host name made of bucket and endpoint is what Amazon's own servers have, and few others.
    return {"forcepathstyle": True} if name == "s3" and version.major == 3 and options.get("regionendpoint") else {}


# HTTP


def http(wish: Wish, files: Wish) -> Section:
    made = {
        "addr": listening(wish), "host": wish.url("url"), "secret": wish.text("secret"), "headers": {"X-Content-Type-Options": ["nosniff"]},
        "tls": tls(wish, files), "debug": debug(wish),
    }
    return {key: value for key, value in made.items() if value}


def listening(wish: Wish) -> str:
    address, port = wish.needed("address"), wish.number("port")
    if not 0 < port < 65536:
        raise wish.wrong("port", "must be between 1 and 65535")
    return "%s:%d" % ("[%s]" % address if ":" in address else address, port)


def tls(wish: Wish, files: Wish) -> Section:
    clients = wish.text("tls_client_authority")
    if wish.needed("tls") == "none":
        if clients:
            raise wish.wrong("tls_client_authority", "is of no use while registry_tls is none, as no client shows a certificate then")
        return {}
    made: Section = {
        "certificate": files.needed("certificate"), "key": files.needed("key"), "minimumtls": wish.needed("tls_minimum"),
    }
    return {**made, "clientcas": [files.needed("client_authority")]} if clients else made


def debug(wish: Wish) -> Section:
    address = wish.address("debug_address")
    if not address:
        return {}
    return {"addr": address, "prometheus": {"enabled": True, "path": "/metrics"}} if wish.flag("metrics") else {"addr": address}


# Who clients are


def auth(wish: Wish, files: Wish) -> Section:
    users, token = wish.of("users"), wish.of("token")
    kind = wish.text("auth") or ("htpasswd" if users else "none")
    for name, given, asks in (("users", users, "htpasswd"), ("token", token, "token")):
        if given and kind != asks:
            raise wish.wrong(name, "counts only where registry_auth is %s, and that is %s" % (asks, kind))
        if kind == asks and not given:
            raise wish.wrong("auth", "is %s and registry_%s is empty, so that nobody could log in" % (kind, name))
    if token:
        return {"token": {
            "realm": token.url("realm"), "service": token.needed("service"), "issuer": token.needed("issuer"),
            "rootcertbundle": files.needed("token_bundle"),
        }}
    return {"htpasswd": {"realm": wish.needed("auth_realm"), "path": files.needed("htpasswd")}} if users else {}


# What it asks of others


def redis(wish: Wish, version: Version) -> Section:
    given = wish.of("redis")
    if not given:
        return {}
    made = {"db": given.number("db", 0), "password": given.text("password"), "username": given.text("username")}
    address, spoken = given.address("addr"), given.flag("tls", False)
    if not address:
        raise given.wrong("addr", "is empty")
    if version.major == 3:
        made.update(addrs=[address], tls={"rootcas": [_AUTHORITIES]} if spoken else {})
    elif made["username"] or spoken:
        raise given.wrong("tls" if spoken else "username", "is only for distribution 3, and this is 2.8")
    else:
        made["addr"] = address
    return {key: value for key, value in made.items() if value != "" and value != {}}


def proxy(wish: Wish, version: Version) -> Section:
    made = {"remoteurl": wish.url("proxy_url"), **{name: wish.text("proxy_" + name) for name in ("username", "password", "ttl")}}
    given = [name for name in made if made[name]]
    if given and not made["remoteurl"]:
        raise wish.wrong("proxy_" + given[0], "needs registry_proxy_url")
    if bool(made["username"]) != bool(made["password"]):
        raise wish.wrong("proxy_username", "and registry_proxy_password need each other")
    if made["ttl"]:
        if version.major == 2:
            raise wish.wrong("proxy_ttl", "is only for distribution 3; 2.8 remembers for seven days")
        Check(wish.variable("proxy_ttl"), version.name, ("proxy", "ttl"))(made["ttl"])
    return {name: made[name] for name in given}


def notifications(wish: Wish, version: Version) -> Section:
    endpoints = wish.any("notifications")
    Check(wish.variable("notifications"), version.name, ("notifications", "endpoints"))(endpoints)
    for number, endpoint in enumerate(endpoints):
        for key in ("name", "url"):
            if not endpoint.get(key):
                raise InvalidInput("%s: endpoints[%d] has no %s" % (wish.variable("notifications"), number, key))
    return {"endpoints": list(endpoints)} if endpoints else {}


def health(wish: Wish) -> Section:
    made: Section = {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}}
    drained = wish.path("drain_file")
    return {**made, "file": [{"file": drained, "interval": "2s"}]} if drained else made


# All of it


def refuse_contradictions(whole: Section, version: Version) -> None:
    """What each key may say, and all of them together may not."""
    overrides = "registry_config_overrides: "
    drivers = [name for name in whole["storage"] if name not in keys.BESIDE_DRIVERS]
    if len(drivers) > 1:
        raise InvalidInput(overrides + "a registry has one storage driver, not %s; choose it by registry_storage" % " and ".join(drivers))
    kinds = whole.get("auth", {})
    if len(kinds) > 1:
        raise InvalidInput(overrides + "a registry has one kind of auth, not %s; choose it by registry_auth" % " and ".join(kinds))
    served = whole["http"].get("tls", {})
    if served.get("certificate") and served.get("letsencrypt"):
        raise InvalidInput(overrides + "http.tls.letsencrypt makes a certificate and there is one; with it registry_tls must be none")
    asked = whole.get("redis", {})
    if "redis" in whole["storage"].get("cache", {}).values() and not asked:
        raise InvalidInput("registry_cache is redis and registry_redis is empty")
    if asked.get("tls") and version == (3, 0) and not (asked["tls"].get("certificate") and asked["tls"].get("key")):
        raise InvalidInput(
            "registry_redis: tls needs distribution 3.1, or a certificate for redis as redis.tls.certificate and redis.tls.key in"
            " registry_config_overrides"
        )
