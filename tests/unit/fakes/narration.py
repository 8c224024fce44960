# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each builder says what it does: Docker's classic one, BuildKit inside of Docker, and Podman, as measured."""

from __future__ import annotations

import base64
import json
import re
import tarfile
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse as parse_reference
from ansible_collections.stowage.oci.tests.unit.images import Layer, sha256

from .build import Builder, Entry, Failed, State, Tree, ignored
from .recipe import Step, Wrong, expand
from .store import Record, Refused, Unreadable, unpacked


class Classic(Builder):
    """It builds every stage up to the target, and each step is an image."""

    skips = False
    runs_make_layers = False

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self._number = self._total = 0

    def strict(self) -> bool:
        return self.store.name == "containerd"

    def wrong(self, error: Wrong) -> Exception:
        if str(error) == "the Dockerfile cannot be empty":
            return Refused(400, "the Dockerfile (%s) cannot be empty" % (self.query.get("dockerfile") or "Dockerfile"))
        if self.old and "target stage" in str(error):
            return Refused(400, "failed to reach build target %s in Dockerfile" % self.query["target"])
        return Refused(400, parse_error(error, self.old))

    def no_file(self, name: str) -> Exception:
        return Refused(500, "Cannot locate specified Dockerfile: %s" % name)

    def visible(self, tree: Tree, dockerfile: str) -> Tree:
        """A Dockerfile and a .dockerignore that are ignored are needed, and then gone."""
        patterns = ignored(tree, ".dockerignore")
        gone = [name for name in (".dockerignore", dockerfile) if patterns and patterns.excludes(name)]
        return {name: entry for name, entry in tree.items() if name not in gone}

    def label_steps(self) -> t.List[Step]:
        return [Step("LABEL", "'%s=%s'" % pair, "LABEL %s=%s" % pair) for pair in sorted(self.labels.items())]

    def begin(self, stages: t.Sequence[int]) -> None:
        self._total = len(self.recipe.before) + sum(len(self.recipe.stages[number].steps) + 1 for number in stages) + len(self.labels)
        for step in self.recipe.before:
            self._announce(step)

    def _announce(self, step: Step) -> None:
        self._number += 1
        self.said += [{"stream": "Step %d/%d : %s" % (self._number, self._total, step.text)}, {"stream": "\n"}]

    def stage(self, number: int, steps: t.Sequence[Step]) -> None:
        if number - 1 in self.done:
            self._aux(self.done[number - 1])
        self._announce(self.recipe.stages[number].first)

    def based(self, state: State) -> None:
        self._arrived(state)

    def _arrived(self, state: State) -> None:
        self.output(" ---> %s\n" % (state.record.id[7:19] if state.record else ""))

    def step(self, step: Step, shown: str, cached: bool) -> None:
        self._announce(step)
        if cached:
            self.output(" ---> Using cache\n")
        elif step.word not in ("COPY", "ADD"):
            self.output(" ---> Running in %s\n" % self._container())

    def _container(self) -> str:
        return sha256(b"%d" % len(self.said))[7:19]

    def _removed(self) -> None:
        self.output("%s intermediate container %s\n" % ("Removing" if self.old else " ---> Removed", self._container()))

    def ended(self, step: Step, state: State, cached: bool, last: bool) -> None:
        if not cached and step.word not in ("COPY", "ADD"):
            self._removed()
        self._arrived(state)

    def output(self, data: str) -> None:
        self.said.append({"stream": data})

    def no_base(self, name: str) -> Exception:
        reference = parse_reference(name)
        if self.store.name == "containerd":
            return Failed("failed to resolve reference \"%s\": %s: not found" % (reference.tagged, reference.tagged))
        return Failed("manifest for %s not found: manifest unknown: manifest unknown" % name)

    def not_there(self, step: Step, name: str) -> Exception:
        return Failed("COPY failed: file not found in build context or excluded by .dockerignore: stat %s: file does not exist" % name)

    def broken(self, step: Step, code: int) -> Exception:
        self._removed()
        return Failed("The command '/bin/sh -c %s' returned a non-zero code: %d" % (step.rest, code))

    def finish(self, state: State) -> None:
        if not state.record:
            raise Failed("No image was generated. Is your Dockerfile empty?")
        self._aux(state)
        unused = sorted(set(self.given) - self.taken)
        if unused:
            self.output("[Warning] One or more build-args [%s] were not consumed\n" % " ".join(unused))
        self.output("Successfully built %s\n" % state.record.id[7:19])

    def _aux(self, state: State) -> None:
        if state.record:
            self.said.append({"aux": {"ID": state.record.id}})


