# kubecore's targets. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROFILE ?= fast
EXTENSION := python/kubecore/_core.abi3.so
RUST_SOURCES := $(shell find rust_core -name '*.rs' -o -name '*.toml' -o -name '*.json' 2>/dev/null) Cargo.toml Cargo.lock
export PYTHONPATH := $(CURDIR)/python
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ── set-up ──

$(VENV)/.ready: requirements-dev.txt
	@scripts/need cargo python3.11
	@scripts/debian-packages build
	@echo "Setting up the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check -q -r requirements-dev.txt
	@touch $@

build/extension-$(PROFILE): $(RUST_SOURCES) | $(VENV)/.ready
	@echo "Building the Rust core ($(PROFILE) profile)"
	@cargo build --locked --profile $(PROFILE) -p kubecore-py
	@mkdir -p build && cp target/$(PROFILE)/lib_core.so $(EXTENSION).new && mv $(EXTENSION).new $(EXTENSION)
	@rm -f build/extension-* && touch $@

$(BIN)/kubecore: $(VENV)/.ready
	@printf '#!%s\nimport sys\nsys.path.insert(0, "%s")\nfrom kubecore_cli import main\nsys.exit(main())\n' \
		'$(CURDIR)/$(BIN)/python' '$(CURDIR)/python' > $@ && chmod +x $@

.PHONY: build
build: build/extension-$(PROFILE) $(BIN)/kubecore ## the extension (PROFILE=fast or release) and the command in .venv/bin

.PHONY: install
install: $(VENV)/.ready ## a wheel of the release build, in dist/
	@$(BIN)/maturin build --release -o dist

# ── what people run ──

.PHONY: demo
demo: ## the Tomcat and MySQL example on two real nodes, a node's death, and 10,000 pods scheduled
	@[ "$$(id -u)" -ne 0 ] || scripts/debian-packages demo
	@$(MAKE) --no-print-directory build PROFILE=release
	@$(BIN)/python examples/demo.py

.PHONY: test
test: ## everything: check, then sim, wire and e2e
	@scripts/need cargo python3.11 go kubectl
	@scripts/debian-packages test
	@$(MAKE) --no-print-directory check sim wire e2e

# ── the parts of test ──

.PHONY: check
check: lint types imports unit ## lint, types, import contracts, unit and property tests

.PHONY: lint
lint: build
	@cargo fmt --check
	@cargo clippy --locked --workspace --all-targets -q -- -D warnings
	@$(BIN)/ruff check -q python cli tests benches examples tools
	@$(BIN)/ruff format -q --check python cli tests benches examples tools

.PHONY: types
types: build
	@MYPYPATH=python $(BIN)/mypy -p kubecore -p kubecore_cli
	@$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-missing-stub kubecore._core

.PHONY: imports
imports: build
	@$(BIN)/lint-imports --config .importlinter

.PHONY: unit
unit: build
	@cargo test --locked --workspace --exclude kubecore-py -q
	@$(BIN)/pytest -q -n 2 tests/unit tests/property

.PHONY: sim
sim: build ## a whole cluster in virtual time
	@$(BIN)/pytest -q tests/sim

.PHONY: wire
wire: build ## stock kubectl and other clients against a real server
	@$(BIN)/pytest -q tests/wire

.PHONY: e2e
e2e: build ## the main job, parts as tasks and as processes, crashes
	@$(BIN)/pytest -q --reruns 1 tests/e2e

.PHONY: nightly
nightly: $(VENV)/.ready ## the fact table made again from upstream's modules (Go, network) and compared
	@scripts/need go
	@$(BIN)/python tools/facts/generate.py --check
	@$(MAKE) --no-print-directory conformance-store

build/conformance.test: tests/conformance/go.mod tests/conformance/go.sum tests/conformance/conformance_test.go
	@scripts/need go
	@echo "Building upstream's conformance suite (some minutes the first time)"
	@mkdir -p build && cd tests/conformance && go test -vet=off -c -o $(CURDIR)/$@ .

.PHONY: conformance
conformance: build build/conformance.test ## upstream's conformance suite against a fresh cluster (Go, kubectl, network; half an hour)
	@scripts/need go kubectl
	@$(BIN)/python tests/conformance/run.py --binary build/conformance.test --report build/conformance.json \
		--logs build/conformance-logs; status=$$?; \
		$(BIN)/python tests/conformance/compatibility.py build/conformance.json docs/compatibility.md conformance; exit $$status

build/agnhost: tests/conformance/go.mod tests/conformance/go.sum
	@scripts/need go
	@echo "Building upstream's test server"
	@mkdir -p build && cd tests/conformance && go build -o $(CURDIR)/$@ k8s.io/kubernetes/test/images/agnhost
	@cd tests/conformance && cp $$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)/test/images/agnhost/porter/localhost.* $(CURDIR)/build

.PHONY: conformance-nodes
conformance-nodes: build build/conformance.test build/agnhost ## what of it needs containers, on two real nodes (root, Go, kubectl, network; half an hour)
	@scripts/need go kubectl
	@scripts/debian-packages conformance
	@$(BIN)/python tests/conformance/run.py --binary build/conformance.test --nodes real --report build/conformance-nodes.json \
		--logs build/conformance-nodes-logs; status=$$?; \
		$(BIN)/python tests/conformance/compatibility.py build/conformance-nodes.json docs/compatibility.md \
		"conformance on real nodes"; exit $$status

build/kube-proxy: tests/conformance/go.mod tests/conformance/go.sum
	@scripts/need go
	@mkdir -p build && cd tests/conformance && go build -o $(CURDIR)/$@ k8s.io/kubernetes/cmd/kube-proxy

.PHONY: conformance-proxy
conformance-proxy: build build/kube-proxy ## upstream's kube-proxy and ours side by side: the same rules for random services (root, Go, kubectl)
	@scripts/need kubectl
	@PYTHONPATH=python:tests $(BIN)/python tests/conformance/service_proxy.py --binary build/kube-proxy

build/kube-apiserver: tests/conformance/go.mod tests/conformance/go.sum
	@scripts/need go
	@mkdir -p build && cd tests/conformance && go build -o $(CURDIR)/$@ k8s.io/kubernetes/cmd/kube-apiserver

.PHONY: conformance-store
conformance-store: build build/kube-apiserver ## upstream's kube-apiserver with our store as its etcd (Go)
	@PYTHONPATH=python:tests $(BIN)/python tests/conformance/apiserver_on_store.py --binary build/kube-apiserver

.PHONY: bench
bench: ## quick benchmarks, release build
	@$(MAKE) --no-print-directory build PROFILE=release
	@$(BIN)/pytest -q benches --benchmark-only --benchmark-disable-gc --benchmark-columns=min,median,max,rounds

.PHONY: apibench
apibench: ## create, get, list and watch over TLS against a fresh `kubecore up`
	@$(MAKE) --no-print-directory build PROFILE=release
	@$(BIN)/python benches/run_apibench.py

.PHONY: clean
clean: ## what builds made
	@rm -rf build dist target $(VENV) $(EXTENSION)
