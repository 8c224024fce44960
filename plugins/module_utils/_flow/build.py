# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build, step by step: measure what the image is built from, look at what the tags name, decide, have the bases, build, look, and tag."""

from __future__ import annotations

import functools
import json
import os
import re
import typing as t

from .._engine import local as _local
from .._engine.build import Built, Order
from .._engine.engine import Engine
from .._errors import InvalidInput, shown
from .._module import Failed, Result, concluded
from .._oci import platform as _platform
from .._oci.dockerfile import PLATFORM_ARGUMENTS, parse
from .._oci.hashes import Hashes
from .._oci.reference import Reference
from .._plan import build as _plan
from .._plan.build import DIGEST_LABEL, Build, Image, Inputs, Keep, Rule
from .._plan.builders import AUTO, CLASSIC
from .._plan.tag import TAGGED, targets
from . import builders
from .bases import Bases, called
from .context import opened
from .memory import Memory, entries
from .tag import Tagger

BUILT, SOURCE = "built", "source"
_TAIL = 20
"""Lines of the log of a build that went well."""


class Task:
    """One task on one host, and the facts before anything is done.

    Raises InvalidInput for options that contradict each other, BadDockerfile, ContextError, and EngineError.
    """

    def __init__(self, engine: Engine, params: t.Mapping[str, t.Any], check_mode: bool) -> None:
        self._engine = engine
        self._params = params
        self._check_mode = check_mode
        self._tags = targets(params["tags"])
        if not self._tags:
            raise InvalidInput("tags: name at least one reference for the image")
        secret = _texts("secret_build_args", params["secret_build_args"])
        self._args = dict(_texts("build_args", params["build_args"]), **secret)
        self._labels = _texts("labels", params["labels"])
        self._secrets = _secrets(params["secrets"])
        self._time = _time(params["timestamp"])
        self._platform = _platform.parse(params["platform"]) if params["platform"] else None

        self._memory = Memory(engine.url, str(self._tags[0]), params["hash_cache"])
        self._hashes = Hashes(self._memory.hashes(params["path"]))
        self._context = opened(params, self._hashes)
        self._dockerfile = dockerfile = parse(self._context.dockerfile, self._context.where)
        seen = dict(self._platforms(), **self._args)
        self._bases = dockerfile.bases(seen, params["target"])
        self._every = functools.partial(builders.of_all_stages, self._context, dockerfile, params["target"], seen)
        self._needs = builders.needs(params, self._context, dockerfile.needs(params["target"], seen), self._bases)
        used = dockerfile.arguments(params["target"], seen)
        self._inputs = Inputs(
            context=str(self._context.tree.digest),
            dockerfile=_plan.hashed(self._context.dockerfile.decode("utf-8", "surrogateescape")),
            arguments={name: _plan.hashed(value, name in secret) for name, value in self._args.items() if name in used},
            options=self._options(),
            bases={},
        )
        self._before = {reference: self._named(reference) for reference in self._tags}

    def __call__(self) -> Result:
        """Raises Failed, with the log, if the build fails; EngineError, NotInRegistry and their like before it begins."""
        wished = self._params["builder"]
        named = builders.choose(self._engine, self._needs, wished) if wished != AUTO else None
        bases = Bases(self._engine, self._params)
        stamped = [image.stamped for image in self._before.values() if image]
        remembered = next((inputs.bases for inputs in stamped if inputs), {})
        inputs = self._inputs._replace(bases=bases.foreseen(self._bases, remembered))
        plan = self._decide(inputs)
        if isinstance(plan, Build) and remembered and not self._params["pull"]:
            # A base that has left the host since then is pulled for a build, and may be another image now.
            inputs = self._inputs._replace(bases=bases.foreseen(self._bases, {}))
            plan = self._decide(inputs)
        if isinstance(plan, Keep):
            return self._kept(plan, inputs)
        builder = named or builders.choose(self._engine, self._needs, AUTO)
        needed = self._every() if builder == CLASSIC else self._bases
        if self._check_mode:
            bases.foreseen(needed, {})
            entries = [self._entry(reference, plan, inputs.digest, plan.likely) for reference in self._tags]
            return concluded(entries, build_digest=inputs.digest, builder=builder, reason=_reason(plan), log=[])

        had = bases.had(needed)
        known = self._inputs._replace(bases={called(base): had[called(base)] for base in self._bases})
        again = self._decide(known)
        return self._kept(again, known) if isinstance(again, Keep) else self._built(plan, inputs.digest, known, builder)

    # Facts

    def _options(self) -> t.Dict[str, str]:
        """Those that an image depends on, as the stamp has them."""
        found = {"target": self._params["target"], "platform": self._platform and str(self._platform)}
        if self._time is not None:
            found["timestamp"] = str(self._time)
        if self._labels:
            found["labels"] = _plan.hashed(json.dumps(self._labels, sort_keys=True))
        return {name: value for name, value in found.items() if value}

    def _platforms(self) -> t.Dict[str, str]:
        """The arguments that builders set by themselves."""
        found: t.Dict[str, str] = {}
        for side, platform in (("BUILD", self._engine.platform), ("TARGET", self._platform or self._engine.platform)):
            parts = {"PLATFORM": str(platform), "OS": platform.os, "ARCH": platform.architecture, "VARIANT": platform.variant}
            found.update((side + name, value) for name, value in parts.items())
        return {name: value for name, value in found.items() if name in PLATFORM_ARGUMENTS}

    def _named(self, reference: Reference) -> t.Optional[Image]:
        document = self._engine.inspect(str(reference))
        if document is None or not _local.of_inspect(document, self._engine.store).complete:
            return None
        return Image(str(document["Id"]), (document.get("Config") or {}).get("Labels") or {})

    def _decide(self, inputs: Inputs) -> _plan.Plan:
        tags = {reference.spelling: image for reference, image in self._before.items()}
        rule = Rule(self._params["rebuild"], self._params["stamp"], self._params["cache"])
        last = self._memory.last
        main = self._before[self._tags[0]]
        files = None
        if last and main and main.labels.get(DIGEST_LABEL) == last.built.digest != inputs.digest:
            files = _plan.compared(last.entries, entries(self._context.tree))
        return _plan.decide(tags, inputs, rule, last and last.built, files)

    # Acts

    def _kept(self, plan: Keep, inputs: Inputs) -> Result:
        """The tags that name another image are moved."""
        tagger = Tagger(self._engine, plan.image_id, self._check_mode)
        self._remember(inputs, plan.image_id)
        return concluded([tagger(reference) for reference in self._tags], build_digest=inputs.digest, builder=None, reason=None, log=[])

    def _built(self, plan: Build, foreseen: t.Optional[str], inputs: Inputs, builder: str) -> Result:
        order = Order(
            target=self._params["target"],
            args=self._args,
            labels=dict(self._labels, **(inputs.stamp() if self._params["stamp"] else {})),
            platform=self._platform and str(self._platform),
            network=self._params["network"],
            cache=self._params["cache"],
            timestamp=self._time,
            secrets=self._secrets,
            ssh=self._params["ssh"],
            cache_from=self._params["cache_from"],
            cache_to=self._params["cache_to"],
        )
        built = builders.build(self._engine, builder, order, self._context, self._dockerfile)
        if built.image_id and not self._fits(built.image_id):
            # Podman 4.3 takes what it built from scratch for another platform for the same.
            built = builders.build(self._engine, builder, order._replace(cache=False), self._context, self._dockerfile)
        more: Result = {"build_digest": inputs.digest, "builder": builder, "reason": _reason(plan)}
        log = [self._discreet(line) for line in built.log.lines]
        if built.image_id is None:
            raise Failed(self._discreet(_failure(self._tags[0].spelling, built)), dict(more, changed=False, images=[], log=log))
        entries = [self._entry(reference, plan, foreseen, built.image_id) for reference in self._tags]
        for reference, entry in zip(self._tags, entries):
            if entry["changed"]:
                self._engine.tag(built.image_id, reference)
        self._remember(inputs, built.image_id)
        return concluded(entries, log=log[-_TAIL:], **more)

    def _fits(self, image_id: str) -> bool:
        """Whether an image that is built on no other is for the wanted platform."""
        image, wanted = _local.local(self._engine, image_id), self._platform or self._engine.platform
        return bool(self._bases) or image is None or image.platform[:2] == wanted[:2]

    def _entry(self, reference: Reference, plan: Build, digest: t.Optional[str], image_id: t.Optional[str]) -> Result:
        """Of a tag that the image gets; the diff is what is known before a build, in check mode or not."""
        before = self._before[reference]
        was = {"reference": reference.spelling, "image_id": before and before.image_id, "build_digest": before and before.labels.get(DIGEST_LABEL)}
        becomes = {"reference": reference.spelling, "build_digest": digest, "reason": _reason(plan)}
        image = _local.local(self._engine, image_id) if image_id else None
        return {
            "reference": reference.spelling,
            "image_id": image_id,
            "digest": image and _local.digest_as(image, self._engine.store, reference),
            "config_digest": image and image.config_digest,
            "changed": before is None or before.image_id != image_id,
            "action": BUILT if reference == self._tags[0] else TAGGED,
            "diff": (was, becomes),
        }

    def _remember(self, inputs: Inputs, image_id: str) -> None:
        if not self._check_mode and inputs.digest:
            self._memory.remember(inputs.digest, image_id, self._context.tree)
            self._hashes.save()

    def _discreet(self, text: str) -> str:
        """Without what a step printed of a secret. Ansible itself takes out what its options say."""
        for value in self._secrets.values():
            for line in value.decode("utf-8", "replace").splitlines():
                if len(line.strip()) > 3:
                    text = text.replace(line.strip(), "********")
        return text


