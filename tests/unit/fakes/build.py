# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all builders do with a Dockerfile and a context; narration.py has how each tells it."""

from __future__ import annotations

import copy
import datetime
import fnmatch
import functools
import io
import json
import posixpath
import shlex
import tarfile
import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._oci.ignore import Ignore
from ansible_collections.stowage.oci.tests.unit.images import Layer, compress, dump, sha256

from .recipe import Recipe, Stage, Step, Wrong, expand, parse
from .server import Call
from .store import CREATED_SECONDS, Document, Record, Refused, Unreadable

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Entry(t.NamedTuple):
    """A file, folder or whatever of a tar."""

    member: tarfile.TarInfo
    data: bytes


Tree = t.Dict[str, Entry]


class Sent:
    """What came to be built: the ``query`` with its JSON read, ``headers``, and the tar."""

    def __init__(self, call: Call, body: bytes) -> None:
        self.path = call.path
        self.query: t.Dict[str, t.Any] = dict(call.query)
        self.headers = call.headers
        self.body = body
        for key in ("buildargs", "labels", "outputs", "secrets", "cachefrom"):
            if key in self.query:
                self.query[key] = json.loads(self.query[key])

    @functools.cached_property
    def tree(self) -> Tree:
        """By path; raises tarfile.TarError."""
        return untar(self.body)

    @property
    def files(self) -> t.Dict[str, bytes]:
        """Contents of the plain files."""
        return {name: entry.data for name, entry in self.tree.items() if entry.member.isreg()}


class Memory:
    """What the builders of an engine did: images by what made them. ``ticks`` is their clock."""

    def __init__(self) -> None:
        self.steps: t.Dict[str, State] = {}
        self.ticks = 0

    def now(self) -> int:
        self.ticks += 1
        return CREATED_SECONDS + self.ticks


class State(t.NamedTuple):
    """An image on its way: ``key`` is all that made it, ``record`` itself, where one was stored."""

    key: str
    config: Document
    layers: t.Tuple[Layer, ...]
    record: t.Optional[Record] = None

    @property
    def tree(self) -> Tree:
        found: Tree = {}
        for layer in self.layers:
            found.update(untar(layer.tar))
        return found

    @property
    def run(self) -> Document:
        """What a container gets."""
        return self.config.setdefault("config", {})

    @property
    def env(self) -> t.Dict[str, str]:
        return dict(item.partition("=")[::2] for item in self.run.get("Env") or [])


class Failed(Exception):
    """The build ends so, in the builder's own words."""


class Missing(Exception):
    """There is nothing of this name to copy."""


class Exit(Exception):
    """A command ended with this code."""


