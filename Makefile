# `make help` lists the commands. Each build step is a file target, so nothing is fetched or built twice.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# Pinned tools are installed outside the clone, by version, so that clones share them.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jeffrey-edge/tools
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
WASM_TARGET := $(CACHE)/.wasm-target

export JEFFREY_COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
export WRANGLER_SEND_METRICS := false
export DO_NOT_TRACK := 1

# `dev` and `test` use `fast-release`, which links in seconds. `deploy` and `bench` use `edge`.
PROFILE ?= fast-release
OUT := $(if $(filter edge,$(PROFILE)),build/edge,build)

MODEL_ID := $(shell cat models/shipped)
MODEL_FILES := $(addprefix models/$(MODEL_ID)/,manifest.json config.json tokenizer.json \
	onnx/model_quantized.onnx head.json prototypes.json)
# The sources of all crates.
CRATES := Cargo.toml Cargo.lock .cargo/config.toml rollout.toml models/shipped $(MODEL_FILES) \
	$(shell find src crates tests/wasm -type f -not -path 'crates/bindgen/*' -not -name '*.js')
# The keys and votes that the command line embeds.
READ_LINES := $(wildcard training/read/*.tsv)
PAGE := $(shell find www -type f -not -path 'www/dashboard/*' 2>/dev/null)
DASHBOARD := $(shell find www/dashboard -type f 2>/dev/null)

DATA ?= ../shared/data
BASE ?= ../shared/models/multilingual-e5-small-en-fr
ID ?= $(MODEL_ID)
SHARE ?= 10%
PUBLIC_API_FLAG := $(if $(filter on,$(PUBLIC_API)),--public-api)

.PHONY: help
help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

.PHONY: dev
dev: workers ## build and run the gateway on 8787 and a mock legacy system on 8789 (SHARE=10%); PUBLIC_API=on: the public API on 8788
	exec node scripts/dev.js --share $(SHARE) $(PUBLIC_API_FLAG)

.PHONY: test
test: workers build/native.stamp tests/.venv/stamp | chromium prometheus ## run all checks and tests
	node tests/run.js

.PHONY: build
build: target/release/jeffrey ## build the command line, target/release/jeffrey

.PHONY: workers
workers: $(OUT)/gateway/index.js $(OUT)/model/index.js $(OUT)/www/index.html $(OUT)/pages/dashboard/index.html $(OUT)/wasm-tests.wasm ## build both workers, the playground and the dashboard into build/

.PHONY: bench
bench: node_modules/.stamp tests/bench/.venv/stamp | chromium nginx ## measure speed, start, memory, size, gateway overhead, the cost of an event and pages, beside their peers (twenty minutes)
	$(MAKE) PROFILE=edge workers
	node tests/bench/run.js
	node tests/bench/gateway.js
	$(MAKE) target/release/jeffrey
	node tests/bench/telemetry.js
	node tests/bench/event-cost.js
	$(MAKE) build/native.stamp
	node tests/bench/pages.js

.PHONY: timings
timings: need-node ## measure each build from nothing in a fresh clone (ten minutes)
	node tests/bench/timings.js

.PHONY: wasm-build-command
wasm-build-command:
	@echo $(WASM_BUILD)

.PHONY: acceptance
acceptance: target/release/jeffrey build/native.stamp workers ## test the gates' statistics, check the rollback's model and soak the gateway for an hour; writes docs/proof.md and docs/soak.md (two hours)
	node tests/acceptance/run.js
	cargo run --release --package jeffrey-model-checking --bin jeffrey-check
	node tests/acceptance/soak.js

.PHONY: train
train: training/.venv/stamp ## train models/ID from DATA and BASE (EXTRA=file.csv adds rows); see training/README.md
	@for folder in $(DATA) $(BASE); do [ -d $$folder ] \
		|| { echo "missing: $$folder — name the folders with DATA=… and BASE=…" >&2; exit 1; }; done
	training/.venv/bin/python -m training.run --data $(DATA) --base $(BASE) --id $(ID) \
		$(if $(EXTRA),--extra $(EXTRA))

.PHONY: frontier
frontier: training/.venv/stamp node_modules/.stamp ## after train: train students of other sizes and plot them into models/ID
	training/.venv/bin/python -m training.frontier train --data $(DATA) --base $(BASE) --id $(ID)
	$(MAKE) PROFILE=edge build/edge/browser/jeffrey_edge.js
	node tests/bench/frontier.js training/work/frontier
	training/.venv/bin/python -m training.frontier plot --data $(DATA) --base $(BASE) --id $(ID)

.PHONY: deploy
deploy: node_modules/.stamp target/release/jeffrey ## deploy the Workers to Cloudflare: ENV=staging or production; PUBLIC_API=on: the public API too; REPLACE_MODEL=on: even if the release has another model; DRY_RUN=1 uploads nothing
	$(MAKE) PROFILE=edge workers
	node deploy/run.js --env "$(ENV)" $(PUBLIC_API_FLAG) $(if $(filter on,$(REPLACE_MODEL)),--replace-model) $(if $(DRY_RUN),--dry-run)

.PHONY: licences
licences: $(CARGO_DENY) ## check the licences and sources of the dependencies with cargo deny
	$(CARGO_DENY) check licenses bans sources

.PHONY: deps
deps: chromium nginx prometheus ## install chromium, nginx and prometheus with apt if root, else print the command

.PHONY: clean
clean: ## remove build outputs, packages and local worker state; training/ and cached tools stay
	rm -rf build target node_modules tests/.venv tests/bench/.venv .wrangler

# --- prerequisites ---------------------------------------------------------------------------------

NEED = @command -v $(1) >/dev/null || { echo "missing: $(1) — $(2)" >&2; exit 1; }

# Installs a program from its package if the user is root; otherwise prints the command.
define PACKAGE
@if command -v $(1) >/dev/null; then exit 0; fi; \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(2) >/dev/null; \
else \
	echo "$(1) is missing ($(3)): sudo apt-get install $(2)"; \
fi
endef

.PHONY: need-rust need-node need-python chromium nginx prometheus
need-rust:
	$(call NEED,cargo,install Rust from https://rustup.rs)
need-node:
	$(call NEED,node,install Node.js 20.3 or newer)
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 3) ? 0 : 1)' \
		|| { echo "Node.js $$(node --version) is older than 20.3: install a newer one" >&2; exit 1; }
need-python:
	$(call NEED,python3,install Python 3.10 or newer with venv)

chromium:
	$(call PACKAGE,chromium,chromium,browser tests are skipped)

nginx:
	$(call PACKAGE,nginx,nginx-light,the bench goes without it)

prometheus:
	$(call PACKAGE,prometheus,prometheus,the test of the metrics beside it is skipped)

$(WASM_TARGET): | need-rust
	rustup target add wasm32-unknown-unknown
	@mkdir -p $(@D) && touch $@

# A debug build, because cargo-deny runs for seconds and compiles for minutes.
$(CARGO_DENY): | need-rust
	CARGO_TARGET_DIR=$(CACHE)/build-cargo-deny cargo install cargo-deny --version $(CARGO_DENY_VERSION) \
		--locked --debug --quiet --root $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)
	rm -rf $(CACHE)/build-cargo-deny

node_modules/.stamp: package.json package-lock.json | need-node
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

%/.venv/stamp: %/requirements.txt | need-python
	python3 -m venv $*/.venv
	$*/.venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# --- builds ----------------------------------------------------------------------------------------

target/release/jeffrey: $(CRATES) $(READ_LINES) | need-rust
	cargo build --release --package cli
	@touch $@

# Builds the tests and the binary that they run, before anything is timed.
build/native.stamp: $(CRATES) $(READ_LINES) $(shell find tests -maxdepth 1 -name '*.rs') | need-rust
	cargo test --no-run
	@mkdir -p $(@D) && touch $@

BINDGEN := target/tool/bindgen
$(BINDGEN): Cargo.toml Cargo.lock $(shell find crates/bindgen -type f) | need-rust
	cargo build --profile tool --package bindgen
	@touch $@

# One call builds all wasm packages: cargo unifies features within a call, so a package built alone would compile its
# dependencies again. The crate `worker` needs the variable, which changes the output of wasm-bindgen's macros.
WASM_DIR := target/wasm32-unknown-unknown/$(PROFILE)
WASM_BUILD := build --target wasm32-unknown-unknown --profile $(PROFILE) \
	--package gateway-worker --package model-worker --package browser --package wasm-tests
$(OUT)/wasm.stamp: $(CRATES) $(WASM_TARGET)
	WASM_BINDGEN_USE_JS_SYS=1 cargo $(WASM_BUILD)
	@mkdir -p $(@D) && touch $@

# The wasm module of the playground.
$(OUT)/browser/jeffrey_edge.js: $(OUT)/wasm.stamp $(BINDGEN)
	$(BINDGEN) page jeffrey_edge $(WASM_DIR)/browser.wasm $(@D)
	@touch $@

# A worker: its wasm module, and its entry bundled into one file. The runtime does not know `import source` yet, so sed
# replaces it by `import`.
$(OUT)/gateway/index.js: WORKER := gateway-worker
$(OUT)/model/index.js: WORKER := model-worker
$(OUT)/gateway/index.js $(OUT)/model/index.js: $(OUT)/%/index.js: $(OUT)/wasm.stamp $(BINDGEN) node_modules/.stamp \
		crates/wasm-host/recovery.js crates/wasm-host/error-response.js crates/gateway-worker/entry.js crates/gateway-worker/guard.js crates/model-worker/entry.js
	rm -rf $(@D)
	$(BINDGEN) worker index $(WASM_DIR)/$(subst -,_,$(WORKER)).wasm $(@D)/bindgen
	node_modules/.bin/esbuild crates/$(WORKER)/entry.js --bundle --minify --format=esm --log-level=warning \
		--alias:wasm=./$(@D)/bindgen/index.js '--external:*.wasm' '--external:cloudflare:*' --outfile=$@
	sed -i 's/import source /import /' $@
	mv $(@D)/bindgen/index_bg.wasm $(@D)/ && rm -r $(@D)/bindgen

# Digests that must be equal on every host (tests), and the gateway's work for one call (bench).
$(OUT)/wasm-tests.wasm: $(OUT)/wasm.stamp
	cp $(WASM_DIR)/wasm_tests.wasm $@

# Files of the model worker: the playground, its wasm module and the model.
$(OUT)/www/index.html: $(PAGE) $(OUT)/browser/jeffrey_edge.js $(MODEL_FILES)
	rm -rf $(OUT)/www && mkdir -p $(OUT)/www/wasm $(OUT)/www/models/$(MODEL_ID)/onnx
	cp -r www/. $(OUT)/www/ && rm -r $(OUT)/www/dashboard
	cp $(OUT)/browser/jeffrey_edge.js $(OUT)/browser/jeffrey_edge_bg.wasm $(OUT)/www/wasm/
	for file in $(MODEL_FILES); do cp $$file $(OUT)/www/$$file; done
	wasm=$(OUT)/www/wasm/jeffrey_edge_bg.wasm; printf '{"id":"%s","wasm_bytes":%s,"wasm_sha256":"%s"}\n' \
		$(MODEL_ID) $$(stat -c %s $$wasm) $$(sha256sum < $$wasm | cut -d' ' -f1) > $(OUT)/www/models/index.json
	@touch $@

# Files of the gateway below ADMIN_PREFIX: the dashboard, its one library, the licence of that library, and the OpenAPI
# document.
UPLOT := node_modules/uplot
$(OUT)/pages/dashboard/index.html: $(DASHBOARD) www/style.css www/icon.svg docs/gateway-openapi.json node_modules/.stamp
	rm -rf $(OUT)/pages/dashboard && mkdir -p $(OUT)/pages/dashboard/vendor
	cp -r www/dashboard/. $(OUT)/pages/dashboard/
	cp www/style.css $(OUT)/pages/dashboard/base.css && cp www/icon.svg $(OUT)/pages/dashboard/
	cp docs/gateway-openapi.json $(OUT)/pages/dashboard/openapi.json
	node_modules/.bin/esbuild $(UPLOT)/dist/uPlot.esm.js --minify --format=esm --log-level=warning \
		--outfile=$(OUT)/pages/dashboard/vendor/uPlot.js
	cp $(UPLOT)/dist/uPlot.min.css $(OUT)/pages/dashboard/vendor/uPlot.css
	cp $(UPLOT)/LICENSE $(OUT)/pages/dashboard/vendor/uPlot.LICENSE
	@touch $@
