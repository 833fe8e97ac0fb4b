# Every task of a checkout. Each begins with the setup it needs; a setup that is up to date costs some milliseconds.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON_ENV := .venv/bin
BUF = tools/buf/node_modules/@bufbuild/buf-linux-$(subst arm64,aarch64,$(subst x86_64,x64,$(shell uname -m)))/bin/buf
HELM = .helm/bin/helm
BIOME = tools/biome/node_modules/@biomejs/cli-linux-$(subst aarch64,arm64,$(subst x86_64,x64,$(shell uname -m)))/biome
TSC = node_modules/.bin/tsc
COMPILE = .venv-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header

.PHONY: help
help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do \
		printf '  make %-12s %s\n' "$$name" "$$what"; done

.PHONY: setup
setup: ## build .venv from the hashed requirements, install both distributions editable
	@tools/setup.sh base

.PHONY: run
run: setup ## play the dice example against a server of its own
	@$(PYTHON_ENV)/python -m examples.dice

.PHONY: browser
browser: ## serve a dice table to play at in a browser: noisegate, a lobby, the page (needs Node; PORT: 8100)
	@NOISEGATE_REQUIRE_ALL=1 tools/setup.sh base browser
	@cd clients/typescript && $(TSC)
	@cd examples/browser && $(TSC)
	@NOISEGATE_COMMAND=$(CURDIR)/$(PYTHON_ENV)/noisegate exec node examples/browser/dist/src/lobby/main.js

.PHONY: demo
demo: setup ## one session from handshake to close, explained on the terminal
	@$(PYTHON_ENV)/noisegate demo

.PHONY: test
test: setup ## run the tests (NOISEGATE_VECTORS: folder of published vectors; NOISEGATE_REQUIRE_ALL=1: no skips)
	@tools/setup.sh helm
	@$(PYTHON_ENV)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder $(ARGS)

.PHONY: conformance
conformance: setup ## run the SDKs of all languages over the cases of tests/conformance/cases, print a table
	@$(PYTHON_ENV)/python -m tests.conformance.suite $(ARGS)

.PHONY: fuzz
fuzz: setup ## try new random cases, and many more than a test run does (NOISEGATE_FUZZ: how many times as many)
	@NOISEGATE_FUZZ=$${NOISEGATE_FUZZ:-20} $(PYTHON_ENV)/python -m pytest --timeout 0 tests/property $(ARGS)

.PHONY: chaos
chaos: setup ## restart two instances in turn under load (NOISEGATE_CHAOS: for how many seconds)
	@NOISEGATE_CHAOS=$${NOISEGATE_CHAOS:-60} $(PYTHON_ENV)/python -m pytest --timeout 0 \
		tests/integration/test_rolling_restart.py $(ARGS)

.PHONY: check
check: ## lint, format, types, layers, generated code, contract, sizes, tracked files, chart
	@tools/setup.sh base codegen buf biome go browser helm
	@$(MAKE) --no-print-directory --keep-going $(CHECKS)

# One target each, so that `make check` goes on past the first failure and shows them all.
CHECKS := check-lint check-format check-types check-typescript check-layers check-generated check-contract check-sizes \
	check-tracked check-chart
.PHONY: $(CHECKS)
check-lint:
	$(PYTHON_ENV)/ruff check --quiet
check-format:
	$(PYTHON_ENV)/ruff format --check --quiet
check-types:
	$(PYTHON_ENV)/mypy
check-typescript: # the example's types are the compiled client's
	$(BIOME) check --diagnostic-level=error
	cd clients/typescript && $(TSC)
	cd examples/browser && $(TSC)
check-layers:
	$(PYTHON_ENV)/lint-imports --no-cache --no-logo
check-generated:
	$(PYTHON_ENV)/python -m tools.generate --check
check-contract:
	$(BUF) lint proto
	$(BUF) format --diff --exit-code proto
	@if [ -f proto/baseline.binpb ]; then $(BUF) breaking proto --against proto/baseline.binpb; fi
check-sizes:
	$(PYTHON_ENV)/python -m tools.check_sizes
check-tracked:
	$(PYTHON_ENV)/python -m tools.check_tracked

check-chart:
	$(PYTHON_ENV)/python -m tools.make_chart --check
	@if [ -x $(HELM) ]; then echo $(HELM) lint --strict helm/noisegate; \
		$(HELM) lint --quiet --strict helm/noisegate 2>/dev/null; \
	else echo 'the chart is not linted: helm is missing, which tools/setup.sh helm builds'; \
		[ "$${NOISEGATE_REQUIRE_ALL:-}" != 1 ]; fi

.PHONY: format
format: setup ## format the code and the contract, apply safe lint fixes
	@tools/setup.sh buf biome
	$(PYTHON_ENV)/ruff check --fix --quiet
	$(PYTHON_ENV)/ruff format --quiet
	$(BUF) format --write proto
	$(BIOME) check --write --diagnostic-level=error

.PHONY: generate
generate: ## write the committed stubs of every language from proto/
	@tools/setup.sh base codegen go typescript
	$(PYTHON_ENV)/python -m tools.generate

.PHONY: lock
lock: ## compile requirements/*.in into hashed lock files, with the newest versions allowed
	@tools/setup.sh lock
	cd requirements && for lock in server codegen lock stubs-protobuf6 stubs-protobuf7; do \
		../$(COMPILE) $$lock.in --output-file $$lock.txt || exit 1; done
	cd requirements && ../$(COMPILE) --constraint server.txt dev.in --output-file dev.txt
	cd requirements && ../$(COMPILE) --constraint dev.txt build.in --output-file build.txt
	cd requirements && ../$(COMPILE) --no-deps kubernetes.in --output-file kubernetes.txt
	cd tools/buf && npm install --package-lock-only --silent
	cd tools/biome && npm install --package-lock-only --silent
	cd clients/typescript && npm install --package-lock-only --silent
	cd examples/browser && npm install --package-lock-only --silent

.PHONY: bench
bench: setup ## measure what the README claims and print it
	@$(PYTHON_ENV)/noisegate bench $(ARGS)

.PHONY: sbom
sbom: setup ## list what the server is made of: build/noisegate-server.cdx.json (CycloneDX)
	@mkdir -p build
	@$(PYTHON_ENV)/python -W ignore::UserWarning -m cyclonedx_py requirements --pyproject pyproject.toml \
		--output-reproducible --output-format JSON --output-file build/noisegate-server.cdx.json requirements/server.txt

.PHONY: bench-peers
bench-peers: setup ## bench, with rows beside libraries of other projects (builds them: cargo, go)
	@$(PYTHON_ENV)/python -m tests.bench $(ARGS)

.PHONY: clean
clean: ## remove environments, stamps and by-products
	rm -rf .venv .venv-codegen .venv-lock .setup .helm tools/buf/node_modules tools/biome/node_modules build dist
	rm -rf clients/typescript/node_modules clients/typescript/dist clients/java/target
	rm -rf examples/browser/node_modules examples/browser/dist
	rm -f clients/rust/Cargo.lock tests/conformance/drivers/rust/Cargo.lock
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
