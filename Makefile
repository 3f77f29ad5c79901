# `make run` starts a local grid, `make test` runs every test; both set themselves up.
# ARGS adds arguments: make run ARGS="--port-base 9000", make test ARGS="-k budget". Tests run two at
# a time: half of what they do is waiting. NUM_AT_ONCE=0 runs them one by one, in order.

.DEFAULT_GOAL := help
NUM_AT_ONCE ?= 2
# Six processes of a site load the same modules: compiled once, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: help run test soak lint check setup setup-run setup-ci lock proto docs clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

run: setup-run ## start a local grid and print its addresses
	@exec .venv/bin/firsthop up $(ARGS)

test: setup ## run the whole test suite
	@.venv/bin/python -m pytest -n $(NUM_AT_ONCE) --dist=loadfile $(ARGS)

soak: setup ## run the long tests that `make test` runs a part of
	@.venv/bin/python -m pytest -m soak $(ARGS)

lint: setup ## format, lint, types, import contracts, generated files
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m protos.generate --check

check: lint test ## everything that must hold: lint and the whole test suite

setup: ## the set-up that test and check start with; run needs part of it
	@sh scripts/setup.sh dev

setup-run:
	@sh scripts/setup.sh run

setup-ci: ## what some tests need beyond that, by apt and npm
	@sh scripts/setup-ci.sh

lock: ## resolve the dependencies again (needs uv)
	@sh scripts/lock.sh

proto: setup ## generate the Python code of protos/
	.venv/bin/python -m protos.generate

docs: setup ## write docs/configuration.md
	.venv/bin/firsthop config reference > docs/configuration.md

clean: ## remove everything that was set up or cached here
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		tests/clients/node/node_modules out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
