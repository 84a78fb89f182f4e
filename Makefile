# Needs Python 3.11 or newer and make, nothing else: every target installs what it needs, pinned, into .venv.
PYTHON ?= python3
BIN := .venv/bin
BIN1 := .venv-duckdb1/bin
# What a version of DuckDB can make a difference to, and what is to cover the stages.
OF_DUCKDB := tests/extract tests/archive tests/transform tests/load tests/truth tests/cost tests/notebook tests/test_library.py \
	tests/security/test_query.py tests/e2e
# The Pythons that the program is for.
VERSIONS := 3.11 3.12 3.13
# Where tests find what the program itself does not need.
BESIDE := $(foreach name,duckdb1 focus core notebook delta schedulers airflow spark daft,.venv-$(name)/made)
UV := .venv-uv/bin/uv pip install --quiet --no-deps --require-hashes
PROMETHEUS := .venv-prometheus
STAGES := pipeline/extract/*,pipeline/archive/*,pipeline/transform/*,pipeline/load/*

.PHONY: help install demo test test-all soak fuzz mutate bench bench-full check audit format clean browser strace prometheus pictures

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 12

install: .venv/made ## Make .venv with the pinned versions

demo: .venv/made ## Show the complete job on a server that behaves like the real one
	@$(BIN)/pipeline demo

test: .venv/made ## Run the fast tests
	$(BIN)/python -m pytest -n 2 -m "not slow"

# Hypothesis marks its own tests.
test-all: test $(BESIDE) browser strace prometheus ## Run all tests, the properties on many more examples, and with coverage on DuckDB 1 as well
	PIPELINE_TEST_PROFILE=all PIPELINE_OTHER_PYTHON=$(CURDIR)/$(BIN1)/python \
		$(BIN)/python -m pytest -n 2 -m "slow or hypothesis or both_duckdbs"
	PIPELINE_OTHER_PYTHON=$(CURDIR)/$(BIN)/python \
		$(BIN1)/python -m pytest -n 2 -m "not slow or both_duckdbs" --cov --cov-report= $(OF_DUCKDB)
	.venv-delta/bin/python -m pytest -n 2 --cov --cov-append --cov-report= tests/load/test_delta.py tests/truth/test_delta.py
	$(BIN1)/python -m coverage report --include='$(STAGES)' --fail-under=95

# Reports are looked at in a real browser, which root gets on Debian; elsewhere these tests are skipped, and say so.
browser:
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null || command -v google-chrome > /dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq > /dev/null && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium > /dev/null; } || \
		echo "NOT CHECKED: reports in a real browser; install chromium"

# Faults below Python are made by strace, which root gets on Debian; elsewhere these tests are skipped, and say so.
strace:
	@command -v strace > /dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq > /dev/null && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq strace > /dev/null; } || \
		echo "NOT CHECKED: system calls that fail; install strace"

# Metrics and alarms are judged by Prometheus' own programs: Debian's packages, unpacked only, so that no service starts.
prometheus:
	@test -e $(PROMETHEUS)/made || { mkdir -p $(PROMETHEUS) && cd $(PROMETHEUS) && \
		apt-get download -qq prometheus prometheus-node-exporter > /dev/null 2>&1 || \
		{ apt-get update -qq > /dev/null 2>&1 && apt-get download -qq prometheus prometheus-node-exporter > /dev/null 2>&1; } && \
		for package in *.deb; do dpkg-deb -x "$$package" . || exit 1; done && rm -f *.deb && touch made; } || \
		echo "NOT CHECKED: metrics and alarms by Prometheus itself; install prometheus and prometheus-node-exporter"

soak: .venv/made strace ## Attack a data folder for hours, and write what was seen into the README (ARGS="--seed 2")
	$(BIN)/python -m tests.faults.soak $(ARGS)

fuzz: .venv-fuzz/made ## Try random pages on decoding and flattening, led by coverage (RUNS=20000)
	.venv-fuzz/bin/python tests/fuzz/fuzz_page.py -runs=$(or $(RUNS),20000)

mutate: .venv/made .venv-delta/made ## Break the program one rule at a time: the tests must notice (NAMES="'401 retried'")
	@$(BIN)/python -m tests.mutations $(NAMES)

bench: .venv/made .venv-bench/made ## Measure speed and memory in minutes, as ratios (ARGS="export --count 20000")
	@$(BIN)/python -m tests.bench $(ARGS)

bench-full: .venv/made .venv-bench/made ## Measure at the sizes that the README's table tells of: hours, 20 GB of disk
	@$(BIN)/python -m tests.bench --full $(ARGS)

pictures: .venv/made browser ## Take the README's pictures anew
	@$(BIN)/python -m tests.pictures

check: .venv/made ## Check format, style, types, layers and dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry pipeline

audit: .venv-audit/made ## Ask whether a weakness is known of anything that make installs (asks a public database)
	for file in requirements duckdb1 duckdb2 notebook delta; do \
		.venv-audit/bin/pip-audit --disable-pip --require-hashes -r configs/$$file.txt || exit 1; done

format: .venv/made ## Put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove what was made
	rm -rf .venv .venv-* demo-data bench.json

.venv/made: pyproject.toml configs/requirements.txt configs/duckdb2.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r configs/requirements.txt -r configs/duckdb2.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# What the tests need besides is many packages, which uv installs in seconds instead of minutes.
.venv-uv/made: configs/uv.txt
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r configs/uv.txt
	touch $@

.venv-duckdb1/made: .venv-uv/made pyproject.toml configs/requirements.txt configs/duckdb1.txt
	$(PYTHON) -m venv .venv-duckdb1
	$(UV) --python $(BIN1)/python -r configs/requirements.txt -r configs/duckdb1.txt
	$(BIN1)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# The peers that the benchmarks compare with; they know nothing of this project.
.venv-bench/made: configs/bench.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r configs/bench.txt
	touch $@

# The core alone, for the wheel, on every Python that it is for and that is found here.
.venv-core/made: .venv-uv/made configs/runtime.txt
	@rm -rf .venv-core; mkdir .venv-core; for version in $(VERSIONS); do \
		for python in $(PYTHON) python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version*/bin/python3; do \
			"$$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2> /dev/null || continue; \
			"$$python" -m venv .venv-core/$$version || exit 1; \
			$(UV) --python .venv-core/$$version/bin/python -r configs/runtime.txt || exit 1; \
			continue 2; \
		done; echo "NOT CHECKED: the wheel on Python $$version, which is not found"; \
	done; touch $@

