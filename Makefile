# asof: everything a fresh Debian machine with Rust on it needs is one target away.
#
# `make demo` and `make test` do their own set-up. All cargo calls share one target directory and are of one kind
# (`--release --workspace --locked`), so that RocksDB, which takes minutes, is built once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory

export CARGO_TARGET_DIR ?= $(HOME)/.cache/asof-target
CARGO_FLAGS := --release --workspace --locked
PROGRAMS := $(CARGO_TARGET_DIR)/release

# What the build needs (RocksDB is C++, its bindings are made by libclang), and what the tests use to check it.
BUILD_PACKAGES := clang libclang-dev g++ make pkg-config
TEST_PACKAGES := rsync attr acl e2fsprogs xfsprogs btrfs-progs faketime openssl tmux python3 python3-zstandard \
	python3-html5lib python3-jsonschema python3-junitparser python3-prometheus-client
BENCH_PACKAGES := restic borgbackup zstd
CAPTURE_PACKAGES := strace
STORM_PACKAGES := git nodejs npm

# Everything temporary goes below one directory, which is removed at the end, also after a failure.
# Others may pass through it: a test runs the agent as another user.
IN_TEMP := tmp=$$(mktemp -d "$${TMPDIR:-/tmp}/asof.XXXXXXXX"); chmod 755 "$$tmp"; \
	trap 'chmod -R u+rwX "$$tmp" 2>/dev/null || true; rm -rf "$$tmp"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	export TMPDIR="$$tmp";

# Benches and storms may need more room than there is in the usual place.
IN_SCRATCH := $(if $(SCRATCH),export TMPDIR="$(SCRATCH)";) $(IN_TEMP)

