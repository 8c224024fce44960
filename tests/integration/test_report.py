# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The fleet report: the playbook makes a page of what real engines have, and a real browser shows it."""

from __future__ import annotations

import json

import debs
import pytest
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_docker_archive
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

ASK, WRITE = "Ask each host", "Have a page of it"
STATES = (("--check", "--diff"), ("--diff",), ("--check", "--diff"), ("--diff",))
EVIL = "</script><script>document.title = 'evil'</script><!--<script>\"'&amp;"
BASE = layer({"bin/base": bytes(range(256)) * 400})
HISTORY = [{"created": "2026-04-22T09:14:03Z", "created_by": command} for command in (f"RUN echo {EVIL}", "COPY app /")]


def made(text, *names):
    layers = [BASE, layer({"app": text})]
    return image(layers, names=[f"registry.example.com/shop/{name}" for name in names], created="2026-04-22T09:14:03Z", history=HISTORY)


APP, OLD = made(b"2", "app:1"), made(b"1", "app:1")
TOOL = made(b"tool", "tool:1")


@pytest.fixture
def fleet(docker20, containerd, podman, tmp_path):
    """Hosts of all stores have one image in common, and another that drifts; one host has no engine, one is not reached, one is not meant."""
    for engine, app in ((docker20, APP), (containerd, APP), (podman, OLD)):
        archive = write_docker_archive(tmp_path / "images.tar", [app, TOOL])
        engine.call("POST", "/images/load", archive.read_bytes())
    return {
        "web-1": {"engine_host": docker20.url},
        "web-2": {"engine_host": podman.url},
        "web-10": {"engine_host": containerd.url},
        "bare": {"engine_host": f"unix://{tmp_path}/none.sock"},
        "gone": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-F none"},
        "other": {},
    }


@pytest.fixture
def browser(tmp_path):
    """Chromium without a window, with the log of its console and of its requests; what it keeps goes with the test."""
    debs.ensure(["chromium", "chromium-driver"])
    options = webdriver.ChromeOptions()
    options.binary_location = debs.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/browser", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(debs.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def table(browser, part):
    """The texts of a table's rows, cell by cell, as they are seen."""
    rows = browser.find_elements(By.CSS_SELECTOR, f"#{part} tbody tr")
    return [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in rows]


def requested(browser, page):
    """The addresses that the browser asked for to show this page."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [request["request"]["url"] for request in requests if request["documentURL"] == page]


def test_the_page_shows_what_the_fleet_has(fleet, playbook, browser, tmp_path):
    page = tmp_path / "fleet-report.html"
    variables = {"report_title": EVIL, "report_date": "today", "report_hosts": "all:!other", "report_parallel": 2}
    options = ["-e", json.dumps(variables)]
    told = {"name": "say", "ansible.builtin.debug": {"msg": "{{ [report_fleet.summary.drifts, report_facts.store] }}"}}
    after = [{"import_playbook": "stowage.oci.report"}, {"hosts": "web-*", "gather_facts": False, "tasks": [told]}]
    runs, seen = [], []
    for state in STATES:
        again = len(runs) == 3
        runs.append(playbook(after if again else "stowage.oci.report", fleet, *options, *state, *(["-e", f"report_path=~/{page.name}"] * again)))
        assert runs[-1].code == 0, runs[-1].screen
        seen.append(page.read_bytes() if page.exists() else None)
    assert seen[0] is None and seen[1] and seen[1] == seen[2] == seen[3]
    assert [run.one(task=WRITE).status for run in runs] == ["changed", "changed", "ok", "ok"]
    assert runs[0].one(task=WRITE).result["diff"]
    assert runs[3].one("web-2", "say").result["msg"] == [1, "podman"]
    assert runs[0].one("web-1", ASK).result["invocation"]["module_args"]["parallel"] == 2
    assert "other" not in {result.host for run in runs for result in run.results}

    browser.get(page.as_uri())
    assert browser.title == browser.find_element(By.TAG_NAME, "h1").text == EVIL
    assert browser.find_element(By.ID, "verdict").text == "3 hosts answered, 2 did not. 1 image name drifts."
    silent = dict(table(browser, "silent"))
    assert list(silent) == ["bare", "gone"]
    assert "none.sock" in silent["bare"] and "Connection refused" in silent["gone"]

    first, second, both = table(browser, "images")
    assert first[0].startswith("registry.example.com/shop/app:1 ▲ drift") and both[0].startswith("registry.example.com/shop/tool:1\n")
    assert "▲ differs" not in first[1] and "▲ differs" in second[0]
    assert (first[-1], second[-1], both[-1]) == ("web-1, web-10", "web-2", "web-1, web-2, web-10")
    hosts = table(browser, "hosts")
    assert [(row[0], row[2], row[4], row[5]) for row in hosts] == [
        ("web-1", "classic", "2", "0"), ("web-2", "podman", "2", "▲ 1"), ("web-10", "containerd", "2", "0"),
    ]
    layers = table(browser, "layers")
    assert len(layers) == 1 and f"RUN echo {EVIL}" in layers[0][0]
    assert "The containerd store keeps each layer twice" in browser.find_element(By.ID, "notes").text

    text, drift, count = (browser.find_element(By.ID, name) for name in ("text", "drift", "count"))
    assert count.text == "2 of 2 image names, 3 of 3 hosts"
    text.send_keys("TOOL web-2")
    assert count.text == "1 of 2 image names, 1 of 3 hosts"
    assert [row[0] for row in table(browser, "hosts")] == ["web-2"]
    text.clear()
    text.send_keys("nowhere")
    assert table(browser, "images") == table(browser, "hosts") == table(browser, "layers") == [["None."]]
    text.clear()
    drift.click()
    assert [row[-1] for row in table(browser, "images")] == ["web-1, web-10", "web-2"]
    assert [row[0] for row in table(browser, "hosts")] == ["web-2"]

    assert browser.get_log("browser") == []
    assert requested(browser, page.as_uri()) == [page.as_uri()]
