# The only commands: dev, test, bench, prove, train, build, deploy (and `make help`). Each step is a file target:
# what is there is not fetched or built again.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# Pinned tools live outside the clone, under their versions; clones share them.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jeffrey-edge/tools
WASM_BINDGEN_VERSION := 0.2.129
WORKER_BUILD_VERSION := 0.8.7
CARGO_DENY_VERSION := 0.20.2
WASM_BINDGEN := $(CACHE)/wasm-bindgen-$(WASM_BINDGEN_VERSION)/bin/wasm-bindgen
WORKER_BUILD := $(CACHE)/worker-build-$(WORKER_BUILD_VERSION)/bin/worker-build
CARGO_DENY := $(CACHE)/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
WASM_TARGET := $(CACHE)/.wasm-target

export JEFFREY_COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
export WRANGLER_SEND_METRICS := false
export DO_NOT_TRACK := 1

# `fast-release` links in seconds and is what dev and test run; `edge` is what is shipped and measured.
PROFILE ?= fast-release
OUT := $(if $(filter edge,$(PROFILE)),build/edge,build)

MODEL_ID := $(shell cat models/shipped)
MODEL_FILES := $(addprefix models/$(MODEL_ID)/,manifest.json config.json tokenizer.json \
	onnx/model_quantized.onnx head.json prototypes.json)
CRATE := Cargo.toml Cargo.lock build.rs .cargo/config.toml models/shipped $(MODEL_FILES) \
	$(shell find src kernels -type f)
PAGE := $(shell find www -type f -not -path 'www/dashboard/*' 2>/dev/null)
DASHBOARD := $(shell find www/dashboard -type f 2>/dev/null)

DATA ?= ../shared/data
BASE ?= ../shared/models/multilingual-e5-small-en-fr
ID ?= $(MODEL_ID)
SHARE ?= 10%

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

.PHONY: dev
dev: workers ## build everything and run it: gate on 8787, model worker 8788, old system 8789 (SHARE=10%)
	exec node stand-in/dev.js --share $(SHARE)

.PHONY: test
test: workers build/evidence.wasm build/kernels.wasm build/native.stamp $(CARGO_DENY) tests/.venv/stamp | chromium prometheus ## all checks and tests
	node tests/run.js

.PHONY: build
build: target/release/jeffrey ## the native binary, target/release/jeffrey

.PHONY: workers
workers: $(OUT)/gate/index.js $(OUT)/model/index.js $(OUT)/www/index.html $(OUT)/pages/dashboard/index.html ## the workers and the page, in build/

.PHONY: bench
bench: node_modules/.stamp tests/bench/.venv/stamp | chromium nginx ## speed, start, memory, size, the gate's cost, the pages, beside their peers
	$(MAKE) PROFILE=edge workers build/edge/decision.wasm
	node tests/bench/run.js
	node tests/bench/gate.js
	$(MAKE) target/release/jeffrey
	node tests/bench/telemetry.js
	cargo build --features cli
	node tests/bench/pages.js

.PHONY: prove
prove: target/release/jeffrey build/native.stamp workers ## the gates' statistics in full and an hour's soak, an hour and a half; docs/proof.md, docs/soak.md
	node tests/prove/run.js
	node tests/prove/soak.js

.PHONY: train
train: training/.venv/stamp ## train from DATA and BASE to models/ID (EXTRA=file.csv adds rows)
	@for folder in $(DATA) $(BASE); do [ -d $$folder ] \
		|| { echo "missing: $$folder — name the folders with DATA=… and BASE=…" >&2; exit 1; }; done
	training/.venv/bin/python -m training.run --data $(DATA) --base $(BASE) --id $(ID) \
		$(if $(EXTRA),--extra $(EXTRA))

