# Run "make" for a list of what there is. Everything builds into bin/ and touches nothing outside the checkout, except
# what scripts/install-lab.sh says it does.
.DEFAULT_GOAL := help
.PHONY: help build demo test fuzz bench soak lab lint install-lab clean

GO      ?= go
# Engines and namespaces share the machine's cores with the tests: more packages at once than two only makes each slower.
TESTS   ?= ./...
FUZZTIME ?= 1m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LINTER  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# The version is set below; asking git again fails in checkouts of another user.
export GOFLAGS += -buildvcs=false
# Go's usual place, for shells that do not look there.
export PATH := $(PATH):/usr/local/go/bin

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/clara-push, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o bin/clara-push ./cmd/clara-push

demo: install-lab build ## push an image and a model to a lab host, change them, push again; run the one, take the other back
	$(GO) run ./integration/demo

test: install-lab ## everything, against real engines and a real sshd
	$(GO) vet ./...
	$(GO) test -p 2 -timeout 40m $(TESTS)

fuzz: ## every fuzz target, FUZZTIME=1m each
	GO="$(GO)" FUZZTIME=$(FUZZTIME) scripts/fuzz.sh ./pkg/... ./cmd/...

bench: install-lab ## measure against docker save | ssh docker load, models against tar, scp and rsync; one table
	$(GO) run ./integration/bench

soak: install-lab ## the tests at full size: large layers, many kills; hours
	CLARA_PUSH_FULL=1 $(GO) test -p 1 -count 1 -timeout 8h -v ./integration/...

lab: install-lab build ## keep a lab host running to try things, until Ctrl-C
	$(GO) run ./integration/lab/cmd/clara-push-lab

lint: ## go vet, and golangci-lint with .golangci.yml
	$(GO) vet ./...
	$(GO) run $(LINTER) run ./...

install-lab: ## install what the lab needs; quick when it is there
	@scripts/install-lab.sh

clean: ## remove what was built
	rm -rf bin dist
