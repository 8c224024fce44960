# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors

# The longest first: three run side by side, for they wait for engines more than they compute.
RINGS = contract integration unit sanity lint

.PHONY: bench demo molecule test lint venv $(RINGS)

demo: .venv/demo
	.venv/bin/python demo/demo.py

test: .venv/tests
	@rm -rf .cache/results
	@$(MAKE) --keep-going --jobs=3 --output-sync=target --no-print-directory $(RINGS); \
	    .venv/bin/python dev/report.py $$? $(RINGS)

$(RINGS): .venv/tests
	.venv/bin/nox --session $@

# All scenarios, or some: make molecule SCENARIO="default airgap".
molecule: .venv/tests
	.venv/bin/nox --session $@ -- $(SCENARIO)

bench: .venv/tests
	.venv/bin/python bench/bench.py

venv: .venv/tests

.venv/demo: dev/bootstrap.sh dev/requirements.txt requirements.txt
	dev/bootstrap.sh dev/requirements.txt
	touch $@

.venv/tests: dev/bootstrap.sh tests/requirements.txt dev/requirements.txt requirements.txt
	dev/bootstrap.sh tests/requirements.txt
	touch $@ .venv/demo
