# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option groups: each is an argument_spec, and the doc fragment of the same name says what its options mean."""

from __future__ import annotations

import typing as t

from ._errors import InvalidInput, masked, shown

ENGINE: t.Dict[str, t.Any] = dict(
    engine_host=dict(type="str"),
    engine_ca_cert=dict(type="path"),
    engine_client_cert=dict(type="path"),
    engine_client_key=dict(type="path", no_log=False),
    engine_validate_certs=dict(type="bool", default=True),
    engine_timeout=dict(type="int", default=600),
)

REGISTRY: t.Dict[str, t.Any] = dict(
    username=dict(type="str"),
    password=dict(type="str", no_log=True),
    auth_file=dict(type="path"),
    ca_cert=dict(type="path"),
    client_cert=dict(type="path"),
    client_key=dict(type="path", no_log=False),
    validate_certs=dict(type="bool", default=True),
    plain_http=dict(type="bool", default=False),
    registry_timeout=dict(type="int", default=60),
    retries=dict(type="int", default=4),
)

PARALLEL: t.Dict[str, t.Any] = dict(parallel=dict(type="int", default=4))

LEAST = (("engine_timeout", 1), ("registry_timeout", 1), ("retries", 0), ("parallel", 1))
"""The lowest number that an option of the groups may have."""

LOAD: t.Dict[str, t.Any] = dict(
    src=dict(type="path", required=True),
    remote_src=dict(type="bool", default=False),
    base=dict(type="list", elements="path", default=[]),
    images=dict(type="list", elements="str"),
    names=dict(type="dict", default={}),
    platform=dict(type="str"),
    staging_dir=dict(type="path"),
    wish=dict(type="dict"),
    **ENGINE
)
"""All of image_load's, here because the module and the action plugin check the same."""

REFERENCES = ("images", "name", "names", "source", "tags", "destination", "registry", "query", "scope")
"""Options, of whichever module, that name images or registries, or what to find there."""

PATHS = ("path", "src", "base")
"""Options, of whichever module, that name files and folders, which may well be called ``a:b@c``."""


def discreet(params: t.Dict[str, t.Any]) -> None:
    """Mask passwords where none belongs, before anything else sees them, Ansible's own account of the call included.

    What has one is refused where it is parsed, and told as the user wrote it, but for the password.
    """
    params.update((option, masked(params[option])) for option in REFERENCES if option in params)
    params.update((option, _of_url(params[option])) for option in PATHS + ("engine_host",) if option in params)


def _of_url(value: t.Any) -> t.Any:
    if isinstance(value, list):
        return [_of_url(one) for one in value]
    return masked(value) if isinstance(value, str) and "://" in value and not value.startswith("unix://") else value


def check(params: t.Mapping[str, t.Any]) -> None:
    """Raises InvalidInput for a number that is too low, and for a URL as a path; not all of the options need be there."""
    for option, least in LEAST:
        if params.get(option, least) < least:
            raise InvalidInput("%s: %d is too low: give %d or more" % (option, params[option], least))
    for option in PATHS:
        if option == "src" and "destination" in params:
            continue  # image_copy's, which may be a registry
        value = params.get(option)
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, str) and "://" in path:
                raise InvalidInput("%s: %s is no path, and URLs are not read: give a file or folder" % (option, shown(masked(path))))
