# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole module in process: ``main()`` with parameters, and the result that it prints."""

from __future__ import annotations

import contextlib
import io
import json
import types
import typing as t

from ansible.module_utils.common.parameters import PASS_VARS
from ansible.module_utils.testing import patch_module_args

Result = t.Dict[str, t.Any]


def run(module: types.ModuleType, check: bool = False, **params: t.Any) -> Result:
    """Succeed, or fail the test with the module's message."""
    result = outcome(module, check, params)
    assert not result.get("failed"), result["msg"]
    return result


def fail(module: types.ModuleType, check: bool = False, **params: t.Any) -> Result:
    """The result of a module that must fail."""
    result = outcome(module, check, params)
    assert result.get("failed"), result
    return result


def four_times(module: types.ModuleType, **params: t.Any) -> t.Tuple[Result, Result]:
    """Check mode, real, check mode again, real again: check mode tells the truth, and a second run changes nothing.

    The results of the first and of the second real run.
    """
    checked, real, checked_again, again = [run(module, check, **params) for check in (True, False, True, False)]
    for foretold, done in ((checked, real), (checked_again, again)):
        assert {key: foretold[key] for key in ("changed", "diff")} == {key: done[key] for key in ("changed", "diff")}
        assert foretold["images"] == done["images"]
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    return real, again


def outcome(module: types.ModuleType, check: bool, params: Result) -> Result:
    """What the module prints, whether it failed or not."""
    printed = io.StringIO()
    internal = {"check_mode": check, "diff": True, "inject_invocation": True}
    # ansible-core before 2.21 shows the invocation unasked.
    given = dict(params, **{"_ansible_%s" % key: value for key, value in internal.items() if key in PASS_VARS})
    with patch_module_args(given), contextlib.redirect_stdout(printed):
        try:
            module.main()
        except SystemExit:
            pass
    return json.loads(printed.getvalue())
