# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who builds, and how each is given the context."""

from __future__ import annotations

import os
import posixpath
import tempfile
import typing as t

from .._engine import build as _build
from .._engine import programs as _programs
from .._engine.build import Built, Order
from .._engine.engine import Engine
from .._errors import ContextChanged, shown
from .._oci import named as _named
from .._oci.dockerfile import Base, Dockerfile, parse
from .._plan import builders as _plan
from .._plan.builders import BUILDKIT, CLASSIC, DOCKER_CLI, OF_PODMAN, PODMAN, PODMAN_CLI, beside
from .context import Context

_BY_API = {CLASSIC: _build.classic, BUILDKIT: _build.buildkit, PODMAN: _build.podman}
_OWN = {"secret": "secrets", "ssh": "ssh", "frontend": "frontend"}
"""What a Dockerfile uses, where it is a need of its own; heredocs are for the engine's version to take or refuse."""

_FEATURES = {
    "mount": "RUN --mount", "network": "RUN --network", "security": "RUN --security", "device": "RUN --device", "copy_link": "COPY --link",
    "copy_chmod": "COPY --chmod", "exclude": "COPY --exclude", "parents": "COPY --parents", "add_checksum": "ADD --checksum",
    "add_git": "ADD of a repository", "add_unpack": "ADD --unpack", "platform_args": "arguments that tell the platform",
}


def needs(params: t.Mapping[str, t.Any], context: Context, features: t.Iterable[str], bases: t.Iterable[Base]) -> t.Dict[str, str]:
    """Keys of ``_plan.builders.CAPABLE``, and more words for a message."""
    found = {option: "" for option in ("secrets", "ssh", "cache_from", "cache_to", "timestamp") if params[option]}
    found.update((_OWN[feature], "") for feature in features if feature in _OWN)
    if params["timestamp"] and "docker_format" in features:
        found["docker_format"] = ""
    rest = sorted(feature for feature in features if feature not in _OWN and feature not in ("docker_format", "heredoc"))
    if rest:
        found["features"] = ", ".join(_FEATURES.get(feature, feature) for feature in rest)
    if any(_named.parse(base.reference).reference is None for base in bases):
        found["base_id"] = ""
    if params["path"] is not None and context.name is None:
        found["hidden" if context.folder else "hidden_beside_tar"] = ""
    return found


def choose(engine: Engine, wanted: t.Mapping[str, str], wished: str) -> str:
    """The builder's name; see ``_plan.builders.choose``."""

    def there(program: str) -> bool:
        if program == PODMAN_CLI:
            return _programs.has_podman(os.environ)
        form = _programs.docker_form(os.environ)
        return form == "buildx" or (form is not None and "cache_to" not in wanted)

    return _plan.choose(engine.store, engine.api, wanted, wished, there)


def build(engine: Engine, name: str, order: Order, context: Context, dockerfile: Dockerfile) -> Built:
    """Raises EngineError if the engine or program breaks off, ContextChanged if the context did."""
    if name in OF_PODMAN:
        order, context = _labelled(order, context, dockerfile)
    if name == CLASSIC:
        # It builds the stages that nothing needs too, and fails where they fail.
        text = dockerfile.reduced(context.dockerfile, order.target, order.args)
        context = context if text == context.dockerfile else context._replace(dockerfile=text, name=None)
    hidden = context.name is None
    if name == DOCKER_CLI and hidden and context.folder:
        with tempfile.NamedTemporaryFile(prefix="stowage-Dockerfile-") as file:
            file.write(context.dockerfile)
            file.flush()
            folder = _programs.Folder(context.folder, context.file or file.name)
            built = _programs.docker_cli(engine, order, folder, os.environ, engine.transport.tls)
        if context.measured and context.measured().digest != context.tree.digest:
            raise ContextChanged("%s: changed while the build read it: build again once nobody writes to it" % shown(context.folder))
        return built

    # Where COPY has nothing to see, a Dockerfile may lie in the open.
    name_there, files = beside(name, context.dockerfile if hidden else None, context.ignore)
    order = order._replace(dockerfile=name_there or context.name or order.dockerfile)
    chunks = context.packed(files)
    if name in _BY_API:
        built = _BY_API[name](engine, order, chunks)
        climbing = _climbing(context) if name == PODMAN and built.error and not built.log.lines else None
        # Podman 4.3 says no more than HTTP 500.
        advice = "%s: Podman takes no context with a link that leads out of it, as %s does: make it absolute, or leave it out by .dockerignore"
        return built._replace(error=advice % (built.error, climbing)) if climbing else built
    if name == DOCKER_CLI:
        return _programs.docker_cli(engine, order, chunks, os.environ, engine.transport.tls)
    return _programs.podman_cli(engine, order, chunks, os.environ)


def of_all_stages(context: Context, dockerfile: Dockerfile, target: t.Optional[str], args: t.Mapping[str, str]) -> t.List[Base]:
    """The bases that the classic builder needs, of what it is sent of the Dockerfile."""
    return parse(dockerfile.reduced(context.dockerfile, target, args), context.where).bases(args, target, every=True)


def _labelled(order: Order, context: Context, dockerfile: Dockerfile) -> t.Tuple[Order, Context]:
    """With the labels in the Dockerfile: those that Podman 4.3 is told of beside it come in any order, each of which is another image, and
    only to the last stage. But for a label of several lines, which no Dockerfile can write.
    """
    lines = {name: value for name, value in sorted(order.labels.items()) if "\n" not in name + value}
    rest = {name: value for name, value in order.labels.items() if name not in lines}
    text = dockerfile.labelled(context.dockerfile, order.target, lines)
    return order._replace(labels=rest), context._replace(dockerfile=text, name=None)


def _climbing(context: Context) -> t.Optional[str]:
    """The first link that leads above the context."""
    for entry in context.tree.entries:
        if entry.kind == "link" and posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.target)).split("/")[0] == "..":
            return shown(entry.path)
    return None