class Builder:
    """``version`` is that of the API call; subclasses say what happens, and what goes wrong, as their kin do."""

    stores_steps = True
    """Whether each step makes an image, in which the next build finds it again."""

    skips = True
    """Whether stages that nobody needs are left out."""

    docker_types = False
    runs_make_layers = True

    def __init__(self, daemon: t.Any, sent: Sent) -> None:
        self.daemon = daemon
        self.store = daemon.store
        self.old = daemon.old
        self.memory: Memory = daemon.memory
        self.sent = sent
        self.query = sent.query
        self.given: t.Dict[str, str] = dict(self.query.get("buildargs") or {})
        self.labels: t.Dict[str, str] = dict(self.query.get("labels") or {})
        self.asked = (self.query.get("platform") or "").split("/")[1:2]
        self.said: t.List[Document] = []
        self.taken: t.Set[str] = set()
        self.recipe = Recipe([], [])
        self.done: t.Dict[int, State] = {}

    def messages(self) -> t.List[Document]:
        """Raises Refused for what is no stream."""
        try:
            self._build(self.context())
        except Failed as failed:
            self.said.append({"errorDetail": {"message": str(failed)}, "error": str(failed)})
        return self.said

    # What subclasses say

    def context(self) -> Tree:
        """The tar as this builder uses it."""
        try:
            return dict(self.sent.tree)
        except tarfile.TarError as error:
            raise Refused(500, "unexpected EOF" if "end of" in str(error) else "archive/tar: invalid tar header") from None

    def check(self) -> None:
        """Raises Wrong for what it cannot read, where it looks at all before it begins."""
        self.recipe.check()

    def begin(self, stages: t.Sequence[int]) -> None:
        """These will be built."""

    def stage(self, number: int, steps: t.Sequence[Step]) -> None:
        raise NotImplementedError

    def based(self, state: State) -> None:
        """A stage stands on this."""

    def step(self, step: Step, shown: str, cached: bool) -> None:
        raise NotImplementedError

    def ended(self, step: Step, state: State, cached: bool, last: bool) -> None:
        """A step, well."""

    def output(self, data: str) -> None:
        raise NotImplementedError

    def wrong(self, error: Wrong) -> Exception:
        return Failed(str(error))

    def no_file(self, name: str) -> Exception:
        raise NotImplementedError

    def no_base(self, name: str) -> Exception:
        raise NotImplementedError

    def not_there(self, step: Step, name: str) -> Exception:
        raise NotImplementedError

    def broken(self, step: Step, code: int) -> Exception:
        raise NotImplementedError

    def finish(self, state: State) -> None:
        """This is the image."""
        raise NotImplementedError

    def label_steps(self) -> t.List[Step]:
        """The labels of the query, where they are steps."""
        return []

    # The build

    def _build(self, tree: Tree) -> None:
        name = posixpath.normpath(self.query.get("dockerfile") or "Dockerfile")
        if name not in tree:
            raise self.no_file(name)
        try:
            self.recipe = parse(tree[name].data.decode())
            self.check()
            target = self._target()
        except Wrong as wrong:
            raise self.wrong(wrong) from None
        stages = [number for number in range(target + 1) if number in self._needed(target) or not self.skips]
        self.begin(stages)
        visible = self.visible(tree, name)
        for number in stages:
            self.done[number] = self._stage(number, visible, number == target)
        self.finish(self.done[target])

    def visible(self, tree: Tree, dockerfile: str) -> Tree:
        """What COPY finds."""
        return tree

    def _target(self) -> int:
        wanted = self.query.get("target")
        found = self.recipe.index(wanted) if wanted else len(self.recipe.stages) - 1
        if found is None:
            raise Wrong("target stage \"%s\" could not be found" % wanted)
        return found

    def _needed(self, target: int) -> t.Set[int]:
        """The stages on which this one stands, and itself."""
        stage = self.recipe.stages[target]
        names = [self.base_name(stage)] + [step.flags["from"] for step in stage.steps if "from" in step.flags]
        found = [number for number in map(self.recipe.index, names) if number is not None and number < target]
        return {target}.union(*map(self._needed, found))

    def base_name(self, stage: Stage) -> str:
        values = {}
        for step in self.recipe.before:
            name, _equals, default = step.rest.partition("=")
            self.taken.add(name)
            values[name] = self.given.get(name, expand(default, values))
        return expand(stage.base, values)

    def _stage(self, number: int, tree: Tree, last: bool) -> State:
        stage = self.recipe.stages[number]
        steps = stage.steps + (self.label_steps() if last else [])
        self.stage(number, steps)
        state = self.source(self.base_name(stage))
        self.based(state)
        args: t.Dict[str, str] = {}
        for step in steps:
            state = self._step(state, step, args, tree, last and step is steps[-1])
        return state

    def images(self, number: int) -> t.List[str]:
        """The images that a stage names."""
        stage = self.recipe.stages[number]
        names = [self.base_name(stage)] + [step.flags["from"] for step in stage.steps if "from" in step.flags]
        return [name for name in names if name != "scratch" and self.recipe.index(name) is None]

    def source(self, name: str) -> State:
        """A stage, or an image."""
        number = self.recipe.index(name)
        if number in self.done:
            return self.done[t.cast(int, number)]
        if name == "scratch":
            config = {"architecture": (self.asked or ["amd64"])[0], "os": "linux", "config": {"Env": [PATH]}}
            return State("scratch " + str(config), config, ())
        record = self.held(name)
        if record:
            return State(record.id, record.config, tuple(self.store.held(record)), record)
        return self.fetched(name)

    def held(self, name: str) -> t.Optional[Record]:
        """What the engine has under a name, if this builder takes it."""
        record = self.store.find(name)
        return self.store.fitting(record, (self.asked or ["amd64"])[0]) if record and self.strict() else record

    def strict(self) -> bool:
        """Whether a base must be for the platform that is wanted."""
        return bool(self.asked)

    def fetched(self, name: str) -> State:
        try:
            self.authorised()
            record = self.daemon.pull(name, {"platform": self.query["platform"]} if self.asked else {})
        except (Refused, Unreadable):
            raise self.no_base(name) from None
        return State(record.id, record.config, tuple(self.store.held(record)), record)

    def authorised(self) -> None:
        if self.daemon.credentials is not None:
            raise Refused(500, "no basic auth credentials")

    # One step

    def _step(self, state: State, step: Step, args: t.Dict[str, str], tree: Tree, last: bool) -> State:
        values = dict(args, **state.env)
        copied: Tree = {}
        try:
            copied = self._copied(state, step, values, tree) if step.word in ("COPY", "ADD") else {}
        except Missing as missing:
            self.step(step, self.shown(step, values), False)
            raise self.not_there(step, str(missing)) from None
        key = sha256(repr((type(self), state.key, step.text, self._values(step, args, values), _content(copied), self.marks())).encode())
        known = None if self.query.get("nocache") in ("1", "true") else self.memory.steps.get(key)
        cached = known is not None and (not self.stores_steps or self.store.records.get(known.record.id) is known.record)
        if step.word == "ARG":
            name, _equals, default = step.rest.partition("=")
            self.taken.add(name)
            args[name] = self.given.get(name, expand(default, values))
        self.step(step, self.shown(step, values), cached)
        if not cached:
            known = self._made(state, key, step, values, copied)
            self.memory.steps[key] = known
        self.ended(step, t.cast(State, known), cached, last)
        return t.cast(State, known)

    def shown(self, step: Step, values: t.Mapping[str, str]) -> str:
        return step.text

    def marks(self) -> t.Any:
        """What else tells one build from another."""
        return self.time()

    def _values(self, step: Step, args: t.Mapping[str, str], values: t.Mapping[str, str]) -> t.Any:
        if step.word == "RUN":
            return sorted(args.items())
        return expand(step.rest, values) if step.word != "ARG" else None

    def _made(self, state: State, key: str, step: Step, values: t.Mapping[str, str], copied: Tree) -> State:
        config = copy.deepcopy(state.config)
        made = State(key, config, state.layers)
        layer = None
        now = self.time() if self.time() is not None else self.memory.now()
        if step.word in ("COPY", "ADD"):
            layer = layer_of(dict(_above(copied, state.tree, self.memory.now()), **copied), self.rewritten())
        elif step.word == "RUN":
            try:
                run(step, values, self.output)
            except Exit as code:
                raise self.broken(step, int(str(code))) from None
            layer = layer_of({}, None) if self.runs_make_layers else None
        elif step.word == "WORKDIR":
            made.run["WorkingDir"] = posixpath.join(made.run.get("WorkingDir") or "/", expand(step.rest, values))
            layer = layer_of(_folders(made.run["WorkingDir"].lstrip("/"), self.memory.now()), self.rewritten())
        else:
            _configure(made.run, step, values)
        config["created"] = _stamp(now)
        entry: Document = {"created": config["created"], "created_by": self.shown(step, values)}
        config.setdefault("history", []).append(entry if layer else dict(entry, empty_layer=True))
        return self.stored(made._replace(layers=state.layers + ((layer,) if layer else ())), state.record)

    def time(self) -> t.Optional[int]:
        """That which all is to have, if any."""
        return None

    def rewritten(self) -> t.Optional[int]:
        """That of files in new layers, if not their own."""
        return None

    def stored(self, state: State, parent: t.Optional[Record]) -> State:
        if not self.stores_steps:
            return state
        record = self.keep(state)
        record.parent = parent.id if parent else ""
        return state._replace(record=record)

    def keep(self, state: State) -> Record:
        config = dict(state.config, rootfs={"type": "layers", "diff_ids": [layer.diff_id for layer in state.layers]})
        return self.store.built(dump(config), state.layers, self.docker_types)

    def _copied(self, state: State, step: Step, values: t.Mapping[str, str], tree: Tree) -> Tree:
        """Raises Missing."""
        *sources, goal = [expand(item, values) for item in step.items]
        if "from" in step.flags:
            tree = self.source(expand(step.flags["from"], values)).tree
        there = state.tree
        target = posixpath.normpath(posixpath.join("/", state.run.get("WorkingDir") or "/", goal)).lstrip("/")
        into = goal.endswith(("/", ".")) or len(sources) > 1 or not target or target in there and there[target].member.isdir()
        found: Tree = {}
        for source in sources:
            for name in _matches(tree, posixpath.normpath(posixpath.join("/", source)).lstrip("/")):
                if name in tree and not tree[name].member.isdir():
                    found[posixpath.join(target, posixpath.basename(name)) if into else target] = tree[name]
                else:
                    found.update((posixpath.join(target, path[len(name):].lstrip("/")), tree[path]) for path in tree if _below(path, name))
        return found


