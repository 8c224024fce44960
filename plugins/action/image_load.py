# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of image_load: hand over the wish, send what is missing in pieces, let the module load it."""

from __future__ import annotations

import shlex
import tempfile
import time
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleFileNotFound
from ansible.plugins.action import ActionBase

from ..module_utils._errors import ArchiveError, InvalidInput, StagingError, StowageError
from ..module_utils._flow.staging import put
from ..module_utils._oci.archive import select
from ..module_utils._options import LOAD, check, discreet
from ..module_utils._plan.load import Elsewhere, Need
from ..module_utils._plan.names import want
from ..module_utils._plan.wish import Wanted
from ..plugin_utils import _pieces
from ..plugin_utils._catalogue import Catalogue
from ..plugin_utils._progress import Progress

ROUNDS = 6
"""Ask; ask again with sizes that only expanding told; load; the same two in full for what a thin load did not bring; and one to
spare for blobs that vanished from the staging folder.
"""


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> t.Dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=LOAD)
        discreet(args)
        try:
            check(args)
            if args.pop("wish") is not None:
                raise InvalidInput("wish is what the action plugin hands to the module: leave it out")
            if args["remote_src"]:
                wrap_async = self._task.async_val and not self._connection.has_native_async
                result.update(self._execute_module(task_vars=task_vars, wrap_async=wrap_async))
            elif self._task.async_val:
                raise InvalidInput("async is not possible while src is on the controller, which takes part in the transfer: leave it out")
            else:
                result.update(self._load(args, task_vars))
        except StowageError as error:
            result.update(failed=True, msg=str(error))
        except OSError as error:
            where = error.filename or C.DEFAULT_LOCAL_TMP
            result.update(failed=True, msg="%s: %s: give archives another place with ANSIBLE_LOCAL_TEMP" % (where, error.strerror))
        return result

    def _load(self, args: t.Dict[str, t.Any], task_vars: t.Any) -> t.Dict[str, t.Any]:
        wish: t.Dict[str, t.Any] = {"sizes": {}, "seen": {}, "distrusted": [], "done": []}
        sent: t.Dict[str, int] = {}
        with self._progress(task_vars) as progress:
            progress.doing = "reading %s" % args["src"]
            catalogue = Catalogue(self._found("src", args["src"]), [self._found("base", path) for path in args["base"]])
            wishes = want(select(catalogue.archive, args["images"]), args["names"], catalogue.archive.where)
            wish.update(images=[one.json() for one in wishes], archive=Elsewhere.of(catalogue.archive, wishes)._asdict())
            progress.doing = "asking what it holds"
            for _round in range(ROUNDS):
                result = self._execute_module(module_args=dict(self._task.args, wish=wish), task_vars=task_vars)
                ask = result.pop("ask", None)
                if not ask:
                    break
                progress.doing = "reading %s" % args["src"]
                blobs = _located(catalogue, ask["missing"], wishes)
                wish["sizes"].update((blob.digest, blob.extent.size) for blob in blobs)
                if any(item["size"] is None for item in ask["missing"]):
                    wish.update(ask["state"])
                    continue  # expanded just now: the host shall say whether it has room for it before anything is sent
                for blob in blobs:
                    sent[blob.digest] = sent.get(blob.digest, 0) + blob.extent.size - blob.staged
                if self._task.check_mode:
                    break
                wish.update(ask["state"])
                self._send(blobs, ask["root"], progress)
                progress.doing = "loading into the engine"
            else:
                raise StagingError("%s: what was sent is not there when it is used: is something cleaning up that folder?" % ask["root"])
        result["invocation"] = {"module_args": args}
        result.update(sent_blobs=len(sent), sent_bytes=sum(sent.values()), seconds=round(progress.seconds, 2))
        return result

    def _found(self, option: str, path: str) -> str:
        """Where it is on the controller."""
        try:
            return t.cast(str, self._find_needle("files", path))
        except AnsibleFileNotFound as error:
            raise ArchiveError("%s: %s" % (option, error)) from None

    def _progress(self, task_vars: t.Any) -> Progress:
        host = str(task_vars.get("inventory_hostname"))
        if self._task.delegate_to:
            host = "%s -> %s" % (host, self._task.delegate_to)
        return Progress(host, quiet=bool(self._task.no_log))

    # The transfer

    def _send(self, blobs: t.Sequence[_pieces.Blob], root: str, progress: Progress) -> None:
        """Send each blob from where the host has it; raises StagingError if the host cannot take it."""
        progress.start([blob.extent.size for blob in blobs], [blob.staged for blob in blobs])
        ways = self._ways()
        pace = _pieces.Pace()
        for pieces in _pieces.batches(_pieces.cut(blobs, pace)):
            progress.doing = "sending %s" % pieces[-1].blob.what
            started = time.monotonic()
            while True:
                trouble = ways[0](root, pieces)
                if trouble is None:
                    break
                if len(ways) == 1:
                    raise StagingError("%s: cannot be written on the host: %s" % (root, trouble))
                del ways[0]  # whatever it was (a sudo that wants a terminal, for one), it may not trouble the other way
            del ways[1:]
            pace.took(time.monotonic() - started)
            for piece in pieces:
                progress.add(len(piece.data), piece.last)

    def _ways(self) -> t.List[t.Callable[[str, t.Sequence[_pieces.Piece]], t.Optional[str]]]:
        """How pieces get to the host, the best way first; each returns None, or what went wrong."""
        if getattr(self._connection, "ansible_name", "") == "ansible.builtin.local" and not self._connection.become:
            return [self._put_here]
        return [self._put_by_stdin, self._put_by_file] if self._takes_stdin() else [self._put_by_file]

    @staticmethod
    def _put_here(root: str, pieces: t.Sequence[_pieces.Piece]) -> t.Optional[str]:
        """On this machine and as this user, without a command."""
        try:
            for piece in pieces:
                put(root, piece.blob.digest, piece.offset, piece.data)
        except OSError as error:
            return str(error)
        return None

    def _takes_stdin(self) -> bool:
        """Whether a command on the host may be given a piece on its standard input."""
        connection, become = self._connection, self._connection.become
        if connection.is_pipelining_enabled():
            return True
        if not connection.has_pipelining or (become and (become.require_tty or not become.pipelining)):
            return False
        # Other connections than ssh answer a prompt for a password through a terminal, which then is the standard input.
        return not (become and become.expect_prompt()) or connection.transport == "ssh"

    def _put_by_stdin(self, root: str, pieces: t.Sequence[_pieces.Piece]) -> t.Optional[str]:
        return self._store(root, pieces, "", _pieces.joined(pieces))

    def _put_by_file(self, root: str, pieces: t.Sequence[_pieces.Piece]) -> t.Optional[str]:
        """As copy does: into Ansible's temporary folder of the login user, and from there as the become user."""
        folder = self._connection._shell.tmpdir or self._make_tmp_path()
        with tempfile.NamedTemporaryFile(dir=C.DEFAULT_LOCAL_TMP) as local:
            local.write(_pieces.joined(pieces))
            local.flush()
            remote = self._transfer_file(local.name, self._connection._shell.join_path(folder, "pieces"))
        if self._is_become_unprivileged():
            self._fixup_perms2((folder, remote))
        return self._store(root, pieces, "exec < %s && " % shlex.quote(remote), None)

    def _store(self, root: str, pieces: t.Sequence[_pieces.Piece], source: str, data: t.Optional[bytes]) -> t.Optional[str]:
        answer = self._low_level_execute_command(source + _pieces.command(root, pieces), in_data=data)
        return None if answer["rc"] == 0 else " ".join((answer["stderr"] or answer["stdout"]).split())


def _located(catalogue: Catalogue, missing: t.Sequence[t.Mapping[str, t.Any]], wishes: t.Iterable[Wanted]) -> t.List[_pieces.Blob]:
    """``missing`` is what the module asks for, of which ``wishes`` have all there is in the archive."""
    needs = [Need(*(item[field] for field in Need._fields)) for item in missing]
    layers = [layer.descriptor.digest for one in wishes for variant in one.variants for layer in variant.layers]
    extents = catalogue.extents([need.of for need in needs], layers)
    blobs = []
    for need, item in zip(needs, missing):
        extent = extents[need.of]
        if need.digest != need.of:
            extent = catalogue.expanded(extent, need.digest, need.what)
        blobs.append(_pieces.Blob(need.digest, need.what, extent, item["staged"]))
    return blobs