.PHONY: frontier
frontier: training/.venv/stamp node_modules/.stamp ## after train: other sizes of student, plotted into models/ID
	training/.venv/bin/python -m training.frontier train --data $(DATA) --base $(BASE) --id $(ID)
	$(MAKE) PROFILE=edge build/edge/browser/jeffrey_edge.js
	node tests/bench/frontier.js training/work/frontier
	training/.venv/bin/python -m training.frontier plot --data $(DATA) --base $(BASE) --id $(ID)

.PHONY: deploy
deploy: node_modules/.stamp target/release/jeffrey ## both workers to Cloudflare: ENV=staging or production, DRY_RUN=1 reaches nobody
	$(MAKE) PROFILE=edge workers
	node deploy/run.js --env "$(ENV)" $(if $(DRY_RUN),--dry-run)

.PHONY: deps
deps: chromium nginx prometheus ## system packages (chromium, nginx, prometheus), by apt when root

.PHONY: clean
clean: ## remove what was built here (tools in the cache stay)
	rm -rf build target node_modules tests/.venv tests/bench/.venv .wrangler

# --- prerequisites ---------------------------------------------------------------------------------

NEED = @command -v $(1) >/dev/null || { echo "missing: $(1) — $(2)" >&2; exit 1; }

# A program by its package, where this may install one.
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

# Debug builds: the tools run for seconds and compile for minutes.
INSTALL = CARGO_TARGET_DIR=$(CACHE)/build-$(1) cargo install $(1) --version $(2) --debug --quiet \
	--root $(CACHE)/$(3)-$(2) $(4) && rm -rf $(CACHE)/build-$(1)

$(WASM_BINDGEN): | need-rust
	$(call INSTALL,wasm-bindgen-cli,$(WASM_BINDGEN_VERSION),wasm-bindgen)
$(WORKER_BUILD): | need-rust
	$(call INSTALL,worker-build,$(WORKER_BUILD_VERSION),worker-build,--locked)
$(CARGO_DENY): | need-rust
	$(call INSTALL,cargo-deny,$(CARGO_DENY_VERSION),cargo-deny,--locked)

node_modules/.stamp: package.json package-lock.json | need-node
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

%/.venv/stamp: %/requirements.txt | need-python
	python3 -m venv $*/.venv
	$*/.venv/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# --- builds ----------------------------------------------------------------------------------------

target/release/jeffrey: $(CRATE) | need-rust
	cargo build --release --features cli
	@touch $@

# One target folder a wasm build: their dependencies differ in features, and would rebuild each other.
$(OUT)/browser/jeffrey_edge.js: $(CRATE) $(WASM_BINDGEN) $(WASM_TARGET)
	CARGO_TARGET_DIR=target/browser cargo build --lib --target wasm32-unknown-unknown \
		--profile $(PROFILE) --features browser
	$(WASM_BINDGEN) --target web --remove-name-section --remove-producers-section \
		--out-name jeffrey_edge --out-dir $(@D) \
		target/browser/wasm32-unknown-unknown/$(PROFILE)/jeffrey_edge.wasm
	@touch $@

# The encoder's arithmetic alone, for the test of its bits in Node and in workerd.
build/kernels.wasm: $(shell find kernels -type f) Cargo.toml $(WASM_TARGET)
	CARGO_TARGET_DIR=target/browser cargo build --package jeffrey-kernels --example digest \
		--target wasm32-unknown-unknown --profile fast-release
	@mkdir -p $(@D)
	cp target/browser/wasm32-unknown-unknown/fast-release/examples/digest.wasm $@

# Evidence of the plan's gates, for the test of its bits in Node and in workerd.
build/evidence.wasm: $(shell find src/rollout -type f) src/terms.rs examples/evidence.rs Cargo.toml $(WASM_TARGET)
	CARGO_TARGET_DIR=target/gate cargo build --example evidence --target wasm32-unknown-unknown --profile fast-release
	@mkdir -p $(@D)
	cp target/gate/wasm32-unknown-unknown/fast-release/examples/evidence.wasm $@

