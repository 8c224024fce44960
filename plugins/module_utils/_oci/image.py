# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: one platform's manifest and config, and the layers that both speak of (image-spec, config.md).

A layer has three names: the digest of its blob as stored or sent, the **diff ID** of its uncompressed tar, and the
**chain ID** of itself on top of everything below it.
"""

from __future__ import annotations

import hashlib
import re
import typing as t

from .._errors import ArchiveError, InvalidInput
from . import manifest as _manifest
from . import platform as _platform
from .digest import Digest
from .manifest import Descriptor, Manifest


class Layer(t.NamedTuple):
    descriptor: Descriptor
    diff_id: Digest
    chain_id: Digest


class Config(t.NamedTuple):
    """What is asked of a config; ``fingerprint`` is the same for two configs that an engine shows alike."""

    digest: Digest
    size: int
    platform: _platform.Platform
    diff_ids: t.Tuple[Digest, ...]
    fingerprint: str


class Image(t.NamedTuple):
    """``names`` are the archive's own spellings; the raw bytes of the config are kept for its digest."""

    names: t.Tuple[str, ...]
    manifest: Manifest
    config: Config
    raw_config: bytes
    layers: t.Tuple[Layer, ...]

    @property
    def label(self) -> str:
        """How messages call this image."""
        return self.names[0] if self.names else self.manifest.digest.short


def chain_ids(diff_ids: t.Iterable[str]) -> t.Tuple[Digest, ...]:
    """``ChainID(L1..Ln) = Digest(ChainID(L1..Ln-1) + " " + DiffID(Ln))`` (config.md, "Layer ChainID")."""
    chain: t.List[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(("%s %s" % (chain[-1], diff_id)).encode()) if chain else Digest(diff_id))
    return tuple(chain)


def parse_config(raw: bytes, where: str) -> Config:
    """Raises ArchiveError that names ``where`` unless raw is an image config."""
    document = _manifest.load(raw, where)
    rootfs = _manifest.mapping(document.get("rootfs"), where)
    if "diff_ids" not in rootfs:
        raise ArchiveError("%s: not an image config: it has no rootfs.diff_ids" % where)
    try:
        diff_ids = tuple(Digest.parse(entry) for entry in _manifest.listed(rootfs["diff_ids"], where))
        platform = _platform.of(document)
    except InvalidInput as error:
        raise ArchiveError("%s: %s" % (where, error)) from None
    _manifest.mapping(document.get("config"), where)
    return Config(Digest.of(raw), len(raw), platform, diff_ids, _fingerprint_of_config(document))


def assemble(names: t.Iterable[str], manifest: Manifest, raw_config: bytes, where: str) -> Image:
    """Put manifest and config together; raises ArchiveError if they disagree on the number of layers."""
    config = parse_config(raw_config, where)
    if len(config.diff_ids) != len(manifest.layers):
        raise ArchiveError(
            "%s: the manifest has %d layers and the config %d: the archive is damaged" % (where, len(manifest.layers), len(config.diff_ids))
        )
    layers = tuple(map(Layer, manifest.layers, config.diff_ids, chain_ids(config.diff_ids)))
    return Image(tuple(names), manifest, config, raw_config, layers)


def _fingerprint_of_config(document: t.Mapping[str, t.Any]) -> str:
    return _fingerprint(
        document["rootfs"].get("diff_ids"),
        document.get("created"),
        document.get("os"),
        document.get("architecture"),
        document.get("variant"),
        document.get("config"),
    )


def fingerprint_of_inspect(document: t.Mapping[str, t.Any]) -> str:
    """From an engine's ``GET /images/{name}/json``; equals the config's where the engine shows all (containerd store)."""
    return _fingerprint(
        (document.get("RootFS") or {}).get("Layers"),
        document.get("Created"),
        document.get("Os"),
        document.get("Architecture"),
        document.get("Variant"),
        document.get("Config"),
    )


_SETTINGS = set("User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal ArgsEscaped Healthcheck OnBuild Shell".split())
"""What an engine shows of ``config`` on every store (config.md, "Properties", and Docker's own three)."""

_NO_TIME = ("", "0001-01-01T00:00:00Z")


def _fingerprint(diff_ids: t.Any, created: t.Any, os: t.Any, architecture: t.Any, variant: t.Any, run: t.Any) -> str:
    # The containerd store leaves out what is not for images (Hostname, Image, Tty, StopTimeout) even where the config has it, and all
    # stores show fields that the config has not, empty.
    settings = {key: value for key, value in _filled(run).items() if key in _SETTINGS}
    settings["Healthcheck"] = _filled(settings.get("Healthcheck"))
    created = None if created in _NO_TIME else created
    parts = [list(diff_ids or []), _instant(created), os or "", architecture or "", variant or "", settings]
    return hashlib.sha256(_manifest.dump({"is": parts})).hexdigest()


def _filled(fields: t.Any) -> t.Dict[str, t.Any]:
    """Without what is empty, which Go's omitempty leaves out in one place and not in another."""
    return {key: value for key, value in fields.items() if value not in (None, "", [], {}, False, 0)} if isinstance(fields, dict) else {}


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|z|[+-]\d\d:\d\d)")


def _instant(created: t.Any) -> t.Any:
    """One spelling for one time: fraction without trailing zeros, zone as Z when it is zero."""
    match = _RFC3339.fullmatch(created) if isinstance(created, str) else None
    if not match:
        return created
    day, time, fraction, zone = match.groups()
    fraction = (fraction or "").rstrip("0")
    zone = "Z" if zone in ("z", "+00:00", "-00:00") else zone
    return "%sT%s%s%s" % (day, time, "." + fraction if fraction else "", zone)
