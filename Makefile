# Every target sets up what it needs in .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PICTURE ?= tests/data/flowers.png
KODAK ?= ../shared/data/kodak

.PHONY: help demo test lint bench kodak vq theory train-smoke clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY) ## compress and decompress a photograph, print bytes, bpp and PSNR
	$(BIN)/python scripts/demo.py $(PICTURE)

test: lint ## lint, types, layer contract, tests
	$(BIN)/python -m pytest

lint: $(READY) ## style, types and the layer contract alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## seconds of each stage for one picture (PICTURE=...)
	$(BIN)/python scripts/bench.py $(PICTURE)

kodak: $(READY) ## rate-distortion with real files (KODAK=folder of the 24 pictures)
	$(BIN)/python scripts/kodak.py $(KODAK)

vq: $(READY) ## the vector-quantised model level by level, beside the other (KODAK=folder)
	$(BIN)/python scripts/vq.py $(KODAK)

theory: $(READY) ## the statements of the theory, a table each (KODAK=folder)
	$(BIN)/python scripts/theory.py $(KODAK)

train-smoke: $(READY) ## train a tiny model on the test pictures in under a minute
	$(BIN)/vqcodec train tests/data --out runs/smoke --force --steps 60 --holdout 0 \
		--width 32 --latent 32 --hyper 16 --prior 16 --blocks 1,1 --cache-mib 64

clean: ## remove the environment and all caches, but no runs
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