# What the gate computes for one call, for the bench.
build/edge/decision.wasm: $(CRATE) examples/decision.rs $(WASM_TARGET)
	CARGO_TARGET_DIR=target/gate cargo build --example decision --target wasm32-unknown-unknown --profile edge
	@mkdir -p $(@D)
	cp target/gate/wasm32-unknown-unknown/edge/examples/decision.wasm $@

# What the model worker serves: the page, the module, the model's files.
$(OUT)/www/index.html: $(PAGE) $(OUT)/browser/jeffrey_edge.js $(MODEL_FILES)
	rm -rf $(OUT)/www && mkdir -p $(OUT)/www/wasm $(OUT)/www/models/$(MODEL_ID)/onnx
	cp -r www/. $(OUT)/www/ && rm -r $(OUT)/www/dashboard
	cp $(OUT)/browser/jeffrey_edge.js $(OUT)/browser/jeffrey_edge_bg.wasm $(OUT)/www/wasm/
	for file in $(MODEL_FILES); do cp $$file $(OUT)/www/$$file; done
	wasm=$(OUT)/www/wasm/jeffrey_edge_bg.wasm; printf '{"id":"%s","wasm_bytes":%s,"wasm_sha256":"%s"}\n' \
		$(MODEL_ID) $$(stat -c %s $$wasm) $$(sha256sum < $$wasm | cut -d' ' -f1) > $(OUT)/www/models/index.json
	@touch $@

# What the gate serves below its prefix, in a folder of its name: the dashboard, with its one library and that one's licence.
UPLOT := node_modules/uplot
$(OUT)/pages/dashboard/index.html: $(DASHBOARD) www/style.css www/icon.svg node_modules/.stamp
	rm -rf $(OUT)/pages/dashboard && mkdir -p $(OUT)/pages/dashboard/vendor
	cp -r www/dashboard/. $(OUT)/pages/dashboard/
	cp www/style.css $(OUT)/pages/dashboard/base.css && cp www/icon.svg $(OUT)/pages/dashboard/
	node_modules/.bin/esbuild $(UPLOT)/dist/uPlot.esm.js --minify --format=esm --log-level=warning \
		--outfile=$(OUT)/pages/dashboard/vendor/uPlot.js
	cp $(UPLOT)/dist/uPlot.min.css $(OUT)/pages/dashboard/vendor/uPlot.css
	cp $(UPLOT)/LICENSE $(OUT)/pages/dashboard/vendor/uPlot.LICENSE
	@touch $@

# worker-build keeps the name section (0.4 MB gzip) unless wasm-bindgen is told otherwise; it would
# download esbuild itself.
build/wasm-bindgen-nameless: $(WASM_BINDGEN)
	@mkdir -p $(@D)
	printf '#!/bin/sh\nexec "%s" --remove-name-section "$$@"\n' $(WASM_BINDGEN) > $@
	chmod +x $@

# One worker a feature of its name; each a target folder of its own.
$(OUT)/gate/index.js $(OUT)/model/index.js: $(OUT)/%/index.js: \
		$(CRATE) $(WORKER_BUILD) $(WASM_TARGET) build/wasm-bindgen-nameless node_modules/.stamp
	CARGO_TARGET_DIR=$(CURDIR)/target/$* WASM_BINDGEN_BIN=$(CURDIR)/build/wasm-bindgen-nameless \
		ESBUILD_BIN=$(CURDIR)/node_modules/.bin/esbuild \
		$(WORKER_BUILD) --profile $(PROFILE) --no-opt --out-dir $(OUT)/$* --features $*
	@touch $@

# The binary that the tests run, and the tests themselves, before anything is timed.
build/native.stamp: $(CRATE) $(shell find tests kernels -maxdepth 2 -name '*.rs')
	cargo test --workspace --features cli --no-run
	@mkdir -p $(@D) && touch $@
