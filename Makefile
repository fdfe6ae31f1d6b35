# Everything a fresh machine needs to do, by name. Rust, a C compiler and, for the engine's weights
# and data, Python with pip are all that is asked for.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

CARGO ?= cargo
EXPERIMENT := experiments/paper-e2e.toml
RESULTS := results/paper-e2e
# Of `make serve-load`, for each of three methods in two loops.
MINUTES := 4
LENGTHS := device-profiles/quality/smollm2-135m-instruct/score-head.tokens.csv

.PHONY: help
help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: reproduce
reproduce: ## Replay the study's comparison: table on the terminal, figures in results/paper-e2e
	@$(CARGO) run --profile quick --locked -- run $(EXPERIMENT)
	echo "figures and numbers: $(RESULTS)"

.PHONY: traces
traces: ## Make the traces of the study's six apps again: traces/paper-alpha*.csv
	@for alpha in 0 0.25 -0.25; do
		$(CARGO) run --release --locked -- trace synth --alpha=$$alpha --items $(LENGTHS) --out traces/paper-alpha$$alpha.csv
	done

.PHONY: quick
quick: ## Formatting, lints and unit tests of the core: what one runs all day
	@$(CARGO) fmt --check
	$(CARGO) clippy --locked --lib --bins -- -D warnings
	$(CARGO) test --locked --lib -- --quiet

.PHONY: test
test: ## Fetch what the engine needs and run every test; name those that were slow or could not run
	@mkdir -p target
	$(CARGO) test --locked --no-run --features engine,serve
	if target/debug/pliant assets fetch; then ignored="--include-ignored --skip soak_"; else ignored=; fi
	clients=target/serve-clients
	if python3 -m venv $$clients/venv && $$clients/venv/bin/pip install --quiet openai; then
		export PLIANT_OPENAI_PYTHON=$$clients/venv/bin/python
	fi
	if npm install --silent --no-fund --no-audit --prefix $$clients/npm openai; then
		export PLIANT_OPENAI_NODE=$$clients/npm
	fi
	status=0
	$(CARGO) test --locked --no-fail-fast --features engine,serve -- $$ignored | .ci/timed | tee target/test.log || status=$$?
	.ci/skipped target/test.log
	exit $$status

.PHONY: lint
lint: ## Formatting, clippy with and without the engine, documentation: no warnings
	@$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features engine,serve -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --features engine,serve

.PHONY: test-python
test-python: ## Install the Python package into target/python-venv, then its tests, its types, its style
	@if ! python3 -m venv target/python-venv; then
		echo "SKIPPED test-python: needs python3 with venv and pip"
		exit 0
	fi
	pip="target/python-venv/bin/python -m pip install --quiet"
	if ! $$pip pytest mypy ruff numpy pandas gymnasium nbclient ipykernel matplotlib pdoc maturin; then
		echo "SKIPPED test-python: needs packages that pip did not get"
		exit 0
	fi
	$$pip ray snakemake || echo "SKIPPED tests of Ray and Snakemake: needs packages that pip did not get"
	$(MAKE) --no-print-directory wheel
	$$pip --force-reinstall --no-deps dist/pliant-*.whl
	.ci/wheel
	cd python
	../target/python-venv/bin/python -m pytest -q
	../target/python-venv/bin/python -m mypy
	../target/python-venv/bin/python -m ruff check .
	../target/python-venv/bin/python -m ruff format --check .

.PHONY: bench-python
bench-python: ## Decisions and steps a second of the Python package that make test-python installed
	@target/python-venv/bin/python python/bench.py

.PHONY: python-docs
python-docs: ## The API reference of the Python package that make test-python installed: target/python-docs
	@target/python-venv/bin/python -m pdoc --docformat google --output-directory target/python-docs pliant pliant.gym

.PHONY: wheel
wheel: ## A wheel of the Python package for this machine: dist/
	@python3 -m venv target/python-venv
	target/python-venv/bin/python -m pip install --quiet maturin
	rm -f dist/pliant-*.whl
	cd python
	../target/python-venv/bin/maturin build --release --locked --out ../dist

.PHONY: dist
dist: ## What is published: wheel, sdist, crate file, licences, bill of materials, checksums: dist/
	@rm -rf dist
	$(MAKE) --no-print-directory wheel
	target/python-venv/bin/python -m pip install --quiet cyclonedx-python-lib
	(cd python && ../target/python-venv/bin/maturin sdist --out ../dist)
	$(CARGO) package --locked --no-verify --target-dir target/dist
	cp target/dist/package/pliant-*.crate dist/
	target/python-venv/bin/python .ci/dependencies dist
	(cd dist && sha256sum -- * > SHA256SUMS)
	ls -l dist

