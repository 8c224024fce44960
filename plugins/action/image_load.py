# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of image_load: hand over the wish, send what is missing in pieces, let the module load it."""

from __future__ import annotations

import shlex
import tempfile
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleFileNotFound
from ansible.plugins.action import ActionBase

from ..module_utils._errors import InvalidInput, StagingError, StowageError
from ..module_utils._flow.staging import blob_folder, piece_name
from ..module_utils._oci.archive import select
from ..module_utils._oci.files import Extent
from ..module_utils._options import LOAD
from ..module_utils._plan.load import Need, absent, want
from ..plugin_utils._catalogue import Catalogue
from ..plugin_utils._progress import Progress

PIECE = 8 << 20
"""Bytes that are sent at once, and so the most that an interrupted run sends twice."""

ROUNDS = 4
"""Ask; load; load in full what a thin load did not bring; one to spare for blobs that vanished from the staging folder."""


class ActionModule(ActionBase):
    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> t.Dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=LOAD)
        given = dict(self._task.args)
        try:
            if args["wish"] is not None:
                raise InvalidInput("wish is what the action plugin hands to the module: leave it out")
            if args["remote_src"]:
                result.update(self._execute_module(module_args=given, task_vars=task_vars, wrap_async=self._task.async_val))
            elif self._task.async_val:
                raise InvalidInput("async is not possible while src is on the controller, which takes part in the transfer: leave it out")
            else:
                result.update(self._load(given, args, task_vars))
        except (StowageError, AnsibleFileNotFound) as error:
            result.update(failed=True, msg=str(error))
        return result

    def _load(self, given: t.Dict[str, t.Any], args: t.Dict[str, t.Any], task_vars: t.Any) -> t.Dict[str, t.Any]:
        catalogue = Catalogue(self._find_needle("files", args["src"]))
        archive = catalogue.archive
        wishes = want(select(archive, args["images"]), args["names"], archive.where)
        wish: t.Dict[str, t.Any] = {"images": [one.json() for one in wishes], "sizes": {}, "seen": {}, "distrusted": [], "done": []}
        sent: t.Dict[str, int] = {}
        with Progress(str(task_vars.get("inventory_hostname"))) as progress:
            for _round in range(ROUNDS):
                result = self._execute_module(module_args=dict(given, wish=wish), task_vars=task_vars)
                ask = result.pop("ask", None)
                if not ask:
                    break
                blobs = _located(catalogue, ask["missing"])
                for blob in blobs:
                    wish["sizes"][blob.digest] = blob.extent.size
                    sent[blob.digest] = sent.get(blob.digest, 0) + blob.extent.size - blob.staged
                if self._task.check_mode:
                    break
                wish.update(ask["state"])
                self._send(blobs, ask["root"], progress)
                progress.doing = "loading into the engine"
            else:
                raise StagingError("%s: what was sent is not there when it is used: is something cleaning up that folder?" % ask["root"])
        result["invocation"] = {"module_args": given}
        result.update(sent_blobs=len(sent), sent_bytes=sum(sent.values()), seconds=round(progress.seconds, 2))
        return result

    def _send(self, blobs: t.Sequence[_Blob], root: str, progress: Progress) -> None:
        """Send each blob from where the host has it; raises StagingError if the host cannot take it."""
        progress.start(len(blobs), sum(blob.extent.size for blob in blobs), sum(blob.staged for blob in blobs))
        put = self._put_by_stdin if self._has_stdin() else self._put_by_file
        for blob in blobs:
            progress.doing = "sending %s" % blob.what
            offset = blob.staged
            with blob.extent._replace(offset=blob.extent.offset + offset, size=blob.extent.size - offset).open() as stream:
                for data in iter(lambda: stream.read(PIECE), b""):
                    put("%s/%s" % (root, blob_folder(blob.digest)), piece_name(offset, data), data)
                    offset += len(data)
                    progress.bytes += len(data)
            progress.blobs += 1

    def _has_stdin(self) -> bool:
        """Whether a command on the host can be given a piece on its standard input: not if a password prompt needs a terminal."""
        connection = self._connection
        if not connection.has_pipelining:
            return False
        return connection.become is None or not connection.become.expect_prompt() or connection.transport.endswith("ssh")

    def _put_by_stdin(self, folder: str, name: str, data: bytes) -> None:
        self._store("cat", folder, name, data)

    def _put_by_file(self, folder: str, name: str, data: bytes) -> None:
        """As copy does: into Ansible's temporary folder of the login user, and from there as the become user."""
        remote_folder = self._make_tmp_path()
        try:
            with tempfile.NamedTemporaryFile(dir=C.DEFAULT_LOCAL_TMP) as piece:
                piece.write(data)
                piece.flush()
                remote = self._transfer_file(piece.name, self._connection._shell.join_path(remote_folder, "piece"))
            self._fixup_perms2((remote_folder, remote))
            self._store("cat %s" % shlex.quote(remote), folder, name, None)
        finally:
            self._remove_tmp_path(remote_folder)

    def _store(self, producer: str, folder: str, name: str, data: t.Optional[bytes]) -> None:
        path = shlex.quote("%s/%s" % (folder, name))
        command = "umask 077 && mkdir -p %s && %s > %s.part && mv -f %s.part %s" % (shlex.quote(folder), producer, path, path, path)
        answer = self._low_level_execute_command(command, in_data=data)
        if answer["rc"] != 0:
            raise StagingError("%s: cannot be written on the host: %s" % (folder, (answer["stderr"] or answer["stdout"]).strip()))


class _Blob(t.NamedTuple):
    """A blob to send: its bytes on the controller, and how many of them the host has staged."""

    digest: str
    what: str
    extent: Extent
    staged: int


def _located(catalogue: Catalogue, missing: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[_Blob]:
    """Raises ArchiveError for what is neither on the host nor in the archive."""
    needs = [Need(*(item[field] for field in Need._fields)) for item in missing]
    absent(needs, catalogue.archive)
    extents = catalogue.extents(need.of for need in needs)
    blobs = []
    for need, item in zip(needs, missing):
        extent = extents[need.of]
        if need.digest != need.of:
            extent = catalogue.expanded(extent, need.digest, need.what)
        blobs.append(_Blob(need.digest, need.what, extent, item["staged"]))
    return blobs
