# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys that distribution knows, by version, for it ignores all others without a word.

A tree is a dict of the keys of a section. What stands at a key is the tree of a deeper section, a list of one tree (a list of such
sections), a kind (below), or a tuple of the texts that are allowed. Sources are distribution's configuration/configuration.go, its
storage drivers and its docs, of 2.8.2 and of 3.
"""

from __future__ import annotations

import typing as t

TEXT, TEXTS, FLAG, NUMBER, TIME = "text", "texts", "flag", "number", "time"
HEADERS = "headers"  # lists of texts by any name
OPEN = "open"  # a dict of anything

Tree = t.Dict[str, t.Any]

_LEVELS = ("error", "warn", "info", "debug")
_CHECK = {"interval": TIME, "threshold": NUMBER}
_PROBE = {"timeout": TIME, **_CHECK}

_LOG: Tree = {
    "accesslog": {"disabled": FLAG}, "level": _LEVELS, "formatter": ("text", "json", "logstash"), "fields": OPEN,
    "hooks": [{
        "disabled": FLAG, "type": TEXT, "levels": TEXTS,
        "options": {"smtp": {"addr": TEXT, "username": TEXT, "password": TEXT, "insecure": FLAG}, "from": TEXT, "to": TEXTS},
    }],
}

_FILESYSTEM: Tree = {"rootdirectory": TEXT, "maxthreads": NUMBER}
_S3: Tree = {
    **dict.fromkeys(("accesskey", "secretkey", "region", "regionendpoint", "bucket", "keyid", "rootdirectory", "storageclass"), TEXT),
    **dict.fromkeys(("useragent", "objectacl"), TEXT),
    **dict.fromkeys(("encrypt", "secure", "skipverify", "v4auth"), FLAG),
    **dict.fromkeys(("chunksize", "multipartcopychunksize", "multipartcopymaxconcurrency", "multipartcopythresholdsize"), NUMBER),
}
_SWIFT: Tree = {
    **dict.fromkeys(("username", "password", "authurl", "tenant", "tenantid", "domain", "domainid", "tenantdomain"), TEXT),
    **dict.fromkeys(("tenantdomainid", "trustid", "region", "container", "prefix", "endpointtype", "secretkey", "accesskey"), TEXT),
    **dict.fromkeys(("authversion", "chunksize"), NUMBER), **dict.fromkeys(("insecureskipverify", "tempurlcontainerkey"), FLAG),
    "tempurlmethods": TEXTS,
}
_AZURE: Tree = {
    **dict.fromkeys(("accountname", "accountkey", "container", "connectionstring", "realm", "rootdirectory", "serviceurl"), TEXT),
    "credentials": dict.fromkeys(("type", "clientid", "tenantid", "secret"), TEXT),
    "max_retries": NUMBER, "retry_delay": TIME, "copy_status_poll_max_retry": NUMBER, "copy_status_poll_delay": TIME,
}
_GCS: Tree = {
    **dict.fromkeys(("bucket", "keyfile", "rootdirectory"), TEXT), "credentials": OPEN, "chunksize": NUMBER, "maxconcurrency": NUMBER,
    "disablekeepalives": FLAG,
}

_CACHE = ("inmemory", "redis")
_STORAGE: Tree = {
    "filesystem": _FILESYSTEM, "inmemory": {}, "s3": _S3,
    "delete": {"enabled": FLAG}, "redirect": {"disable": FLAG}, "cache": {"blobdescriptor": _CACHE, "layerinfo": _CACHE},
    "maintenance": {"uploadpurging": {"enabled": FLAG, "age": TIME, "interval": TIME, "dryrun": FLAG}, "readonly": {"enabled": FLAG}},
}
# What stands in the section storage and is no driver.
BESIDE_DRIVERS = ("delete", "redirect", "cache", "maintenance", "tag")

_TOKEN: Tree = {**dict.fromkeys(("realm", "service", "issuer", "rootcertbundle"), TEXT), "autoredirect": FLAG}
_AUTH: Tree = {"none": {}, "silly": {"realm": TEXT, "service": TEXT}, "htpasswd": {"realm": TEXT, "path": TEXT}, "token": _TOKEN}

_TLS: Tree = {
    "certificate": TEXT, "key": TEXT, "clientcas": TEXTS, "minimumtls": ("tls1.0", "tls1.1", "tls1.2", "tls1.3"), "ciphersuites": TEXTS,
    "letsencrypt": {"cachefile": TEXT, "email": TEXT, "hosts": TEXTS},
}
_HTTP: Tree = {
    **dict.fromkeys(("addr", "host", "prefix", "secret"), TEXT), "net": ("tcp", "unix"), "relativeurls": FLAG, "draintimeout": TIME,
    "tls": _TLS, "headers": HEADERS, "debug": {"addr": TEXT, "prometheus": {"enabled": FLAG, "path": TEXT}}, "http2": {"disabled": FLAG},
}

ENDPOINT: Tree = {
    "name": TEXT, "disabled": FLAG, "url": TEXT, "headers": HEADERS, "timeout": TIME, "threshold": NUMBER, "backoff": TIME,
    "ignoredmediatypes": TEXTS, "ignore": {"mediatypes": TEXTS, "actions": TEXTS},
}

_HEALTH: Tree = {
    "storagedriver": {"enabled": FLAG, **_CHECK}, "file": [{"file": TEXT, **_CHECK}], "tcp": [{"addr": TEXT, **_PROBE}],
    "http": [{"uri": TEXT, "statuscode": NUMBER, "headers": HEADERS, **_PROBE}],
}

_PROXY: Tree = dict.fromkeys(("remoteurl", "username", "password"), TEXT)
_URLS: Tree = {"allow": TEXTS, "deny": TEXTS}
_MIDDLEWARE = [{"name": TEXT, "disabled": FLAG, "options": OPEN}]

_BOTH: Tree = {
    "version": ("0.1",), "log": _LOG, "loglevel": _LEVELS, "storage": _STORAGE, "auth": _AUTH, "http": _HTTP, "health": _HEALTH, "proxy": _PROXY,
    "middleware": dict.fromkeys(("registry", "repository", "storage"), _MIDDLEWARE),
    "notifications": {"events": {"includereferences": FLAG}, "endpoints": [ENDPOINT]}, "catalog": {"maxentries": NUMBER},
    "validation": {"enabled": FLAG, "disabled": FLAG, "manifests": {"urls": _URLS}}, "policy": {"repository": {"classes": TEXTS}},
}

_TIMEOUTS = dict.fromkeys(("dialtimeout", "readtimeout", "writetimeout"), TIME)

OF_28: Tree = {
    **_BOTH,
    "storage": {**_STORAGE, "swift": _SWIFT},
    "redis": {
        "addr": TEXT, "password": TEXT, "db": NUMBER, **_TIMEOUTS, "pool": {"maxidle": NUMBER, "maxactive": NUMBER, "idletimeout": TIME},
    },
    "reporting": {
        "bugsnag": dict.fromkeys(("apikey", "releasestage", "endpoint"), TEXT), "newrelic": {"licensekey": TEXT, "name": TEXT, "verbose": FLAG},
    },
    "compatibility": {"schema1": {"signingkeyfile": TEXT, "enabled": FLAG}},
}

OF_3: Tree = {
    **_BOTH,
    "log": {**_LOG, "reportcaller": FLAG},
    "storage": {
        **_STORAGE, "azure": _AZURE, "gcs": _GCS, "tag": {"concurrencylimit": NUMBER},
        "s3": {**_S3, "forcepathstyle": FLAG, "accelerate": FLAG, "usedualstack": FLAG, "loglevel": TEXT},
        "cache": {**_STORAGE["cache"], "blobdescriptorsize": NUMBER},
    },
    "auth": {**_AUTH, "token": {**_TOKEN, "autoredirectpath": TEXT, "jwks": TEXT, "signingalgorithms": TEXTS}},
    "http": {
        **_HTTP, "h2c": {"enabled": FLAG},
        "tls": {
            **_TLS, "letsencrypt": {**_TLS["letsencrypt"], "directoryurl": TEXT},
            "clientauth": ("request-client-cert", "require-any-client-cert", "verify-client-cert-if-given", "require-and-verify-client-cert"),
        },
    },
    "redis": {
        "addrs": TEXTS, "db": NUMBER, **_TIMEOUTS, "tls": {"certificate": TEXT, "key": TEXT, "clientcas": TEXTS, "rootcas": TEXTS},
        **dict.fromkeys(("username", "password", "sentinelusername", "sentinelpassword", "mastername", "clientname", "identitysuffix"), TEXT),
        **dict.fromkeys(("protocol", "maxretries", "poolsize", "minidleconns", "maxidleconns", "maxactiveconns", "maxredirects"), NUMBER),
        **dict.fromkeys(("minretrybackoff", "maxretrybackoff", "pooltimeout", "connmaxidletime", "connmaxlifetime"), TIME),
        **dict.fromkeys(("contexttimeoutenabled", "poolfifo", "readonly", "routebylatency", "routerandomly"), FLAG),
        **dict.fromkeys(("disableidentity", "unstableresp3"), FLAG),
    },
    "proxy": {**_PROXY, "ttl": TIME, "cachewritetimeout": TIME, "remotenamespace": TEXT, "exec": {"command": TEXT, "lifetime": TIME}},
    "tags": {"maxtags": NUMBER},
    "validation": {
        **_BOTH["validation"],
        "manifests": {
            "urls": _URLS,
            "indexes": {"platforms": ("all", "none", "list"), "platformlist": [{"architecture": TEXT, "os": TEXT}]},
        },
    },
}

# By driver, what it does not start without.
REQUIRED: t.Dict[str, t.Tuple[str, ...]] = {
    "s3": ("region", "bucket"), "swift": ("username", "password", "authurl", "container"), "azure": ("accountname", "container"), "gcs": ("bucket",),
}