class Podman(Builder):
    """Each step is an image here too, and each has all labels of its Dockerfile so far."""

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self._prefix = ""
        self._number = self._total = 0
        self._stages: t.Sequence[int] = ()

    def time(self) -> t.Optional[int]:
        return int(self.query["timestamp"]) if "timestamp" in self.query else None

    def rewritten(self) -> t.Optional[int]:
        return self.time()

    def wrong(self, error: Wrong) -> Exception:
        if "target stage" in str(error):
            return Failed("The target \"%s\" was not found in the provided Dockerfile\n" % self.query["target"])
        if error.line is None:
            return Failed("no FROM statement found\n" if "stage" in str(error) else "no contents in \"/var/tmp/libpod_builder1/build/Dockerfile\"\n")
        return Failed("%s\n" % error)

    def no_file(self, name: str) -> Exception:
        return Failed("stat /var/tmp/libpod_builder1/build/%s: no such file or directory\n" % name)

    def visible(self, tree: Tree, dockerfile: str) -> Tree:
        """After its own .containerignore, or else a .dockerignore; secrets are no files of the context."""
        secrets = [part[4:] for text in self.query.get("secrets") or [] for part in text.split(",") if part.startswith("src=")]
        patterns = ignored(tree, ".containerignore") or ignored(tree, ".dockerignore")
        return {name: one for name, one in tree.items() if name not in secrets and not (patterns and patterns.excludes(name))}

    def label_steps(self) -> t.List[Step]:
        """They are the end of the Dockerfile, and so of no stage before its last."""
        if self._stages[-1] != len(self.recipe.stages) - 1:
            return []
        texts = ["%s=%s" % (json.dumps(key), json.dumps(value)) for key, value in sorted(self.labels.items())]
        return [Step("LABEL", text, "LABEL " + text) for text in texts]

    def begin(self, stages: t.Sequence[int]) -> None:
        self._stages = range(stages[-1] + 1)

    def stage(self, number: int, steps: t.Sequence[Step]) -> None:
        self._prefix = "[%d/%d] " % (number + 1, len(self._stages)) if len(self._stages) > 1 else ""
        self._number, self._total = 0, len(steps) + 1
        stage = self.recipe.stages[number]
        self._announce(stage.first.text.replace(stage.base, self.base_name(stage), 1))

    def _announce(self, text: str) -> None:
        self._number += 1
        self.output("%sSTEP %d/%d: %s\n" % (self._prefix, self._number, self._total, text))

    def fetched(self, name: str) -> State:
        self.output("Trying to pull %s...\n" % parse_reference(name).tagged)
        return super().fetched(name)

    def check(self) -> None:
        """It does that when it comes there."""

    def step(self, step: Step, shown: str, cached: bool) -> None:
        self._announce(step.text)
        if step.wrong:
            why = "COPY requires at least one argument" if step.word == "COPY" else "Build error: Unknown instruction: \"%s\"" % step.word
            raise Failed("building at STEP \"%s \": %s\n" % (step.word, why))

    def keep(self, state: State) -> Record:
        labels = dict(state.run.get("Labels") or {}, **{"io.buildah.version": "1.28.2"})
        state.run["Labels"] = labels
        return super().keep(state)

    def ended(self, step: Step, state: State, cached: bool, last: bool) -> None:
        record = t.cast(Record, state.record)
        if cached:
            self.output("--> Using cache %s\n" % record.id[7:])
        elif last:
            self.output("%sCOMMIT\n" % self._prefix)
        self.output("--> %s\n" % record.id[7:18])

    def output(self, data: str) -> None:
        self.said.append({"stream": data})

    def no_base(self, name: str) -> Exception:
        reference = parse_reference(name)
        text = "creating build container: initializing source docker://%s: reading manifest %s in %s: manifest unknown: manifest unknown\n"
        return Failed(text % (name, reference.digest or reference.tag, reference.name))

    def not_there(self, step: Step, name: str) -> Exception:
        folder = "checking on sources under \"/var/tmp/libpod_builder1/build\""
        return Failed("building at STEP \"%s\": %s: copier: stat: \"/%s\": no such file or directory\n" % (step.text, folder, name))

    def broken(self, step: Step, code: int) -> Exception:
        return Failed("building at STEP \"%s\": while running runtime: exit status %d\n" % (step.text, code))

    def finish(self, state: State) -> None:
        record = state.record or self.keep(state)
        unused = sorted(set(self.given) - self.taken)
        if unused:
            self.output("[Warning] one or more build args were not consumed: [%s]\n" % " ".join(unused))
        self.output("%s\n" % record.id[7:])
        if not self.sent.path.startswith("/libpod"):
            self.said.append({"aux": {"ID": record.id}})
            self.output("Successfully built %s\n" % record.id[7:19])


