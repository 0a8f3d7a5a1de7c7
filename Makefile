# The two commands a newcomer needs are `make demo` and `make test`, both as root on a bare Debian 12.
# What each target lacks (Debian packages, virtual environment, locked packages) is installed first.

.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
DEBIAN_PACKAGES := python3 python3-venv nftables libnftables1 iproute2 conntrack procps util-linux
# What only lint and tests need: the legacy backend and the compiler that its binding is built with; an emulator for a stock
# kernel; whole Debians in containers.
DEBIAN_TEST_PACKAGES := iptables ipset gcc libc6-dev python3-dev \
                        qemu-system-x86 busybox-static kmod e2fsprogs \
                        shellcheck debootstrap systemd-container
# Firewalls that the tests live beside. Their files are laid out in .cache; nothing of them is installed on this host.
NEIGHBOURS := ufw firewalld fail2ban keepalived crowdsec-firewall-bouncer docker.io iptables ipset
PYTHON := $(or $(shell command -v /usr/bin/python3 2>/dev/null),python3)

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A stamp per step, so that a second run costs nothing. The network is only asked when something is missing.
.cache/debian: PACKAGES = $(DEBIAN_PACKAGES)
.cache/debian-test: PACKAGES = $(DEBIAN_TEST_PACKAGES)
.cache/debian .cache/debian-test: Makefile
	@mkdir -p .cache
	@missing=""; for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  [ "$$(id -u)" = 0 ] || { echo "missing Debian packages:$$missing - run this as root once" >&2; exit 1; }; \
	  echo "installing$$missing"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@touch $@

$(VENV)/run: .cache/debian requirements/run.txt requirements/build.txt pyproject.toml
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: .cache/debian-test $(VENV)/run requirements/dev.txt
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes --no-build-isolation --use-pep517 -r requirements/dev.txt
	@touch $@

.cache/neighbours/fetched: tests/neighbours/fetch .cache/debian-test
	@echo "fetching $(NEIGHBOURS)"; tests/neighbours/fetch .cache/neighbours $(NEIGHBOURS)
	@touch $@

test: .cache/neighbours/fetched

$(VENV)/mutation: $(VENV)/dev requirements/mutation.txt
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/mutation.txt
	@touch $@

.PHONY: demo
demo: $(VENV)/run ## the main job on real nftables and real packets, in namespaces of its own (root)
	@$(BIN)/ecluse demo

.PHONY: test
test: lint coverage .cache/prometheus .cache/release ## everything: lint, core, contracts, packets, faults, processes (root)
	@$(BIN)/pytest -q -n auto -m hypothesis tests/core
	@$(BIN)/pytest --ignore=tests/core

.PHONY: check
# Not those of the lookout: they wait for looks in real time.
check: lint $(VENV)/dev ## lint and core tests, with fewer examples than `make test` and no long waits; no root
	@ECLUSE_EXAMPLES=0.1 $(BIN)/pytest -q -n auto --ignore=tests/core/test_lookout.py tests/core

# Without generated examples, so that what is covered does not depend on chance; `make test` runs those beside it.
.PHONY: coverage
coverage: $(VENV)/dev ## core tests but for generated examples; they must take every branch of floors 0 and 1
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -n auto -m "not hypothesis" tests/core
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --include="$$($(BIN)/python -m tests.core.covered)"

# mutmut makes the mutants in a copy and says which tests reach them (one is run for that); `tests/mutation.py` runs the tests.
.PHONY: mutation
mutation: $(VENV)/mutation ## mutants of gate, case, calendar and decide against the core tests; half an hour of one core
	@rm -rf .cache/mutation && mkdir -p .cache/mutation && cp -r agent tests policies docs pyproject.toml .cache/mutation/
	@cd .cache/mutation && $(CURDIR)/$(BIN)/mutmut run --max-children 1 agent.calendar.x_known_country__mutmut_1 > mutmut.log 2>&1
	@cd .cache/mutation/mutants && nice -n 19 timeout 10800 $(CURDIR)/$(BIN)/python -m pytest -q -p tests.mutation -p no:cacheprovider \
	  -p no:xdist -o timeout=0 -m "not hypothesis" $$(sed -n 's,^ *"\(tests/core/test_.*\.py\)".*,\1,p' ../pyproject.toml)

.PHONY: lint
lint: $(VENV)/dev ## ruff, mypy and shellcheck
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@shellcheck install.sh .ci/run

.PHONY: bundle
bundle: $(VENV)/run ## dist/ecluse-VERSION.tar: all that install.sh needs, for a gateway without internet
	@$(BIN)/python release/bundle.py

.PHONY: prometheus
prometheus: .cache/prometheus ## unpack Debian's Prometheus for the tests of monitoring/; nothing is installed

.cache/prometheus:
	@mkdir -p .cache/fetch && cd .cache/fetch && { apt-get download -qq prometheus 2>/dev/null || \
	  { apt-get update -qq && apt-get download -qq prometheus; }; } && rm -rf ../unpacked && dpkg -x prometheus_*.deb ../unpacked
	@rm -rf .cache/fetch && mv .cache/unpacked $@

# What a release is made with, apart from what we develop with.
.cache/release: $(VENV)/run requirements/build.txt requirements/release.txt
	@rm -rf $@ && $(PYTHON) -m venv $@
	@$@/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt -r requirements/release.txt

OUT := dist
.PHONY: dist
dist: .cache/release ## sdist and wheel, the same bytes whoever builds them
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} .cache/release/bin/python -m release.dist $(OUT)

.PHONY: sbom
sbom: .cache/release ## the list of parts (CycloneDX) of what the lock installs, with licences and hashes
	@rm -rf .cache/locked && $(PYTHON) -m venv --without-pip .cache/locked && mkdir -p $(OUT)
	@.cache/release/bin/pip --python .cache/locked/bin/python install -q --disable-pip-version-check --require-hashes \
	  --report .cache/locked/report.json -r requirements/run.txt
	@.cache/release/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --of JSON -o $(OUT)/ecluse.cdx.json .cache/locked/bin/python 2>/dev/null
	@.cache/release/bin/python -m release.parts $(OUT)/ecluse.cdx.json requirements/run.txt .cache/locked/report.json
	@echo $(OUT)/ecluse.cdx.json

.PHONY: bench
bench: $(VENV)/dev ## figures, printed and written to bench/results.json (root)
	@$(BIN)/python -m bench

.PHONY: soak
soak: $(VENV)/dev ## an hour of random webhooks with 100 000 suspended: memory, files and cost at start and end (root)
	@$(BIN)/python -m bench.soak

.PHONY: torture
torture: $(VENV)/dev ## 1 000 random kill -9 under load, 10 000 random changes under traffic (root, long)
	@ECLUSE_KILLS=1000 $(BIN)/pytest -q --timeout=7200 tests/faults -k kill
	@ECLUSE_CHANGES=10000 $(BIN)/pytest -q tests/packets/test_random_changes.py

.PHONY: lock
lock: $(VENV)/dev ## renew requirements/*.txt from pyproject.toml (needs uv)
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q pyproject.toml -o requirements/run.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q pyproject.toml --group dev -o requirements/dev.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q pyproject.toml --group dev --group mutation -c requirements/dev.txt -o requirements/mutation.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q --group release -o requirements/release.txt

.PHONY: clean
clean: ## remove the virtual environment and caches
	@rm -rf $(VENV) .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
