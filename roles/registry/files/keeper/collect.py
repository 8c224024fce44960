# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect garbage without loss: what no tag, index or subject reaches, and what the rules of retention let go.

Two traps of distribution are passed by. `garbage-collect -m` of 2.8 deletes the platforms of images that have several
(distribution#3178): we choose what goes, delete it by digest, and run the plain collection. And a server that remembers blobs
which went says that it has them (distribution#1803): it serves without its cache meanwhile, and its redis is flushed.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, NamedTuple, Set, Tuple

import cache
import inventory
import maintenance
import private
import reach
import retention
import storage
import variants
from api import Api
from private import Program
from reach import Repository, Verdict
from settings import Config, Failure, Settings, read
from unit import Unit


class Plan(NamedTuple):
    """What goes: by repository, and the blobs that go with it, each with its size if that is known."""

    verdicts: List[Tuple[str, Verdict]]
    blobs: Dict[str, Any]

    def manifests(self) -> List[Tuple[str, str, str]]:
        return [(name, digest, why) for name, verdict in self.verdicts for digest, why in verdict.doomed.items()]

    def empty(self) -> bool:
        return not self.blobs and not self.manifests()

    def result(self) -> Dict[str, Any]:
        known = [size for size in self.blobs.values() if size is not None]
        return {
            "changed": not self.empty(),
            "manifests": [{"repository": name, "digest": digest, "why": why} for name, digest, why in self.manifests()],
            "tags": _tags((name, verdict.tags) for name, verdict in self.verdicts),
            "kept_tags": _tags((name, verdict.kept_tags) for name, verdict in self.verdicts),
            "blobs": len(self.blobs), "bytes": sum(known), "unsized": len(self.blobs) - len(known),
        }


def _tags(found: Any) -> List[Dict[str, str]]:
    return [{"repository": name, "tag": tag, "why": why} for name, tags in found for tag, why in sorted(tags.items())]


def collect(settings: Settings, unit: Unit, program: Program, dry_run: bool) -> Dict[str, Any]:
    config = read(settings.config)
    _refuse(config)
    retention.check(settings.retain)
    if dry_run:
        return _plan(settings, program, config, True).result()
    with private.lock(settings):
        maintenance.recover(settings, unit)
        # Nothing is restarted for nothing.
        if _plan(settings, program, config, True).empty():
            return Plan([], {}).result()
        redis = variants.redis(config)
        with maintenance.read_only(settings, unit):
            if redis:
                cache.flush(redis)  # before anything goes, so that no failure leaves it wrong
            try:
                return _plan(settings, program, config, False).result()
            finally:
                if redis:
                    cache.flush(redis)  # other servers may have written to it


def _refuse(config: Config) -> None:
    if config.get("proxy"):
        raise Failure("This registry passes on the images of %s: it forgets them by itself, and has no garbage to collect."
                      % (config["proxy"] or {}).get("remoteurl"))
    if variants.driver(config)[0] == "inmemory":
        raise Failure("This registry keeps its images in memory, where no other program reaches them: restart it to be rid of them all.")


def _plan(settings: Settings, program: Program, config: Config, dry_run: bool) -> Plan:
    """What goes; unless it is a dry run it is gone."""
    with private.folder(settings, program) as folder:
        def made(socket: str) -> Config:
            return variants.private(config, socket, dry_run)

        with private.serving(program, folder, made, settings.config, "A private server on the registry's storage") as served:
            found = inventory.printed(private.garbage(program, folder, served.config, settings.config, True))
            with Api(served.address) as api:
                plan = _decide(settings, api, found, variants.root(config))
                if not dry_run:
                    for name, digest, _why in plan.manifests():
                        api.delete(name, digest)
        if not dry_run and not plan.empty():
            gone = inventory.printed(private.garbage(program, folder, made("unused"), settings.config, False)).blobs
            plan = plan._replace(blobs={digest: plan.blobs.get(digest) for digest in gone})
    return plan


def _decide(settings: Settings, api: Api, found: inventory.Printed, root: Any) -> Plan:
    verdicts = []
    kept: Set[str] = set()
    gone: Dict[str, int] = dict.fromkeys(found.blobs, 0)
    sizes: Dict[str, int] = {}
    for repository in inventory.repositories(api, found):
        verdict = reach.decide(repository, _going(settings, api, repository), settings.untagged)
        verdicts.append((repository.name, verdict))
        for digest, one in repository.manifests.items():
            named = [digest, *one.blobs]
            if digest in verdict.doomed:
                gone.update(dict.fromkeys(named, 0))
            else:
                kept.update(named)
            sizes.update(one.blobs)
            sizes[digest] = one.size
    blobs = {}
    for digest in gone:
        if digest not in kept:
            size = storage.size(root, digest)
            blobs[digest] = sizes.get(digest) if size is None else size
    return Plan(verdicts, blobs)


def _going(settings: Settings, api: Api, repository: Repository) -> Dict[str, str]:
    tags = sorted(retention.matched(repository.name, list(repository.tags), settings.retain))
    ages = dict(zip(tags, api.each(lambda tag: inventory.age(api, repository, repository.tags[tag]), tags)))
    return retention.going(repository.name, ages, settings.retain, time.time())
