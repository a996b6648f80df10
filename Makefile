# `make help` lists the targets.
CARGO ?= cargo
BIN := target/release

.DEFAULT_GOAL := help
.PHONY: soak help build run test integration tables bench inner goodput lint fmt doc install clean

help: ## Lists the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

build: ## Builds librumphijack.so, rump_server, rumphijack and rumpctl into target/release
	$(CARGO) build --release --locked --workspace

run: build ## Shows unmodified programs on a private rump kernel
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/tour.sh

test: build ## Runs unit tests, golden bytes, scenarios and real programs on all transports
	$(CARGO) test --release --locked --workspace --no-fail-fast

integration: build ## Runs the scenarios and the real programs only
	$(CARGO) test --release --locked -p integration

tables: ## Writes the generated parts of docs/COMPATIBILITY.md
	$(CARGO) test --quiet --release --locked -p hijack compatibility::write_the_page -- --ignored
	$(CARGO) run --quiet --release --locked -p integration --bin tables

soak: build ## Runs what takes minutes: storms of forks and file operations, transfers under load and over bad links, hostile clients
	$(CARGO) test --release --locked -p integration --test soak -- --nocapture
	SOAK_SECONDS=60 $(CARGO) test --release --locked -p kernel --test rings -- --nocapture
	$(CARGO) test --release --locked -p kernel --lib -- --ignored
	PROPTEST_CASES=100000 $(CARGO) test --release --locked -p kernel --test vfs_model

ROWS ?=
bench: build ## Measures against the host, side by side (docs/BENCHMARKS.md); ROWS="tcp poll" selects
	$(BIN)/bench $(ROWS)

inner: ## Measures inner parts by themselves (criterion)
	$(CARGO) bench --locked -p sysproxy -p kernel -p hijack --bench frames --bench inner --bench descriptors

goodput: ## Prints what a bulk transfer reaches over links that lose packets, against Reno's theory
	$(CARGO) test --quiet --release --locked -p kernel --test goodput -- --nocapture

lint: ## Checks formatting and clippy (warnings are errors)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

fmt: ## Formats the sources
	$(CARGO) fmt --all

doc: ## Builds the documentation of all crates
	$(CARGO) doc --no-deps --workspace

PREFIX ?= /usr/local
install: build ## Installs under PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man3
	install -m 755 $(BIN)/rump_server $(BIN)/rumphijack $(BIN)/rumpctl $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/librumphijack.so $(DESTDIR)$(PREFIX)/lib
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 docs/man/*.3 $(DESTDIR)$(PREFIX)/share/man/man3

clean: ## Removes what was built
	$(CARGO) clean