class BuildKit(Builder):
    """Steps are in a cache of its own, whatever happens to images; an image is made at the end. It tells traces."""

    stores_steps = False
    docker_types = True

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self._prefix = ""
        self._number = self._total = 0
        self._now = ""

    def time(self) -> t.Optional[int]:
        epoch = self.given.get("SOURCE_DATE_EPOCH")
        return int(epoch) if epoch and not self.old else None

    def rewritten(self) -> t.Optional[int]:
        wanted = any((one.get("Attrs") or {}).get("rewrite-timestamp") == "true" for one in self.query.get("outputs") or [])
        return self.time() if wanted else None

    def marks(self) -> t.Any:
        return self.time(), self.rewritten()

    def context(self) -> Tree:
        """What is no tar is a Dockerfile."""
        try:
            return dict(self.sent.tree)
        except tarfile.TarError as error:
            if "end of" in str(error):
                raise self._failed("failed to read dockerfile: unexpected EOF") from None
            member = tarfile.TarInfo("Dockerfile")
            return {"Dockerfile": Entry(member, self.sent.body)}

    def _failed(self, text: str, solving: str = "failed to create LLB definition: ") -> Exception:
        return Failed("failed to solve with frontend dockerfile.v0: %s%s" % (solving, text) if self.old else text)

    def wrong(self, error: Wrong) -> Exception:
        return self._failed(parse_error(error, self.old))

    def no_file(self, name: str) -> Exception:
        return self._failed("failed to read dockerfile: open %s: no such file or directory" % name, "")

    def begin(self, stages: t.Sequence[int]) -> None:
        for name in ("[internal] load remote build context", "copy /context /"):
            self._vertex(name)
        for number in stages:
            for name in self.images(number):
                self._now = "[internal] load metadata for %s" % _whole(name)
                self.source(name)
                self._vertex(self._now)

    def stage(self, number: int, steps: t.Sequence[Step]) -> None:
        stage = self.recipe.stages[number]
        named = stage.name or ("stage-%d" % number if len(self.recipe.stages) > 1 else "")
        base = self.base_name(stage)
        image = base != "scratch" and self.recipe.index(base) is None
        self._prefix = named + " " if named else ""
        self._number, self._total = 0, sum(map(_counts, steps)) + image
        if image:
            self._vertex(self._title("FROM " + _whole(base)), cached=True)

    def _title(self, text: str) -> str:
        self._number += 1
        return "[%s%*d/%d] %s" % (self._prefix, len(str(self._total)), self._number, self._total, text)

    def shown(self, step: Step, values: t.Mapping[str, str]) -> str:
        return expand(step.text, values)

    def step(self, step: Step, shown: str, cached: bool) -> None:
        if _counts(step):
            self._now = self._title(shown)
            self._vertex(self._now, cached)

    def output(self, data: str) -> None:
        self._trace({3: [{1: sha256(self._now.encode()), 2: {1: 1}, 3: 1, 4: data}]})

    def held(self, name: str) -> t.Optional[Record]:
        """It knows no IDs."""
        return None if re.fullmatch("sha256:[0-9a-f]{64}", name) else super().held(name)

    def strict(self) -> bool:
        return self.store.name == "classic"

    def fetched(self, name: str) -> State:
        """What it fetches it keeps to itself; without a session it has no credentials."""
        if self.daemon.credentials is not None:
            raise self._no_image(name, "no active sessions")
        try:
            _kind, target, manifest = self.daemon.choose(name, {"platform": self.query["platform"]} if self.asked else {})
        except (Refused, Unreadable):
            raise self.no_base(name) from None
        document = json.loads(manifest.decode())
        blobs = self.daemon.remote_blobs
        layers = [Layer(unpacked(blobs[layer["digest"]]), blobs[layer["digest"]], "gzip") for layer in document["layers"]]
        return State(sha256(target), json.loads(blobs[document["config"]["digest"]].decode()), tuple(layers))

    def no_base(self, name: str) -> Exception:
        return self._no_image(name, "%s: not found" % _whole(name))

    def _no_image(self, name: str, why: str) -> Exception:
        self._vertex(self._now, error=why)
        return self._failed(why if self.old else "%s: failed to resolve source metadata for %s: %s" % (name, _whole(name), why))

    def not_there(self, step: Step, name: str) -> Exception:
        why = "\"/%s\"%s: not found" % (name, " not found" if self.old else "")
        why = why if self.old else "failed to calculate checksum of ref aaaa::bbbb: " + why
        self._vertex(self._now, error=why)
        return Failed("failed to compute cache key: " + why)

    def broken(self, step: Step, code: int) -> Exception:
        text = "executor failed running [/bin/sh -c %s]" if self.old else "process \"/bin/sh -c %s\" did not complete successfully"
        why = (text + ": exit code: %d") % (step.rest, code)
        self._vertex(self._now, error=why)
        return Failed(why)

    def finish(self, state: State) -> None:
        self._vertex("exporting to image")
        run = dict(state.run)
        if self.labels:
            run["Labels"] = dict(run.get("Labels") or {}, **self.labels)
        record = self.keep(state._replace(config=dict(sorted(dict(state.config, config=run).items()))))
        self.said.append({"id": "moby.image.id", "aux": {"ID": record.id}})

    def _vertex(self, name: str, cached: bool = False, error: str = "") -> None:
        self._trace({1: [{1: sha256(name.encode()), 3: name, 4: int(cached), 5: {1: 1}, 6: {1: 2}, 7: error}]})

    def _trace(self, message: t.Any) -> None:
        self.said.append({"id": "moby.buildkit.trace", "aux": base64.b64encode(_protobuf(message)).decode()})


def parse_error(error: Wrong, old: bool) -> str:
    return str(error) if error.line is None else "dockerfile parse error %sline %d: %s" % ("" if old else "on ", error.line, error)


def _whole(name: str) -> str:
    return str(parse_reference(name).tagged)


def _counts(step: Step) -> bool:
    """Whether BuildKit runs something for it."""
    return step.word in ("ADD", "COPY", "RUN", "WORKDIR")


def _protobuf(value: t.Any) -> bytes:
    """A message, by the numbers of its fields; what is empty or zero is left out."""
    parts = []
    for number, field in value.items():
        for one in field if isinstance(field, list) else [field]:
            if isinstance(one, int):
                parts.append(_varint(number << 3) + _varint(one) if one else b"")
                continue
            data = _protobuf(one) if isinstance(one, dict) else one.encode("utf-8", "surrogateescape")
            parts.append(_varint(number << 3 | 2) + _varint(len(data)) + data if data else b"")
    return b"".join(parts)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(found + bytes([value]))