# $(1): Debian packages. Installs those that are missing, or says which.
INSTALL = missing=(); for package in $(1); do \
		[ "$$(dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null || true)" = installed ] || missing+=("$$package"); \
	done; \
	if [ $${\#missing[@]} -gt 0 ]; then \
		if [ "$$(id -u)" -ne 0 ]; then \
			echo "These Debian packages are missing. Install them as root, then try again:" >&2; \
			echo "    apt-get install $${missing[*]}" >&2; exit 1; \
		fi; \
		echo "Installing Debian packages: $${missing[*]}"; \
		apt-get update -q; \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$${missing[@]}"; \
	fi

.PHONY: help setup build test lint corruption demo soak bench-peers bench-watch
.DEFAULT_GOAL := help

help: ## says what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: ## installs what build and tests need, where it is missing (Debian, as root)
	@command -v cargo >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }
	@if command -v dpkg-query >/dev/null; then $(call INSTALL,$(BUILD_PACKAGES) $(TEST_PACKAGES)); else \
		for program in clang g++ pkg-config rsync setfattr setfacl; do \
			command -v "$$program" >/dev/null || { echo "$$program is missing; on Debian: $(BUILD_PACKAGES) $(TEST_PACKAGES)" >&2; exit 1; }; \
		done; fi

build: setup ## builds asofd, asof and the tools of the tests
	cargo build $(CARGO_FLAGS)

test: build ## runs all tests
	@$(IN_TEMP) cargo test $(CARGO_FLAGS)

lint: setup ## format, clippy and documentation, warnings are errors
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc $(CARGO_FLAGS) --no-deps

corruption: build ## every byte flipped, every truncation of a small journal; prints how many; SEED=n
	@$(IN_TEMP) ASOF_CORRUPTION=all $(if $(SEED),SEED="$(SEED)") cargo test $(CARGO_FLAGS) --test corruption --test repair -- --nocapture

demo: build ## shows the main job on a real tree; TREE=DIR for another one
	@$(IN_TEMP) TREE="$(TREE)" "$(PROGRAMS)/asof-demo"

.PHONY: situations
situations: build ## the five situations of the README, lived through for real, as root; CHECK=README.md compares instead
	@$(IN_TEMP) "$(PROGRAMS)/asof-situations" $(if $(CHECK),--check "$(CHECK)")

soak: build ## random histories for a while; MINUTES=30 SEED=n BACKEND=.. FILESYSTEM=all
	@tmp=$$(mktemp -d "$${TMPDIR:-/tmp}/asof-soak.XXXXXXXX"); chmod 755 "$$tmp"; status=0; \
		TMPDIR="$$tmp" MINUTES="$(MINUTES)" SEED="$(SEED)" BACKEND="$(BACKEND)" FILESYSTEM="$(FILESYSTEM)" \
		SHORT_QUEUE="$(SHORT_QUEUE)" "$(PROGRAMS)/asof-soak" || status=$$?; \
		rmdir "$$tmp" 2>/dev/null || echo "what failed is kept in $$tmp"; exit $$status

.PHONY: torture power-cuts
torture: build ## a crash or a fault at every storage operation, seed after seed; MINUTES=30 SEED=n
	@$(IN_TEMP) MINUTES="$(MINUTES)" SEED="$(SEED)" "$(PROGRAMS)/asof-torture"

power-cuts: build ## real power cuts on ext4, xfs and btrfs in loop files, as root; CUTS=200 SEED=n
	@$(IN_TEMP) CUTS="$(CUTS)" SEED="$(SEED)" "$(PROGRAMS)/asof-power-cuts"

# Asked before the build, which may take long.
.PHONY: tree-given
tree-given:
	@[ -d "$(TREE)" ] || { echo "say which tree: make bench-peers TREE=/path/to/linux-source-6.1" >&2; exit 2; }

bench-peers: tree-given build ## asof beside restic, borg and others; TREE=DIR, SCRATCH=DIR
	@if [ "$$(id -u)" -eq 0 ] && command -v dpkg-query >/dev/null; then $(call INSTALL,$(BENCH_PACKAGES)); fi
	@$(IN_TEMP) TREE="$(TREE)" SCRATCH="$(SCRATCH)" "$(PROGRAMS)/asof-bench-peers"

bench-watch: build ## the two event sources beside each other; SIZES="1000 60000"
	@$(IN_TEMP) "$(PROGRAMS)/asof-bench-watch"
.PHONY: bench-capture storm
bench-capture: build ## what capturing costs, beside its targets; TREE=DIR, SCRATCH=DIR, BACKEND=, PARTS=, SMALL=1
	@if [ "$$(id -u)" -eq 0 ] && command -v dpkg-query >/dev/null; then $(call INSTALL,$(CAPTURE_PACKAGES)); fi
	@$(IN_SCRATCH) TREE="$(TREE)" BACKEND="$(BACKEND)" PARTS="$(PARTS)" SMALL="$(SMALL)" "$(PROGRAMS)/asof-bench-capture"

# Asks for the programs: Debian's nodejs and npm are not the only ones. What is still missing then, the storm skips.
storm: build ## git, npm and cargo in a watched root, each restored exactly; SCRATCH=DIR, BACKEND=, PARTS=, SMALL=1
	@if [ "$$(id -u)" -eq 0 ] && command -v dpkg-query >/dev/null && \
		! { command -v git && command -v node && command -v npm; } >/dev/null; then \
		( $(call INSTALL,$(STORM_PACKAGES)) ) || echo "not everything could be installed: what needs it is skipped" >&2; fi
	@$(IN_SCRATCH) BACKEND="$(BACKEND)" PARTS="$(PARTS)" SMALL="$(SMALL)" "$(PROGRAMS)/asof-storm"

.PHONY: fuzz golden bench-store
# Each target gets its share of the time; as many run at once as there are processors. A failing input is printed and kept in
# tests/corpus, from where `make test` replays it ever after.
FUZZ_TARGETS := 38
fuzz: setup ## every decoder against broken input, with a new seed; MINUTES=10 SEED=n
	@export FUZZ_SEED="$${SEED:-$$(date +%s)}" FUZZ_MS=$$(( $(or $(MINUTES),10) * 60000 * $$(nproc) / $(FUZZ_TARGETS) )); \
		$(IN_TEMP) cargo test $(CARGO_FLAGS) fuzz -- --nocapture

golden: build ## writes the golden journal of a new format; those that there are stay as they are
	@$(IN_TEMP) "$(PROGRAMS)/asof-golden"

bench-store: build ## rebuild, opening and verifying, beside their targets; VERSIONS=n PARTS= SMALL=1 KEEP=DIR SCRATCH=DIR
	@$(IN_SCRATCH) VERSIONS="$(VERSIONS)" PARTS="$(PARTS)" SMALL="$(SMALL)" KEEP="$(KEEP)" "$(PROGRAMS)/asof-bench-store"

.PHONY: bench-years
bench-years: build ## years of a workstation: the journal's size over time; DAYS= FILES= SAVES= SEED= SVG=FILE KEEP=DIR SCRATCH=DIR
	@$(IN_SCRATCH) DAYS="$(DAYS)" FILES="$(FILES)" SAVES="$(SAVES)" SEED="$(SEED)" KEEP="$(KEEP)" \
		SVG="$(or $(SVG),$(CARGO_TARGET_DIR)/years.svg)" "$(PROGRAMS)/asof-bench-years"

.PHONY: bench-restore
bench-restore: build ## answers out of long histories, and a tree restored beside cp -a; TREE=DIR PARTS= SMALL=1 SCRATCH=DIR
	@$(IN_SCRATCH) TREE="$(TREE)" PARTS="$(PARTS)" SMALL="$(SMALL)" "$(PROGRAMS)/asof-bench-restore"

.PHONY: kill9 readers interrupted
interrupted: build ## restores interrupted at random moments, then finished or taken back; TIMES=200 SEED=n
	@$(IN_SCRATCH) TIMES="$(TIMES)" SEED="$(SEED)" "$(PROGRAMS)/asof-interrupted"

kill9: build ## kill -9 of the agent in a storm, each acknowledged sync restored; KILLS=500 SEED=n
	@$(IN_SCRATCH) KILLS="$(KILLS)" SEED="$(SEED)" "$(PROGRAMS)/asof-kill9"

readers: build ## commands beside a writer that seals and rebuilds, one state each; READERS=50 MINUTES=5 SEED=n
	@$(IN_SCRATCH) READERS="$(READERS)" MINUTES="$(MINUTES)" SEED="$(SEED)" "$(PROGRAMS)/asof-readers"