# The official FOCUS validator needs a Python 3.12: PYTHON312, or one that is found. Without one its test is skipped.
.venv-focus/made: .venv-uv/made configs/focus.txt
	@rm -rf .venv-focus; \
	for python in $(PYTHON312) python3.12 $(PYTHON) "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.12*/bin/python3; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2> /dev/null || continue; \
		echo "the FOCUS validator runs on $$python"; \
		"$$python" -m venv .venv-focus && $(UV) --python .venv-focus/bin/python -r configs/focus.txt && touch $@; exit; \
	done; \
	echo "NOT CHECKED: FOCUS files by the official validator, which needs Python 3.12; name one: make PYTHON312=…"

# The notebook as its readers run it: with our own libraries as pinned, and those that they bring.
.venv-notebook/made: .venv-uv/made pyproject.toml configs/requirements.txt configs/duckdb2.txt configs/notebook.txt
	$(PYTHON) -m venv .venv-notebook
	$(UV) --python .venv-notebook/bin/python -r configs/requirements.txt -r configs/duckdb2.txt -r configs/notebook.txt
	.venv-notebook/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Delta tables, with a reader of theirs and a server that speaks S3.
.venv-delta/made: .venv-uv/made pyproject.toml configs/requirements.txt configs/duckdb2.txt configs/delta.txt
	$(PYTHON) -m venv .venv-delta
	$(UV) --python .venv-delta/bin/python -r configs/requirements.txt -r configs/duckdb2.txt -r configs/delta.txt
	.venv-delta/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Spark beside our own libraries as pinned: PySpark is 450 MB, and built from its source archive. It runs on Java, which
# root gets on Debian; without one its tests are skipped, and say so.
.venv-spark/made: .venv-uv/made pyproject.toml configs/requirements.txt configs/duckdb2.txt configs/spark.txt
	@command -v java > /dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq > /dev/null && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openjdk-17-jre-headless > /dev/null; } || \
		echo "NOT CHECKED: pipeline.spark; install Java 17 or 21"
	$(PYTHON) -m venv .venv-spark
	$(UV) --python .venv-spark/bin/python -r configs/requirements.txt -r configs/duckdb2.txt -r configs/spark.txt
	.venv-spark/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# What runs the recipes of configs/: they are tried in the schedulers and engines themselves, whose packages are many.
.venv-schedulers/made .venv-airflow/made .venv-daft/made: .venv-%/made: configs/%.txt .venv-uv/made
	$(PYTHON) -m venv .venv-$*
	$(UV) --python .venv-$*/bin/python -r configs/$*.txt
	touch $@

.venv-audit/made: configs/audit.txt
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check -r configs/audit.txt
	touch $@

.venv-fuzz/made: pyproject.toml configs/requirements.txt configs/duckdb2.txt configs/fuzz.txt
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		-r configs/requirements.txt -r configs/duckdb2.txt -r configs/fuzz.txt
	.venv-fuzz/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
