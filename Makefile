# The two commands of the README are `make run` and `make test`.

CARGO ?= cargo
# Not below target/: `make clean` must not take a node's key with it.
QPQ_HOME ?= $(CURDIR)/.qpq
TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))
PLUGINS = -p qpq-transport-quic -p qpq-transport-iroh -p qpq-federation-capnp -p qpq-discovery-mdns -p qpq-routing-babel -p qpq-routing-flood

# What `make sim` passes on.
SIM_NAMES = NODES TOPOLOGY SEED JSON ROUTING CONFIG ANNOUNCERS DETECTION LOSS SYNC_MS WINDOW_S RECORD_S OUT CHAOS
SIM_ARGS = $(foreach name,$(SIM_NAMES),$(if $($(name)),'$(name)=$($(name))'))
ROUTING_PLUGINS = -p qpq-routing-babel -p qpq-routing-flood

.PHONY: run demo sim test test-tools check miri bench soak nightly-quic release plugins-alone clean help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

release: ## Build the host, its plugins and the relay, optimised
	$(CARGO) build --release -p qpq-host $(PLUGINS) -p qpq-relay
	$(MAKE) -s -C plugins/transport-udp-c OUT="$(TARGET)/release"

run: release ## Start a node with the default plugins and the bundled bots, and open the REPL
	./target/release/qpq --home "$(QPQ_HOME)" repl --scripts "$(CURDIR)/scripts"

demo: release ## Three nodes in a line A-B-C: a board post travels, and what travelled is shown
	$(CARGO) run --release -q -p qpq-tests --bin qpq-demo

test: ## All tests. Those that need root, `ip`, `nft` or python3 say so and are skipped by name where these are missing
	$(CARGO) build --workspace --all-targets
	$(MAKE) -s -C plugins/transport-udp-c all check OUT="$(TARGET)/debug"
	$(CARGO) test --workspace

test-tools: ## Install what some tests need beside root and python3 (Debian and its kin, as root)
	apt-get install -y iproute2 nftables avahi-daemon avahi-utils python3-zeroconf python3-venv dbus dnsmasq-base \
		lua-dkjson lua-inspect lua-penlight lua-basexx lua-binaryheap lua-fifo lua-messagepack lua-moses lua-markdown lua-argparse lua-mediator
	python3 -m venv target/python && target/python/bin/pip install -q pycapnp

check: ## Formatting, lints and documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

plugins-alone: ## Build each plugin by itself: feature unification in the workspace can hide a missing feature
	for plugin in plugins/*/Cargo.toml plugins/transport-iroh/relay/Cargo.toml plugin-api/templates/rust-*/Cargo.toml; do \
		$(CARGO) build --manifest-path $$plugin || exit 1; done
	for plugin in plugins/*/Makefile; do $(MAKE) -s -B -C $$(dirname $$plugin) OUT="$(TARGET)/debug" || exit 1; done

miri: ## The unsafe code of the plugin SDK under Miri (needs nightly Rust with its miri component)
	MIRIFLAGS="-Zmiri-ignore-leaks -Zmiri-disable-isolation" $(CARGO) +nightly miri test -p qpq-plugin-api --lib

bench: release ## Measure, as ratios to limits measured in the same run
	$(CARGO) build --release -p qpq-tests --examples
	$(CARGO) bench -p qpq-tests

nightly-quic: ## Build transport-quic with nightly Rust, to be swapped against this one; without nightly it is left out by name
	@if $(CARGO) +nightly --version >/dev/null 2>&1; then \
		CARGO_TARGET_DIR="$(TARGET)/nightly" $(CARGO) +nightly build --release -p qpq-transport-quic; \
	else echo "SKIPPED nightly-quic: no nightly Rust is installed"; fi

sim: ## Simulate networks; NODES=, TOPOLOGY=, SEED=, JSON=1 and more, see `target/release/qpq-sim --help`
	@$(CARGO) build -q --release $(ROUTING_PLUGINS) -p qpq-tests --lib --bin qpq-sim
	@./target/release/qpq-sim $(SIM_ARGS)

soak: release nightly-quic ## The long programmes: thousands of crash cycles, long fuzzing, swaps between builds of several compilers
	QPQ_SOAK=1 $(CARGO) test --release -p qpq-tests -- --nocapture
	QPQ_SEEDS=500 $(CARGO) test --release -p qpq-host --lib -- core::tests script::lab::tests::day

clean: ## Remove what was built
	$(CARGO) clean
