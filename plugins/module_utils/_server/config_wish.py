# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user of the role ``registry`` wishes, read from its variables. Each message names the variable and never its value's secrets."""

from __future__ import annotations

import re
import typing as t

from .._errors import InvalidInput

_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:[.+~-].*)?")
_URL = re.compile(r"https?://[^/\s]+\S*")
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^:\s/]*):\d{1,5}")
# A variable given by -e name=value is a text, whatever it says.
_FLAGS = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}


class Version(t.NamedTuple):
    """Of distribution. ``minor`` is None where nobody said it, which is taken for the newest."""

    major: int
    minor: t.Optional[int]

    @classmethod
    def parse(cls, text: t.Any) -> Version:
        match = _VERSION.fullmatch(str(text))
        found = cls(int(match.group(1)), int(match.group(2)) if match.group(2) else None) if match else None
        if not found or not (found == (2, 8) or found.major == 3):
            raise InvalidInput("registry_version: %r is no version of distribution that the role knows; it knows 2.8 and 3" % (text,))
        return found

    @property
    def name(self) -> str:
        return "3" if self.major == 3 else "2.8"


class Wish:
    """Variables, and options within them, by name. What is empty counts as not given."""

    def __init__(self, variables: t.Mapping[str, t.Any], prefix: str = "registry_") -> None:
        self._variables = variables
        self._prefix = prefix

    def variable(self, name: str) -> str:
        return self._prefix + name

    def of(self, name: str) -> t.Optional[Wish]:
        """The options of a variable, None where it is not given."""
        value = self._variables.get(name)
        if value and not isinstance(value, dict):
            raise self.wrong(name, "must be a dict")
        return Wish(value, "%s: " % self.variable(name)) if value else None

    def any(self, name: str) -> t.Any:
        """What must be defined."""
        if self._variables.get(name) is None:
            raise self.wrong(name, "is not defined")
        return self._variables[name]

    def _or(self, name: str, default: t.Any) -> t.Any:
        """Ansible fills in the defaults of variables, and not those of options within them."""
        return self.any(name) if default is None or self._variables.get(name) is not None else default

    def text(self, name: str) -> str:
        value = self._variables.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "must be a text; put a number in quotes")
        return value or ""

    def needed(self, name: str) -> str:
        if not self.text(name):
            raise self.wrong(name, "is empty")
        return self.text(name)

    def flag(self, name: str, default: t.Optional[bool] = None) -> bool:
        value = self._or(name, default)
        if str(value).lower() not in _FLAGS:
            raise self.wrong(name, "must be true or false")
        return _FLAGS[str(value).lower()]

    def number(self, name: str, default: t.Optional[int] = None) -> int:
        value = self._or(name, default)
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
            raise self.wrong(name, "must be a whole number")
        return int(value)

    def path(self, name: str) -> str:
        return self._matching(name, re.compile("(?:/.*)?"), "an absolute path")

    def url(self, name: str) -> str:
        return self._matching(name, re.compile("(?:%s)?" % _URL.pattern), "a URL, as in https://registry.example.com")

    def address(self, name: str) -> str:
        return self._matching(name, re.compile("(?:%s)?" % _ADDRESS.pattern), "an address and a port, as in 127.0.0.1:5001")

    def _matching(self, name: str, pattern: t.Pattern[str], wanted: str) -> str:
        if not pattern.fullmatch(self.text(name)):
            raise self.wrong(name, "must be %s" % wanted)
        return self.text(name)

    def wrong(self, name: str, what: str) -> InvalidInput:
        return InvalidInput("%s %s" % (self.variable(name), what))