.PHONY: soak-ray
soak-ray: ## Kill 20 workers of a local Ray in mid-run, after make test-python: every hash is that of one machine
	@cd python
	PLIANT_RAY_KILLS=20 ../target/python-venv/bin/python -m pytest -q -s -m soak

.PHONY: cost
cost: ## What 100,000 cells of ten million requests cost, from shards timed here
	@target/python-venv/bin/python python/cost.py experiments/choosers.toml

.PHONY: soak
soak: ## Property tests and broken bodies at many times their cases, 200 kills at random moments, clients for half an hour, optimised
	@PROPTEST_CASES=25600 $(CARGO) test --locked --release
	PLIANT_FUZZ=100000 $(CARGO) test --locked --release --features serve --lib whatever_a_body
	PLIANT_SOAK_MINUTES=30 $(CARGO) test --locked --release --features serve --test it -- --ignored --nocapture soak_
	$(CARGO) run --release --locked --features engine,serve -- assets fetch
	PLIANT_KILLS=25 $(CARGO) test --locked --release --features engine,serve --test it -- --include-ignored killed
	$(MAKE) --no-print-directory test-python soak-ray

.PHONY: serve-load
serve-load: ## Serve six apps under load by three methods, MINUTES each and loop, and simulate the days: results/serve-load
	@$(CARGO) build --release --locked --features engine,serve
	seconds=$$(awk 'BEGIN { printf "%d", 60 * $(MINUTES) }')
	target/release/pliant serve-load --seconds $$seconds --force

.PHONY: bench
bench: ## How near the replay is to its limit, other simulators beside it: results/bench
	@mkdir -p target
	peers=(--release --locked --manifest-path benches/peers/Cargo.toml --target-dir target/peers)
	if $(CARGO) build --quiet "$${peers[@]}"; then
		export PLIANT_PEERS=$$PWD/target/peers/release/peers
	fi
	if python3 -m venv target/bench-venv && target/bench-venv/bin/pip install --quiet simpy; then
		export PLIANT_SIMPY=$$PWD/target/bench-venv/bin/python
	fi
	$(CARGO) bench --locked --bench limits -- --out results/bench

.PHONY: bench-llama
bench-llama: ## llama.cpp, which pip builds, beside the engine on the same weights: results/bench/llama.csv (idle machine, a quarter of an hour)
	@$(CARGO) build --release --locked --features engine,serve
	target/release/pliant assets fetch
	python3 -m venv target/llama-venv
	target/llama-venv/bin/pip install --quiet llama-cpp-python
	target/llama-venv/bin/python benches/peers/llama.py

.PHONY: fidelity
fidelity: ## Profile this machine, answer 40 requests of each method five times over, compare: results/fidelity (idle machine, three quarters of an hour)
	@$(CARGO) build --release --locked --features engine,serve
	pliant=target/release/pliant
	$$pliant assets fetch
	mkdir -p results/fidelity
	$$pliant profile latency --device fidelity --out target/fidelity/device --repetitions 3 --without-memory --families \
		width,width-relayout,width-lora,zoo,layer-removal,contextual,layer-merge,layer-influence,attn-drop
	$$pliant elastify tlm profile --device fidelity --out target/fidelity/device --name width-lora-score-head
	for repeat in 1 2 3 4 5; do
		$$pliant run experiments/fidelity.toml --executor engine --out target/fidelity/run-$$repeat > /dev/null
	done
	$$pliant profile pauses --device fidelity --out target/fidelity/device --repetitions 3
	cp target/fidelity/device/device.toml results/fidelity/device.toml
	$$pliant fidelity target/fidelity/run-* --device target/fidelity/device --out results/fidelity/fidelity.csv

.PHONY: claims
claims: ## Run the experiments behind docs/claims.md anew, and compare every number
	@$(CARGO) build --release --locked
	for name in $$(target/release/pliant claims --experiments); do
		target/release/pliant run experiments/$$name.toml --out target/claims/$$name > /dev/null
	done
	target/release/pliant claims --results target/claims --committed results

.PHONY: readme
readme: ## Put the numbers of results/ into README.md and docs/
	@$(CARGO) run --release --locked -- claims --write docs/claims.md
	NUMBERS=overwrite $(CARGO) test --locked --test it numbers
