# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Platforms: ``os/architecture[/variant]`` as containerd normalises and matches them (image-spec, image-index.md)."""

from __future__ import annotations

import re
import typing as t

from .._errors import InvalidInput, shown

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
}
_KNOWN = {"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm"} | set(_ARCHITECTURES)


class Platform(t.NamedTuple):
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))

    def rank(self, offered: Platform) -> t.Optional[int]:
        """How well an offered platform serves this one: 0 is exact, more is worse, None does not run."""
        if (self.os, self.architecture) != (offered.os, offered.architecture):
            return None
        if self.variant == offered.variant:
            return 0
        if self.architecture == "arm":
            wanted, have = _level(self.variant, 7), _level(offered.variant, 7)
            return wanted - have if have <= wanted else None
        if self.architecture == "amd64":
            wanted, have = _level(self.variant, 1), _level(offered.variant, 1)
            return wanted - have if have <= wanted else None
        return 1


def _level(variant: str, default: int) -> int:
    return int(variant[1:]) if re.fullmatch("v[0-9]{1,2}", variant) else default


def normalise(os: str, architecture: str, variant: str = "") -> Platform:
    """From the words of engines, kernels and configs to those of the specification."""
    os, architecture, variant = os.lower() or "linux", architecture.lower(), (variant or "").lower()
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    if architecture == "arm" and not variant:
        variant = "v7"
    return Platform(os, architecture, variant)


def parse(text: str) -> Platform:
    """``linux/arm64/v8``, ``arm64`` or ``linux/amd64``; raises InvalidInput otherwise."""
    parts = text.strip().split("/")
    if len(parts) == 1 and parts[0].lower() in _KNOWN:
        parts = ["linux"] + parts
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise InvalidInput("%s is not a platform: write os/architecture[/variant], for example linux/arm64" % shown(repr(text)))
    return normalise(*parts)


def of(document: t.Mapping[str, t.Any]) -> Platform:
    """The platform that a config, or an index entry's ``platform``, states; raises InvalidInput if it is none."""
    if not isinstance(document, dict):
        raise InvalidInput("its platform is %s" % shown(document))
    stated = [document.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) and part.isprintable() for part in stated):
        raise InvalidInput("its platform is %s" % shown(stated))
    return normalise(*stated)
