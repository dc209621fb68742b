# make demo: the whole method on real video files.  make test: the proof.
.DEFAULT_GOAL := help
.PHONY: help venv venv-test demo test lint unit workflow-test fault-test faults bench bench-all docs sbom lock slurm-profile clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
PROFILE = $(or $(XDG_CONFIG_HOME),$(HOME)/.config)/snakemake/slurm
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

help:
	@echo "make demo   install into $(VENV), run the demo, print its headline"
	@echo "make test   install with the test extras, lint, run every test"
	@echo "make venv   the environment only"
	@echo "make faults  kill, damage and lie to it for twenty minutes; ends in a table"
	@echo "make mutants  put small faults into the package and count those that the tests notice"
	@echo "make bench  ratios of time in build/ratios.json, in minutes; make bench-all every figure of benchmarks/"
	@echo "make docs   the documentation as a site, in build/docs"
	@echo "make sbom   what is installed, as CycloneDX, in sbom.json"
	@echo "make lock   requirements.lock, the pins with hashes, after a change of constraints.txt"
	@echo "make slurm-profile  install profiles/slurm for you, so that snakemake --profile slurm finds it"
	@echo "make clean  remove results, logs and caches (keeps $(VENV))"

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hhvad needs Python >= 3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch)
	$(PIP) --editable .
	@touch $@

venv-test: $(TEST_STAMP)

$(TEST_STAMP): $(STAMP)
	$(PIP) --editable '.[test]'
	@touch $@

demo: venv
	$(RUN) snakemake --cores all
	$(RUN) snakemake --report report.zip
	@$(RUN) hhvad show-results --config config/config.yaml --report report.zip

test: venv-test lint unit workflow-test fault-test

lint: venv-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(RUN) snakefmt --check Snakefile rules workflow/Snakefile
	$(RUN) snakemake --lint
	$(BIN)/hadolint envs/Dockerfile
	$(BIN)/bandit --quiet --recursive --severity-level medium hhvad

unit: venv-test
	$(RUN) pytest --quiet --numprocesses 2 tests/unit

workflow-test: venv-test
	$(RUN) pytest --quiet --numprocesses 2 --dist loadfile tests/workflow

fault-test: venv-test
	$(RUN) pytest --quiet --numprocesses 2 --dist loadfile tests/faults

# The long form: at least 60 kills, hundreds of damaged files; ends in a table.
faults: venv-test
	$(RUN) HHVAD_FAULTS=long pytest --quiet tests/faults

# Small faults in the package, one at a time: the tests should notice. docs/mutants.md has the survivors.
mutants: venv-test
	$(RUN) OMP_NUM_THREADS=1 python tests/mutants.py

# Minutes: one JSON of ratios; `python benchmarks/moved.py OLD NEW` compares two.
bench: venv
	$(RUN) python benchmarks/ratios.py --out build/ratios.json

# Hours: every figure of benchmarks/.
bench-all: venv
	$(RUN) benchmarks/run

# The docs as a site, in build/docs: README, keys and commands beside the pages of docs/.
docs: venv-test
	$(RUN) NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

# What is installed, for those who must list it.
sbom: venv
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/pip --disable-pip-version-check install --quiet cyclonedx-bom==7.5.0
	build/sbom/bin/cyclonedx-py environment $(VENV) --output-file sbom.json

# The pins of constraints.txt with the hashes of their files. Of torch each index has other files.
lock:
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip --disable-pip-version-check install --quiet uv==0.13.9
	{ echo "# Every pin of constraints.txt but torch, whose file depends on the index, with hashes: make lock."; \
	  echo "# pip install --require-hashes --no-deps -r requirements.lock"; \
	  build/uv/bin/uv pip compile constraints.txt --quiet --no-deps --generate-hashes --no-annotate --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-package torch --python-version 3.11.7; } > requirements.lock

# What you filled in there stays yours: a profile that is there is not written over.
slurm-profile:
	@mkdir -p "$(PROFILE)"
	@if [ -e "$(PROFILE)/config.yaml" ]; then echo "kept: $(PROFILE)/config.yaml"; \
	else cp profiles/slurm/config.yaml "$(PROFILE)/" && echo "installed: $(PROFILE)/config.yaml"; fi

clean:
	rm -rf results resources logs report.zip .snakemake
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find hhvad tests rules -name __pycache__ -type d -prune -exec rm -rf {} +
