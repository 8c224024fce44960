# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the registry of this host: python3 FOLDER COMMAND. One JSON object on stdout, whatever happens."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Dict, List, Optional

import maintenance
from backup import backup
from collect import collect
from private import Program
from ready import ready
from restore import restore
from settings import Failure, Settings, load
from trial import trial
from unit import Unit


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="keeper", description="Keeps the registry of this host.")
    made.add_argument("--settings", default="/etc/stowage-registry/keeper.json")
    commands = made.add_subparsers(dest="command", required=True)
    one = commands.add_parser("ready", help="wait until the server answers")
    one.add_argument("--seconds", type=float, default=30)
    one = commands.add_parser("trial", help="prove a configuration by a private start")
    one.add_argument("--config", required=True)
    one.add_argument("--seconds", type=float, default=90)
    one = commands.add_parser("collect", help="delete what nothing needs, and what the rules let go")
    one.add_argument("--dry-run", action="store_true")
    one = commands.add_parser("backup", help="write filesystem storage into one archive")
    one.add_argument("target")
    one.add_argument("--prove", action="store_true", help="unpack it, serve it, and read all images")
    one.add_argument("--dry-run", action="store_true")
    one = commands.add_parser("restore", help="put a backup into an empty registry")
    one.add_argument("source")
    one.add_argument("--dry-run", action="store_true")
    commands.add_parser("hold", help="take nothing until `release`, while another host collects the garbage of the same storage")
    commands.add_parser("release", help="take pushes again")
    return made


def run(options: argparse.Namespace, settings: Settings, unit: Unit) -> Dict[str, Any]:
    if options.command == "ready":
        return ready(settings, unit, options.seconds)
    if options.command == "hold":
        return maintenance.hold(settings, unit)
    if options.command == "release":
        return maintenance.release(settings, unit)
    program = Program(settings.program, settings.user, unit.environment())
    if options.command == "trial":
        return trial(settings, program, options.config, options.seconds)
    if options.command == "collect":
        return collect(settings, unit, program, options.dry_run)
    if options.command == "backup":
        return backup(settings, unit, program, options.target, options.prove, options.dry_run)
    return restore(settings, unit, program, options.source, options.dry_run)


def main(arguments: Optional[List[str]] = None, unit: Optional[Unit] = None) -> int:
    options = parser().parse_args(arguments)
    maintenance.heed_signals()
    try:
        settings = load(options.settings)
        result = run(options, settings, unit or Unit(settings.unit))
    except Failure as error:
        result = {"failed": True, "msg": str(error)}
    except OSError as error:
        result = {"failed": True, "msg": "%s: %s" % (options.command, error)}
    except (maintenance.Interrupted, KeyboardInterrupt):
        result = {"failed": True, "msg": "%s was interrupted: the registry is as it was, or as after a part of the work." % options.command}
    print(json.dumps(result, sort_keys=True))
    return 1 if result.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
