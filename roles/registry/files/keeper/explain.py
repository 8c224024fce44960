# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's log says, in plain words and without secrets."""

from __future__ import annotations

import re
from typing import Any, Iterator, List, Optional

from settings import Config

SECRET = re.compile(r"(?i)(secret|password|secretkey|accesskey|accountkey|sessiontoken|token|authorization|credentials|keyfile)$|^headers$")
NOISE = re.compile(r"^(goroutine \d|\s|\S+\(.*\)$|main\.main|created by |exit status|\[signal )|level=(info|debug)|\] \"[A-Z]+ /")
S3 = "registry_storage_options"

# What distribution writes -> what is wrong and which variable mends it. The first that fits; \1 and so on are what was found.
WORDS = [
    (r"StorageDriver not registered: (\S+)", r"This program of the registry has no storage driver \1. Choose another registry_storage, "
     "or another registry_install or registry_version that has it."),
    (r"must provide exactly one storage type\. Provided: \[(.*?)\]", r"There are several storage drivers: \1. "
     "Let registry_storage name the one, and take the others out of registry_config_overrides."),
    (r"redis configuration required", "registry_cache is redis, but this version finds no redis in the configuration: set registry_redis."),
    (r"[Nn]o ?[Ss]uch ?[Bb]ucket|bucket does not exist", "The bucket does not exist: create it, or mend `bucket` in %s." % S3),
    (r"the region '([^']*)' is wrong; expecting '([^']*)'", r"The object store's region is \2: set `region` in %s, which is \1." % S3),
    (r"InvalidAccessKeyId|SignatureDoesNotMatch|Authorization Failed|status code: 401", "The object store does not take the credentials: "
     "mend those in %s (accesskey and secretkey for s3)." % S3),
    (r"AccessDenied|status code: 403|Forbidden", "The object store refuses: the credentials in %s may not read and write there." % S3),
    (r"(?i)no (\w+) parameter provided", r"%s lacks `\1`." % S3),
    (r"(?i)invalid (\w+) provided: (\S+)", r"`\1` in %s is not valid: \2." % S3),
    (r"LoadCustomCABundleError", "AWS_CA_BUNDLE is set in the environment, with which this program cannot reach s3: unset it."),
    (r"no space left on device|disk quota exceeded", "The disk of registry_storage_path is full: make room there."),
    (r"filesystem: \w+ (\S+): read-only file system", r"\1 (registry_storage_path) lies on a read-only file system."),
    (r"filesystem: \w+ (\S+): permission denied", r"\1 cannot be written by the registry's user: give it the folder registry_storage_path."),
    (r"(?s)private key does not match public key", "registry_tls_certificate and registry_tls_key do not belong together."),
    (r"token auth root certificate bundle file \"?([^\":]+)", r"The bundle \1 of registry_token cannot be read."),
    (r"listen \w+ (\S+): bind: address already in use", r"Another program listens on \1: choose another registry_port, or end that one."),
    (r"listen \w+ (\S+): bind: (.*?)\"?$", r"\1 cannot be listened on (\2): mend registry_address or registry_port."),
    (r"open (\S+): no such file or directory", r"The configuration names \1, which is not there."),
    (r"open (\S+): permission denied", r"\1 cannot be read by the registry's user."),
    (r"configuration error: (.*)", r"The configuration is refused: \1. Mend registry_config_overrides."),
]
PROXY = [
    (r"panic: Get \"?(\S+?)\"?: (.*)", r"The registry behind registry_proxy_url does not answer (\2). Without it a pull-through registry "
     "does not start: mend the URL, or start it when \\1 is up."),
]
STORE = [
    (r"dial tcp(?:: | \S+: )(lookup [^\"\n]+|connect: [^\"\n]*|i/o timeout)",
     r"The object store does not answer (\1): mend its address in %s, or start it." % S3),
    (r"(x509: [^\"]*)", r"The object store's certificate is not trusted (\1)."),
]


def explain(log: str, config: Config) -> Optional[str]:
    """What to do about the trouble in a log, if it is a known one."""
    for pattern, words in (PROXY if config.get("proxy") else []) + WORDS + STORE:
        found = re.search(pattern, log, re.M)
        if found:
            return found.expand(words)
    return None


def telling(log: str, count: int = 20) -> str:
    """The last lines of a log that tell something: those of errors, or else all."""
    lines = [line for line in log.splitlines() if line.strip()]
    return "\n".join(([line for line in lines if not NOISE.search(line)] or lines)[-count:])


def discreet(text: str, *configs: Config) -> str:
    """The text without what the configurations keep secret."""
    for config in configs:
        for secret in sorted(_secrets(config), key=len, reverse=True):
            short = r"\b" if len(secret) < 8 else ""
            text = re.sub(short + re.escape(secret) + short, "********", text)
    return re.sub(r"(\w+://)[^/@\s:]*:[^/@\s]*@", r"\1********@", text)


def _secrets(found: Any, secret: bool = False) -> Iterator[str]:
    if isinstance(found, dict):
        for name, value in found.items():
            yield from _secrets(value, secret or bool(SECRET.search(str(name))) and not (name == "token" and isinstance(value, dict)))
    elif isinstance(found, list):
        for value in found:
            yield from _secrets(value, secret)
    elif secret and isinstance(found, str) and found:
        yield found


def failed(what: str, log: str, config: Config, *more: str) -> str:
    """A failure's text: what was tried, what to do, and the log's own words."""
    known = explain("\n".join((log,) + more), config)
    parts: List[str] = [what] + ([known] if known else []) + list(more)
    if log.strip():
        parts.append("The log ends:\n" + telling(log))
    return discreet("\n".join(parts), config)
