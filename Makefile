# The course's two commands are `make lab` and `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv/bin
# JupyterLab refuses to start as root unless told that it is meant (containers).
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)
FIRST := notebooks/00_start_here.ipynb
BUILD := build
# Tests that take minutes each, and have commands of their own.
CLASS := $(addprefix tests/,test_sandbox.py test_grading.py test_nbgrader.py test_class.py)
WHEEL := tests/test_installation.py
# Progress bars are for people.
test check class wheel long: export TQDM_DISABLE = 1
# What tests solve is nobody's progress.
test check class wheel long: export TINYLAB_PROGRESS = off

.DEFAULT_GOAL := help
.PHONY: help lab test class wheel long browser bench results networks colab oldest newest check check-style install install-test exercises badges outputs constraints pages site links clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 20

lab: install ## install what is missing and open the course in JupyterLab
	@# PATH, so that JupyterLab's terminals and kernels find the command tinylab
	PATH="$(CURDIR)/$(VENV):$$PATH" $(VENV)/jupyter lab $(AS_ROOT) --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/$(FIRST) $(LAB_FLAGS)

test: check-style ## install what is missing, run the tests and every notebook
	$(VENV)/pytest -n 2 --dist loadfile -m "not long" --doctest-modules tests tinylab
	$(VENV)/pytest -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks exercises solutions

class: install-test ## the grader: its wall, nbgrader's course, a made-up class of 113, ten kills
	$(VENV)/pytest -v -s $(CLASS)

wheel: install-test ## the wheel in Colab's versions, and two lessons alone in it (TINYLAB_EVERY=1 for all)
	$(VENV)/pytest -v $(WHEEL)

long: install-test ## what else `make test` leaves out: further cases, mistakes, networks
	$(VENV)/pytest -n 2 --dist loadfile -m long $(addprefix --ignore=,$(CLASS) $(WHEEL)) tests

bench: export TQDM_DISABLE = 1
bench: install-test ## measure all that the course states, and write it down (PART=engine for one part, printed only)
	$(VENV)/python -m tests.bench $(PART)

results: install-test ## make the pages from docs/results.json, after changes in lessons or claims
	$(VENV)/python -m tests.bench pages

browser: install-test ## every lesson in JupyterLab in headless Chromium (TINYLAB_SCREENSHOTS=folder leaves pictures there)
	TINYLAB_EVERY=1 $(VENV)/pytest -v tests/test_browser.py

networks: install-test ## compare the integer engine with LiteRT on thousands of random networks (an hour)
	TINYLAB_NETWORKS=4000 $(VENV)/pytest -q -n 2 tests/test_integer_networks.py

colab: install-test ## every lesson alone in Colab's versions, installed by its own first cell (LESSONS="05 06" for some)
	$(VENV)/python -m tests.environments colab $(LESSONS)

oldest: install-test ## the same in the oldest versions that the course admits
	$(VENV)/python -m tests.environments oldest $(LESSONS)

newest: install-test ## the same in the newest versions there are
	$(VENV)/python -m tests.environments newest $(LESSONS)

check: check-style ## the quick loop: lint, unit tests, structure of the notebooks
	$(VENV)/pytest -q -n 2 --dist loadfile -m "not slow and not long" --doctest-modules tests tinylab

check-style: install-test
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

install:
	@command -v $(PYTHON) >/dev/null || { echo "tinylab: no $(PYTHON) here; install Python 3.11, 3.12 or 3.13."; exit 1; }
	@$(PYTHON) bootstrap.py lab

install-test:
	@command -v $(PYTHON) >/dev/null || { echo "tinylab: no $(PYTHON) here; install Python 3.11, 3.12 or 3.13."; exit 1; }
	@$(PYTHON) bootstrap.py test

exercises: install-test ## make exercises/ from solutions/
	$(VENV)/python -m tinylab.authoring exercises

badges: install-test ## write the repository's address into badges and set-up cells
	$(VENV)/python -m tinylab.authoring badges

outputs: install-test ## run every notebook and store its outputs (NB=path for one)
	$(VENV)/python -m tinylab.authoring outputs $(NB)

constraints: ## pin the newest versions that fit together, and the oldest (needs uv)
	uv pip compile pyproject.toml --all-extras --universal --upgrade --no-header --no-annotate -o constraints.txt
	@# with Colab's IPython: a newer one wants a newer psutil; promise has no wheel
	echo "ipython==7.34.0" | uv pip compile pyproject.toml - --resolution lowest-direct --python-version 3.11 --upgrade \
		--only-binary :all: --no-binary promise --no-annotate --custom-compile-command "make constraints" \
		-o tests/environments/oldest.txt

pages: install-test
	rm -rf $(BUILD)/pages $(BUILD)/site && mkdir -p $(BUILD)/pages
	cp -R README.md CONTRIBUTING.md CHANGELOG.md docs notebooks exercises solutions $(BUILD)/pages
	mv $(BUILD)/pages/docs/index.md $(BUILD)/pages

site: pages ## build the course as web pages: open build/site/index.html
	$(VENV)/sphinx-build --quiet -W --keep-going -E -c docs -d $(BUILD)/doctrees $(BUILD)/pages $(BUILD)/site

links: pages ## ask the network whether the links of the site that leave it still lead somewhere
	$(VENV)/sphinx-build --quiet -b linkcheck -c docs -d $(BUILD)/doctrees $(BUILD)/pages $(BUILD)/links

clean: ## remove the environment and what builds and tests left behind
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis notebooks/saved_model notebooks/debugging notebooks/microcontroller notebooks/*.tflite