def _below(path: str, folder: str) -> bool:
    return not folder or path.startswith(folder + "/")


def _matches(tree: Tree, source: str) -> t.List[str]:
    """Raises Missing."""
    everything = {"/".join(path.split("/")[:depth]) for path in tree for depth in range(1, path.count("/") + 2)} | {""}
    found = [path for path in sorted(everything) if fnmatch.fnmatchcase(path, source) and path.count("/") == source.count("/")]
    if not found and source in everything:
        return [source]
    if not found:
        raise Missing(source)
    return found


def _content(tree: Tree) -> t.Any:
    """What tells a tree from another: no times, no owners."""
    return [(name, one.member.type, one.member.mode, one.member.linkname, sha256(one.data)) for name, one in sorted(tree.items())]


def _folders(path: str, time: int) -> Tree:
    """A folder and those above it."""
    found = {}
    for depth in range(1, path.count("/") + 2):
        member = tarfile.TarInfo("/".join(path.split("/")[:depth]))
        member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, time
        found[member.name] = Entry(member, b"")
    return found


def _above(copied: Tree, there: Tree, time: int) -> Tree:
    """The folders that must be made for what is copied."""
    found: Tree = {}
    for name in copied:
        found.update(_folders(posixpath.dirname(name), time))
    return {name: entry for name, entry in found.items() if name and name not in there}


