# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the fleet report, as text: what it may run, and that nothing in it can become HTML. How a browser shows it: tests/integration."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

import jinja2
from ansible.errors import AnsibleFilterError
from ansible.plugins.filter.core import FilterModule as Core
from ansible_collections.stowage.oci.plugins.filter.fleet_report import FilterModule

TEMPLATE = Path(__file__).resolve().parents[2] / "playbooks/templates/report.html.j2"
EVIL = "</script><SCRIPT>alert(1)</SCRIPT><!--<script> ]]> \"'\\ \u2028 &lt;"

fleet_report = FilterModule().filters()["fleet_report"]


def rendered(facts, title="Fleet report"):
    environment = jinja2.Environment(trim_blocks=True)
    environment.filters.update(Core().filters())
    page = {"title": title, "date": "", "fleet": fleet_report(facts)}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(page=page), page


@pytest.mark.parametrize("part", ["style", "script"])
def test_the_policy_lets_the_page_have_its_own_style_and_script_alone(part):
    html, _page = rendered({})
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'" and rules["img-src"] == "data:"
    [text] = re.findall(r"<%s>(.*?)</%s>" % (part, part), html, re.S)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert rules[part + "-src"] == "'sha256-%s'" % digest, "write this digest into the policy of %s" % TEMPLATE.name


def test_no_text_of_a_host_becomes_html():
    html, page = rendered({EVIL: {"unreachable": True, "msg": EVIL}}, EVIL)
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert "<" not in data and json.loads(data) == page
    assert page["fleet"]["silent"] == [{"name": EVIL, "message": EVIL}]
    plain, _page = rendered({})
    assert html.count("<") == plain.count("<")


@pytest.mark.parametrize("facts", [None, [], "web-1", {"web-1": None}, {"web-1": []}])
def test_says_what_it_needs(facts):
    with pytest.raises(AnsibleFilterError, match="needs a dict: the result of stowage.oci.image_info by the name of the host"):
        fleet_report(facts)
