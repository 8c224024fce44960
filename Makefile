# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors

# The longest first: four run side by side, for they wait for engines more than they compute.
RINGS = contract integration molecule unit sanity lint

.PHONY: bench core demo docs matrix test venv $(RINGS)

demo: .venv/demo
	.venv/bin/python demo/demo.py

test: .venv/tests
	@rm -rf .cache/results
	@$(MAKE) --keep-going --jobs=4 --output-sync=target --no-print-directory SCENARIO="default airgap" $(RINGS); \
	    .venv/bin/python dev/report.py $$? $(RINGS)

$(RINGS) core docs: .venv/tests
	.venv/bin/nox --session $@ $(if $(and $(SCENARIO),$(filter molecule,$@)),-- $(SCENARIO))

matrix: .venv/tests
	.venv/bin/nox --session matrix core docs

bench: .venv/tests
	.venv/bin/python bench/bench.py

venv: .venv/tests

.venv/demo: dev/bootstrap.sh dev/requirements.txt requirements.txt
	dev/bootstrap.sh dev/requirements.txt
	touch $@

.venv/tests: dev/bootstrap.sh tests/requirements.txt dev/requirements.txt requirements.txt
	dev/bootstrap.sh tests/requirements.txt
	touch $@ .venv/demo