def _reason(plan: Build) -> str:
    return "; ".join(plan.reasons)


def _failure(tag: str, built: Built) -> str:
    failing = built.log.failing()
    if failing is None:
        return "%s: the build failed: %s" % (tag, built.error)
    step, lines = failing
    said = "; it printed last: %s" % "\n".join(lines) if lines else ""
    return "%s: the build failed at %s: %s%s" % (tag, step, built.error, said)


def _texts(option: str, values: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """As YAML gives them, but for what has no one spelling."""
    found = {}
    for name, value in values.items():
        if value is None or isinstance(value, (dict, list)):
            what = "missing" if value is None else "a " + type(value).__name__
            raise InvalidInput("%s: the value of %s is %s: write a string" % (option, name, what))
        found[str(name)] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _time(text: t.Optional[str]) -> t.Optional[int]:
    if text is None:
        return None
    value = os.environ.get("SOURCE_DATE_EPOCH", "") if text == SOURCE else text
    if not re.fullmatch("[0-9]{1,11}", value):
        what = "it is %s" % shown(value)
        if text == SOURCE:
            what = "SOURCE_DATE_EPOCH is %s where the module runs" % (shown(value) if value else "not set")
        raise InvalidInput("timestamp: %s: give seconds since 1970" % what)
    return int(value)


def _secrets(wanted: t.Iterable[t.Mapping[str, t.Any]]) -> t.Dict[str, bytes]:
    found = {}
    for secret in wanted:
        if not re.fullmatch(r"[\w.-]+", secret["id"]):
            raise InvalidInput("secrets: %s is no id: it is made of letters, digits and . _ -" % shown(repr(secret["id"])))
        if secret["id"] in found:
            raise InvalidInput("secrets: there are two of the id %s" % shown(secret["id"]))
        if secret["value"] is not None:
            found[secret["id"]] = secret["value"].encode("utf-8")
            continue
        try:
            with open(secret["src"], "rb") as file:
                found[secret["id"]] = file.read()
        except OSError as error:
            raise InvalidInput("secrets: %s cannot be read: %s" % (shown(secret["src"]), error.strerror)) from None
    return found
