# The commands of the README; .ci/run calls the same ones. `make` alone explains them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Outside the checkout, so that a fresh clone reuses what took long: llama.cpp's build and the models.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/leafresh/target
MODELS ?= $(HOME)/.cache/leafresh/models
PEERS ?= $(HOME)/.cache/leafresh/peers
PYTHON ?= python3

# One profile for everything: another one would build llama.cpp again.
BINARY := $(CARGO_TARGET_DIR)/release/leafresh
DEFAULT_MODEL := gemma-3-270m-Q4_K_M.gguf
EMBEDDING_MODEL := multilingual-e5-small-Q4_0.gguf

# The tests load their models from here; somebody's own folder counts.
export LEAFRESH_TEST_MODELS ?= $(abspath $(MODELS))
# And the clients that setup installs for them from here.
export LEAFRESH_TEST_CLIENTS ?= $(HOME)/.cache/leafresh/clients
# cargo and what it installs, even where the shell's profile doesn't name the folder.
export PATH := $(PATH):$(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin

# A build for this machine's own processor would hold llama.cpp's AMX kernels where the processor lists AMX; they crash on
# virtual machines that list it but may not use it.
ifneq ($(findstring target-cpu,$(RUSTFLAGS)),)
export CFLAGS += -U__AMX_INT8__
export CXXFLAGS += -U__AMX_INT8__
endif

# For arm64 llama.cpp would be built without the products of bytes that processors since 2018 have.
ifeq ($(shell uname -s -m),Linux aarch64)
ifneq ($(shell grep -m1 -ow asimddp /proc/cpuinfo),)
export CMAKE_PROJECT_INCLUDE ?= $(CURDIR)/scripts/arm64.cmake
endif
endif

say = @echo "==> $(1)"

.PHONY: help install setup setup-test build model default-model embedding-model run test bench eval soak lint deny test-scripts test-rust fmt

help: ## show this
	@echo "Usage: make TARGET [NAME=VALUE ...]"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  LISTEN=ADDR:PORT  run: where to listen          MODEL=FILE.gguf  run: another model"
	@echo "  MODELS=DIR        where models are kept, now $(MODELS)"
	@echo "  EVAL=DIR          eval: where reports are written, now $(EVAL)"
	@echo "  CARGO_TARGET_DIR  where builds are kept, now $(CARGO_TARGET_DIR)"

run: setup build $(if $(MODEL),,default-model) embedding-model ## from a bare machine to a running server
	$(call say,starting the server (Ctrl-C stops it))
	@exec $(BINARY) serve --model "$(or $(MODEL),$(MODELS)/$(DEFAULT_MODEL))" \
		--embedding-model "$(MODELS)/$(EMBEDDING_MODEL)" $(if $(LISTEN),--listen "$(LISTEN)")

test: setup-test model lint deny test-scripts test-rust ## every check there is: format, lints, licences, tests
	$(call say,all checks passed)

# Where the reports go; the last lines are the goals.
EVAL ?= $(CARGO_TARGET_DIR)/eval

eval: build model ## how good the default model's answers are, with reports in EVAL
	$(call say,evaluation; reports in $(EVAL))
	@mkdir -p "$(EVAL)"
	@$(BINARY) bench search --embedding-model "$(MODELS)/$(EMBEDDING_MODEL)" | tee "$(EVAL)/search.txt"
	@$(BINARY) eval --model "$(or $(MODEL),$(MODELS)/$(DEFAULT_MODEL))" \
		--json "$(EVAL)/eval.json" --markdown "$(EVAL)/eval.md" --html "$(EVAL)/eval.html"
	@grep -E "^goal (indexing|search)_" "$(EVAL)/search.txt"

# Where `make install` puts things; DESTDIR stands before it while a package is made.
PREFIX ?= /usr/local
SHARE := $(DESTDIR)$(PREFIX)/share

install: build ## the server, its manual pages and completions below PREFIX (DESTDIR)
	$(call say,installing below $(DESTDIR)$(PREFIX))
	@install -Dm755 "$(BINARY)" "$(DESTDIR)$(PREFIX)/bin/leafresh"
	@mkdir -p "$(SHARE)/man/man1"
	@"$(BINARY)" man "$(SHARE)/man/man1"
	@mkdir -p "$(SHARE)/bash-completion/completions" "$(SHARE)/zsh/site-functions" "$(SHARE)/fish/vendor_completions.d"
	@"$(BINARY)" completions bash > "$(SHARE)/bash-completion/completions/leafresh"
	@"$(BINARY)" completions zsh > "$(SHARE)/zsh/site-functions/_leafresh"
	@"$(BINARY)" completions fish > "$(SHARE)/fish/vendor_completions.d/leafresh.fish"

setup: ## install the build tools that are missing
	$(call say,build tools)
	@scripts/setup.sh

setup-test:
	$(call say,build and test tools)
	@scripts/setup.sh --test

build: ## build the server and print where it is
	$(call say,building the server (llama.cpp takes minutes the first time))
	@cargo build --locked --release --bin leafresh
	@echo "$(BINARY)"

model: ## fetch the small models, for running and for tests
	$(call say,models in $(MODELS))
	@$(PYTHON) scripts/fetch_models.py --dir "$(MODELS)"

default-model:
	$(call say,model in $(MODELS))
	@$(PYTHON) scripts/fetch_models.py --dir "$(MODELS)" --only "$(DEFAULT_MODEL)"

embedding-model:
	@$(PYTHON) scripts/fetch_models.py --dir "$(MODELS)" --only "$(EMBEDDING_MODEL)"

bench: setup build default-model ## measure beside llama.cpp's server; QUICK=1 in ten minutes, PYTHON_STACK=1 more peers, PARTS=…
	$(call say,benchmark: leave the machine alone meanwhile)
	@$(PYTHON) scripts/bench.py --leafresh "$(BINARY)" --model "$(or $(MODEL),$(MODELS)/$(DEFAULT_MODEL))" \
	  --peers "$(PEERS)" --out "$(CARGO_TARGET_DIR)/bench" $(if $(QUICK),--quick) $(if $(PYTHON_STACK),--python-stack) $(if $(PARTS),--parts $(PARTS))

# What takes longer than a test may: ten minutes of chaos, a crowd, fifty deaths of the engine, long cuts of the network,
# long fuzzing. SOAK_SECONDS=60 shortens the chaos, SOAK_ONLY=crowd,kills chooses parts of
# refusals,leaving,kills,crowd,chaos,browser,fuzz.
soak: setup-test model ## half an hour of readers, faults and killed engines; ends with one line per goal
	$(call say,soak (SOAK_SECONDS and SOAK_ONLY shorten it))
	@cargo test --locked --release --workspace --no-run
	@chosen() { [[ -z "$(SOAK_ONLY)" || ",$(SOAK_ONLY)," == *",$$1,"* ]]; }; suites=; \
	if chosen browser; then failed=0; \
	  LEAFRESH_TEST_CUTS=5,12 cargo test --locked --release --workspace --test browser network:: || failed=1; \
	  suites="$$suites browser=$$failed"; fi; \
	if chosen fuzz; then failed=0; \
	  PROPTEST_CASES=20000 cargo test --locked --release --workspace fuzz_ || failed=1; \
	  suites="$$suites fuzz=$$failed"; fi; \
	SOAK=full SOAK_ONLY="$(SOAK_ONLY)" SOAK_SUITES="$$suites" cargo test --locked --release --workspace --test soak

fmt: ## format the Rust code
	$(call say,formatting)
	@cargo fmt --all

lint: ## check format, directions between crates and modules, and lints
	$(call say,format)
	@cargo fmt --all --check
	$(call say,directions and circles)
	@$(PYTHON) scripts/check_directions.py
	@$(PYTHON) scripts/check_circles.py
	$(call say,lints)
	@cargo clippy --locked --release --workspace --all-targets -- -D warnings

deny:
	$(call say,licences and sources of the dependencies)
	@cargo deny --locked --log-level error check bans licenses sources

test-scripts:
	$(call say,tests of the scripts)
	@$(PYTHON) -m unittest discover --quiet --start-directory scripts/tests

test-rust:
	$(call say,tests)
	@cargo test --locked --release --workspace
