# Every verb sets up what it needs, once. What each does is in tools/.
PYTHON ?= python3
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-cluster check fmt bench chaos fuzz soak screenshot build image clean docs crds chart manifests workflows lock

help: ## print the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' $(MAKEFILE_LIST) | awk '{printf "  %s %-13s", $$1, $$2; $$1=$$2=""; print $$0}'

run: ## serve the wall with live data of this machine at http://127.0.0.1:8080/
	@$(PYTHON) -m tools run $(ARGS)

test: ## run every check and every test
	@$(PYTHON) -m tools test $(ARGS)

test-cluster: ## run the tests that need a Kubernetes, on one that is made for them
	@$(PYTHON) -m tools test-cluster $(ARGS)

check: ## run the linters and the type checkers
	@$(PYTHON) -m tools check

fmt: ## format the code
	@$(PYTHON) -m tools fmt

bench: ## measure the figures of docs/benchmarks.md
	@$(PYTHON) -m tools bench $(ARGS)

chaos: ## break the engine and compare every cell: SEEDS=n SECONDS=s BROKER=kafka|embedded
	@$(PYTHON) -m tools chaos $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(BROKER),--broker $(BROKER)) $(ARGS)

fuzz: ## give the gateway a million inputs of any bytes: INPUTS=n SEED=n
	@$(PYTHON) -m tools fuzz $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: ## keep a gateway under a crowd that comes and goes, and see that its memory stays flat: MINUTES=n
	@$(PYTHON) -m tools soak $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

screenshot: ## take the README's picture of the wall
	@$(PYTHON) -m tools screenshot $(ARGS)

build: ## install the packages and build the wall
	@$(PYTHON) -m tools build

image: ## build the container image, with Docker, Podman or Buildah: ARGS="--tag NAME --output FILE"
	@$(PYTHON) -m tools image $(ARGS)

clean: ## remove all that the verbs have made
	@$(PYTHON) -m tools clean

docs: ## write docs/settings.md from the settings classes
	@$(PYTHON) -m tools docs

crds: ## write the definitions of the custom resources from the contract
	@$(PYTHON) -m tools crds

chart: ## write the chart's schema from its values
	@$(PYTHON) -m tools chart

manifests: ## write deploy/k8s and the Grafana dashboard
	@$(PYTHON) -m tools manifests

workflows: ## read the workflows of .github for faults, with zizmor and actionlint
	@$(PYTHON) -m tools workflows

lock: ## write the locks from pyproject.toml
	@$(PYTHON) -m tools lock
