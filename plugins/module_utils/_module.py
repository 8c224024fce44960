# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that knows AnsibleModule: a module is a spec and a body, and errors are reported here."""

from __future__ import annotations

import concurrent.futures
import grp
import os
import pwd
import stat
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ._errors import InvalidInput, StowageError, shown
from ._options import check, discreet

Result = t.Dict[str, t.Any]
T = t.TypeVar("T")


class Failed(StowageError):
    """Some images failed; ``result`` holds what was done for all."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class _Module(AnsibleModule):
    def add_path_info(self, kwargs: Result) -> None:
        """Ansible adds what it sees of a result's ``path``; what the module itself says of it counts more, such as a folder's size."""
        said = dict(kwargs)
        super().add_path_info(kwargs)
        kwargs.update(said)

    def is_mode(self, mode: t.Any) -> bool:
        """Whether Ansible can give it to a file: a number, octal digits or symbols."""
        try:
            number = mode if isinstance(mode, int) else int(mode, 8)
        except (TypeError, ValueError):
            try:
                number = self._symbolic_mode_to_octal(os.stat(os.sep), mode)
            except (AttributeError, ValueError):
                return False
        return number == stat.S_IMODE(number)


class FileAttributes:
    """mode, owner, group and their kin (``ansible.builtin.files``), as the task gave them, of a file or folder.

    What cannot be done ends the module, as in Ansible's own; ``check``, before anything is written, finds what can be known.
    """

    def __init__(self, module: _Module) -> None:
        self._module = module

    def check(self) -> None:
        """Raises InvalidInput for an owner or group that this host does not know, and for a mode that is none."""
        params = self._module.params
        for option, what, find in (("owner", "user", pwd.getpwnam), ("group", "group", grp.getgrnam)):
            if params[option] is not None and not _known(params[option], find):
                raise InvalidInput("%s: this host has no %s %s: make it first, or name another" % (option, what, params[option]))
        if params["mode"] is not None and not self._module.is_mode(params["mode"]):
            raise InvalidInput("mode: %s is no mode: write it in octal and in quotes, as '0644', or in symbols, as u=rw,go=r" % shown(params["mode"]))

    def differences(self, path: str) -> t.Tuple[Result, Result]:
        """What is not as it shall be, before and after; nothing is changed."""
        diff: t.Dict[str, Result] = {}
        check_mode, self._module.check_mode = self._module.check_mode, True
        try:
            self._module.set_fs_attributes_if_different(self._wished(path), False, diff)
        finally:
            self._module.check_mode = check_mode
        return diff.get("before", {}), diff.get("after", {})

    def settle(self, path: str) -> None:
        """Make it so."""
        self._module.set_fs_attributes_if_different(self._wished(path), False)

    def replace(self, temporary: str, path: str) -> None:
        """Put a file in the place of another by one rename; mode and owner of the old one stay, a new one's are the umask's.

        Whoever may not give it to the wished owner and group learns it from the file that is not in its place yet.
        """
        self._module.set_owner_if_different(temporary, self._module.params["owner"], False)
        self._module.set_group_if_different(temporary, self._module.params["group"], False)
        self._module.atomic_move(temporary, path, unsafe_writes=self._module.params["unsafe_writes"])

    def _wished(self, path: str) -> Result:
        return self._module.load_file_common_arguments(self._module.params, path=path)


def _known(name: str, find: t.Callable[[str], t.Any]) -> bool:
    """Whether it is the name of an account, or the number of one, which need not have a name."""
    if name.isdecimal():
        return int(name) < (1 << 32) - 1
    try:
        find(name)
    except KeyError:
        return False
    return True


def run(body: t.Callable[..., Result], **spec: t.Any) -> None:
    """Run ``body(params, check_mode)``; every StowageError becomes the task's ``msg``.

    With ``add_file_common_args`` the body gets FileAttributes as its third argument.
    """
    module = _Module(supports_check_mode=True, **spec)
    more = [FileAttributes(module)] if spec.get("add_file_common_args") else []
    discreet(module.params)
    try:
        check(module.params)
        result = body(module.params, module.check_mode, *more)
    except Failed as error:
        module.fail_json(msg=str(error), **error.result)
    except StowageError as error:
        module.fail_json(msg=str(error))
    else:
        module.exit_json(**result)


def side_by_side(work: t.Callable[[T], Result], wishes: t.Iterable[T], parallel: int, name: t.Callable[[T], str] = str) -> Result:
    """Do ``work`` for each wish, ``parallel`` at a time; put the answers together in the order of the wishes.

    ``work`` returns one entry of ``images``, with a key ``diff`` of (before, after) dicts that is taken out of it. A wish
    that raises StowageError does not stop the others: Failed is raised at the end, its message lists each failure, and its
    result holds the entry ``{"reference", "changed": False, "action": "failed", "msg"}`` for it.
    """
    wishes = list(wishes)

    def guarded(wish: T) -> Result:
        try:
            return work(wish)
        except StowageError as error:
            return failed(name(wish), error)

    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(parallel, len(wishes)))) as pool:
        return concluded(list(pool.map(guarded, wishes)))


def concluded(entries: t.List[Result], unfinished: bool = False, **more: t.Any) -> Result:
    """A task's result from its entries and ``more`` keys; see side_by_side for ``diff`` of an entry.

    Raises Failed if an entry failed, unless the task is ``unfinished`` and will report it in the end.
    """
    before: t.List[t.Any] = []
    after: t.List[t.Any] = []
    images = []
    for entry in entries:
        was, becomes = entry.get("diff", (None, None))
        if entry["changed"]:
            before.append(was)
            after.append(becomes)
        images.append({key: value for key, value in entry.items() if key != "diff"})
    diff = {"before": {"images": before}, "after": {"images": after}}
    result = dict(more, changed=any(entry["changed"] for entry in entries), images=images, diff=diff)
    failures = [entry["msg"] for entry in entries if entry["action"] == "failed"]
    if failures and not unfinished:
        raise Failed("; ".join(dict.fromkeys(failures)), result)
    return result


def failed(reference: str, error: StowageError) -> Result:
    """The entry of an image that failed."""
    return {"reference": reference, "changed": False, "action": "failed", "msg": str(error)}
