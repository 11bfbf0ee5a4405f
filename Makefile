# Every target sets up what it needs in .venv.

PYTHON ?= python3
BIN := .venv/bin
CORE := .venv/.core
READY := .venv/.ready
BARE := .venv-core
WEB := codec/web
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal
PICTURE ?= tests/data/flowers.png
KODAK ?=
MODEL ?= photo
SIZES ?= 0.4,4
PICTURES ?= 2000
PHOTOS ?= tests/data
OUT ?= runs/synthetic

.PHONY: help demo test quick test-core lint bench bench-large kinds targets man kodak weights-check vq theory train-smoke synthetic patches photograph-rates cards web web-check cluster-check throughput given clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Targets that measure on a folder of pictures ask for it.
given:
	$(if $(KODAK),,$(error name a folder of pictures: make $(MAKECMDGOALS) KODAK=FOLDER))@:

$(CORE): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable .
	touch $@

$(READY): $(CORE)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(BARE)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/python -m pip install --quiet --constraint constraints.txt --editable . \
		pytest pytest-xdist hypothesis
	touch $@

demo: $(CORE) ## compress and decompress a photograph, print bytes, bpp and PSNR
	$(BIN)/python scripts/demo.py $(PICTURE)

test: lint ## lint, types, layer contract, tests
	$(PYTEST)

quick: lint ## the same without the tests marked slow
	$(PYTEST) -m "not slow"

test-core: $(BARE)/.ready ## the tests not marked slow, without torch and all other extras
	OMP_NUM_THREADS=1 $(BARE)/bin/python -m pytest -m "not slow" --numprocesses auto \
		--dist worksteal

lint: $(READY) ## style, types and the layer contract alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## speed and memory by engine, size and threads, against AVIF and 5x5 + GDN (SIZES=0.4,4)
	$(BIN)/python -m scripts.bench --sizes $(SIZES) $(PICTURE)

bench-large: $(READY) ## time and peak memory of 100 megapixels, whole and a region
	$(BIN)/python -m scripts.bench --sizes 100 --no-classic --no-torch --no-avif $(PICTURE)

kinds: $(READY) ## a table of what becomes of each kind of input
	$(BIN)/python scripts/input_kinds.py

targets: given $(READY) ## how closely rate targets are met (MODEL=photo, KODAK=folder of the 24 pictures)
	$(BIN)/python scripts/targets.py $(KODAK) --model $(MODEL)

man: $(READY) ## manual pages, into build/man
	$(BIN)/python scripts/man.py build/man

kodak: given $(READY) ## rate-distortion with real files (KODAK=folder of the 24 pictures)
	$(BIN)/vqcodec evaluate $(KODAK) --against none

weights-check: given $(READY) ## measure again what a model's card claims (MODEL=photo, KODAK=folder)
	$(BIN)/python -m scripts.weights_check $(KODAK) --model $(MODEL)

cards: $(READY) ## tables of cards and pages from weights/*.json
	$(BIN)/python -m scripts.cards

vq: given $(READY) ## the vector-quantised model level by level, against the default (KODAK=folder)
	$(BIN)/python -m scripts.vq $(KODAK)

theory: $(READY) ## a table for each statement of the theory (KODAK=folder for file sizes)
	$(BIN)/python -m scripts.theory $(KODAK)

train-smoke: $(READY) ## train a tiny model on the test pictures in under a minute
	$(BIN)/vqcodec train tests/data --out runs/smoke --force --steps 60 --holdout 0 \
		--width 32 --latent 32 --hyper 16 --prior 16 --blocks 1,1 --cache-mib 64 --export-crops 24

synthetic: $(READY) ## drawn pictures for the training data: text, patterns, dithers (PHOTOS=folder OUT=folder)
	$(BIN)/python -m scripts.synthetic $(PHOTOS) $(OUT)

patches: $(READY) ## what patches do for drawn pictures: tables of codec/encoder/PATCHES.md (MODEL=photo)
	$(BIN)/python -m scripts.patches --model $(MODEL)

photograph-rates: $(READY) ## what photographs reach with a model, which patches depend on (MODEL=photo PHOTOS=folder)
	$(BIN)/python -m scripts.photograph_rates $(PHOTOS) --model $(MODEL)

$(WEB)/node_modules: $(WEB)/package-lock.json
	cd $(WEB) && npm ci --no-audit --no-fund --loglevel=error
	touch $@

web: $(CORE) $(WEB)/node_modules ## the reader for web pages, into codec/web/dist (needs node and npm)
	cd $(WEB) && npm run --silent build
	$(BIN)/python -m codec.web.reader_weights $(WEB)/dist/models weights/*.safetensors

web-check: $(READY) web ## compare it with the reader in Python, on some 200 files (KODAK=folder for times)
	$(BIN)/python -m tests.web_check $(KODAK)

cluster-check: $(READY) ## 2000 pictures through two Ray nodes, a worker killed, disk and S3 (PICTURES=2000 MODEL=photo)
	$(BIN)/python -m scripts.cluster_check --pictures $(PICTURES) --model $(MODEL)

throughput: given $(READY) ## batches on a cluster against -j, training data as .vqc against JPEG and WebP (KODAK=folder)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m scripts.throughput loader $(KODAK)
	$(BIN)/python -m scripts.throughput batch $(KODAK)

clean: ## remove the environment and all caches, but no runs
	rm -rf $(WEB)/node_modules $(WEB)/build $(WEB)/dist
	rm -rf .venv $(BARE) .cache .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
