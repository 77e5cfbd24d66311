# Two commands for everybody: `make demo` and `make test`. Needs Python 3.11, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := .tools/lowest
WHEEL := .tools/wheel

# Meltano, and the taps that the tests try, each in an environment of its own.
TOOLS := $(CURDIR)/.tools
UV := $(TOOLS)/uv/bin/uv
MELTANO := $(TOOLS)/bin/meltano
MELTANO_REQUIREMENT := meltano~=4.4
TAPS := $(TOOLS)/.taps-ready
# Its sources contain tap-csv, which is not on PyPI by itself.
SDK := singer_sdk-0.54.9
AS_TOOL = UV_TOOL_DIR=$(TOOLS) UV_TOOL_BIN_DIR=$(TOOLS)/bin $(UV) tool install --quiet --no-config --python $(PYTHON)

# What `meltano install` makes of meltano.yml.
DEMO_READY := .meltano/.ready
DEMO_BIN := .meltano/loaders/target-mainbrainer/venv/bin
SANDBOX := output/sandbox.db

# Settings of the caller's would reach the demo, and a real account with it.
unexport $(filter TARGET_MAINBRAINER_% TAP_% MELTANO_%,$(.VARIABLES))

.DEFAULT_GOAL := help
.PHONY: help demo page test lint types docs tests system lowest wheel sbom bench mutants years format clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(UV):
	$(PYTHON) -m venv $(TOOLS)/uv
	$(TOOLS)/uv/bin/python -m pip install --quiet uv

$(READY): pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --editable '.[sandbox,postgres]' --group dev
	@touch $@

$(MELTANO): | $(UV)
	$(AS_TOOL) '$(MELTANO_REQUIREMENT)'

$(TAPS): tests/taps.txt | $(UV)
	grep -v '^#' tests/taps.txt | while read -r tap; do $(AS_TOOL) "$$tap" || exit 1; done
	$(TOOLS)/uv/bin/python -m pip download --quiet --no-deps --no-binary singer-sdk --dest $(TOOLS) $(subst _sdk-,-sdk==,$(SDK))
	tar -xzf $(TOOLS)/$(SDK).tar.gz -C $(TOOLS)
	$(AS_TOOL) --no-sources $(TOOLS)/$(SDK)/packages/meltano-tap-csv
	@touch $@

$(DEMO_READY): meltano.yml pyproject.toml | $(MELTANO)
	$(MELTANO) install tap-spreadsheets target-mainbrainer
	@touch $@

demo: $(DEMO_READY) ## Load sample contacts through Meltano into a sandbox, and show them
	@mkdir -p output && rm -f output/rejects.singer
	$(MELTANO) --environment=sandbox run --full-refresh contacts
	@echo
	@echo "The contacts in $(SANDBOX):"
	@echo
	@$(DEMO_BIN)/mainbrainer-sandbox contacts --path $(SANDBOX)
	@echo
	@$(DEMO_BIN)/python demo/summary.py output/report.json output/rejects.singer
	@echo "Look at them in a browser: make page"

page: ## Show the sandbox of the demo in a browser, also while a demo runs
	@test -f $(SANDBOX) || { echo "There is nothing to show yet. Run 'make demo' first."; exit 1; }
	$(DEMO_BIN)/mainbrainer-sandbox page --path $(SANDBOX)

test: lint types docs tests ## Everything that CI checks

lint: $(READY) ## Style, format, spelling, declared imports, safe workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/deptry .
	$(BIN)/typos
	$(BIN)/zizmor --offline --quiet .github

types: $(READY) ## Static types
	$(BIN)/mypy

docs: $(READY) ## Whether the generated documents show the settings as they are
	$(BIN)/python tools/reference.py --check

tests: $(READY) $(MELTANO) $(TAPS) system ## The tests
	$(BIN)/pytest -n auto --dist worksteal

system: ## PostgreSQL, for the tests that need it
	@.ci/system

lowest: | $(UV) ## The tests with the lowest versions that pyproject.toml allows
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(LOWEST)
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[sandbox,postgres]' --group test
	$(LOWEST)/bin/pytest -n auto --dist worksteal --ignore tests/end_to_end

wheel: | $(UV) ## The tests against the built wheel; the source is not there
	rm -rf $(WHEEL)
	$(UV) build --quiet --python $(PYTHON) --out-dir $(WHEEL)/dist
	tar -xzf $(WHEEL)/dist/*.tar.gz -C $(WHEEL) --strip-components 1
	rm -r $(WHEEL)/target_mainbrainer $(WHEEL)/mainbrainer_sandbox
	$(UV) venv --quiet --python $(PYTHON) $(WHEEL)/venv
	$(UV) pip install --quiet --python $(WHEEL)/venv/bin/python --group test "$$(echo $(WHEEL)/dist/*.whl)[sandbox,postgres]"
	cd $(WHEEL) && venv/bin/pytest -n auto --dist worksteal $(or $(ONLY),tests --ignore tests/end_to_end)

sbom: | $(UV) ## What a wheel in dist/ brings with it, as dist/sbom.cdx.json
	$(UV) venv --quiet --clear --python $(PYTHON) .tools/sbom
	$(UV) pip install --quiet --python .tools/sbom/bin/python "$$(echo dist/*.whl)[sandbox,postgres]"
	$(UV) tool run --quiet --from "$$(sed -n 's/^sbom = \["\(.*\)"\]/\1/p' pyproject.toml)" \
	  cyclonedx-py environment --output-reproducible --output-file dist/sbom.cdx.json .tools/sbom/bin/python

bench: $(READY) ## How fast it is (an hour); ONLY="start grid sharing" for parts of it
	$(BIN)/python -m benchmarks --only "$(ONLY)" --runs $(or $(RUNS),3)

mutants: $(READY) ## Which faults in the code no test finds; ONLY=mapping SAMPLE=150 SEED=1 BY=years/test_years.py
	$(UV) pip install --quiet --python $(BIN)/python --group mutants
	$(BIN)/python tools/mutants.py --only "$(ONLY)" --sample $(or $(SAMPLE),150) --seed $(or $(SEED),1) --by "$(BY)"

years: $(READY) ## Simulate years of nights with faults from a seed; SEED=1 NIGHTS=365 YEARS=10 LEDGER=postgresql
	PYTHONHASHSEED=0 $(BIN)/python -m tests.years.simulate $(or $(SEED),1) --nights $(or $(NIGHTS),365) --years $(or $(YEARS),1) --only "$(ONLY)" --ledger "$(LEDGER)"

format: $(READY) ## Bring the code and what is generated into format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/reference.py

clean: ## Remove what make has made
	rm -rf $(VENV) $(TOOLS) .meltano output build dist