def _configure(run_config: Document, step: Step, values: t.Mapping[str, str]) -> None:
    if step.word == "ENV":
        env = dict(item.partition("=")[::2] for item in run_config.get("Env") or [])
        env.update(_pairs(step, values))
        run_config["Env"] = ["%s=%s" % pair for pair in env.items()]
    elif step.word == "LABEL":
        run_config["Labels"] = dict(run_config.get("Labels") or {}, **_pairs(step, values))
    elif step.word in ("CMD", "ENTRYPOINT"):
        run_config[step.word.capitalize()] = step.items if step.is_list else ["/bin/sh", "-c", step.rest]
    elif step.word == "USER":
        run_config["User"] = expand(step.rest, values)


def _pairs(step: Step, values: t.Mapping[str, str]) -> t.Dict[str, str]:
    first, *more = shlex.split(step.rest)
    if "=" not in first:
        return {first: expand(" ".join(more), values)}
    return {name: expand(value, values) for name, _equals, value in (word.partition("=") for word in [first] + more)}


def run(step: Step, values: t.Mapping[str, str], output: t.Callable[[str], None]) -> None:
    """Raises Exit."""
    commands = [step.items] if step.is_list else [expand(part, values).split() for part in step.rest.split("&&")]
    for command in commands:
        name = posixpath.basename(command[0])
        if name == "echo":
            output(" ".join(command[1:]).replace('"', "").replace("'", "") + "\n")
        elif name == "false" or name == "exit" and command[1:] != ["0"]:
            raise Exit(command[1] if name == "exit" else "1")


def layer_of(tree: Tree, time: t.Optional[int]) -> Layer:
    """All times are ``time``, if that is given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as archive:
        for name, entry in sorted(tree.items()):
            member = copy.copy(entry.member)
            member.name, member.uid, member.gid, member.uname, member.gname, member.pax_headers = name, 0, 0, "", "", {}
            member.mtime = int(member.mtime) if time is None else time
            archive.addfile(member, io.BytesIO(entry.data) if member.isreg() else None)
    return Layer(out.getvalue(), compress(out.getvalue(), "gzip"), "gzip")


def untar(data: bytes) -> Tree:
    """Raises tarfile.TarError."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            name = posixpath.normpath(member.name).lstrip("/")
            if name != ".":
                found[name] = Entry(member, content.read() if content else b"")
    return found


def ignored(tree: Tree, name: str) -> t.Optional[Ignore]:
    """The patterns in this file of it."""
    return Ignore(tree[name].data, name) if name in tree else None


def _stamp(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def builder(daemon: t.Any, sent: Sent) -> Builder:
    """The one that this call asks for."""
    from .narration import BuildKit, Classic, Podman

    if daemon.store.name == "podman":
        return Podman(daemon, sent)
    return (BuildKit if sent.query.get("version") == "2" else Classic)(daemon, sent)
