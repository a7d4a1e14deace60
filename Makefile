# make demo   the example program on memory, two passes
# make test   everything that must be true
# make help   the rest

SHELL      := /bin/bash
GO         ?= go
# the packages that take longest begin
PKG        ?= ./driver/redis ./socket ./...
COUNT      ?= 20
FUZZTIME   ?= 60s
SEEDS      ?= 2000
CHECKS     ?= 100
STEPS      ?= 50
# tests at a time in a package: more than processors, as they mostly wait
PARALLEL   ?= $(shell echo $$((2 + $$(getconf _NPROCESSORS_ONLN))))
LOADTIME   ?= 120
SOAK       ?= 30m
OUT        ?= bench/out
TIMES      ?= 1
# the checks read what the compiler makes for the tests, so they build with the race detector, too
VET         = $(GO) vet -race -tags faults ./...
STATICCHECK = GOFLAGS=-race $$($(GO) tool -modfile=tools/go.mod -n staticcheck) -tags faults ./...
SUMMARY    := $(CURDIR)/.conformance
# modules of their own, so that what they need stays out of go.mod
NESTED      = socket/jwtauth

.PHONY: help demo test check unit deps faults soak flake mutants model load bench bench-quick check-bench microbench fuzz fmt

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

demo: ## examples/filewatch on memory, two passes
	$(GO) run ./examples/filewatch -passes 2

test: check unit ## formatting, vet, staticcheck, tidy, and all tests with the race detector

check:
	@command -v $${CC:-cc} >/dev/null || { echo "the race detector needs a C compiler: install gcc, or set CC"; exit 1; }
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(VET)
	$(STATICCHECK)
	$(GO) mod tidy -diff
	@set -e; for module in $(NESTED); do (cd $$module && $(VET) && $(GO) mod tidy -diff); done

unit: deps
	@rm -f $(SUMMARY)
	RPW_CONFORMANCE_SUMMARY=$(SUMMARY) RAPID_CHECKS=$(CHECKS) RAPID_STEPS=$(STEPS) $(GO) test -race -vet=off -count=1 -parallel $(PARALLEL) -timeout 20m $(PKG)
	@set -e; for module in $(NESTED); do (cd $$module && $(GO) test -race -vet=off -count=1 ./...); done
	@[ ! -f $(SUMMARY) ] || { cat $(SUMMARY); rm -f $(SUMMARY); }

deps: ## what the tests need beside Go: redis-server 7.0 or later, installed with apt where that is possible
	@tools/deps

faults: deps ## all faults of RELIABILITY.md at full length, and outages, moving slots, thousands of subscriptions; prints its figures
	$(GO) test -tags faults -count=1 -v -timeout 15m ./faults
	$(GO) test -tags faults -count=1 -p 1 -timeout 5m -run "$$(tools/rows -run)" $$(tools/rows)

soak: deps ## a random load on all kinds of backends under random faults, its history checked: SOAK=30m; SEED=n for the same faults again; REPORT=file.md
	$(GO) test -count=1 -v -timeout 0 ./faults/soak -soak $(SOAK) -seed $(or $(SEED),$$RANDOM) -report '$(abspath $(or $(REPORT),soak-report.md))'

flake: ## the concurrent packages COUNT times over, with the race detector
	$(GO) test -race -count=$(COUNT) -timeout 60m ./driver/memory ./conformance ./actions ./workers ./logs

mutants: ## promises broken one at a time, in the root, both drivers and the socket: the tests must notice (part of test)
	$(GO) test -count=1 -parallel $(PARALLEL) -timeout 20m ./conformance/mutants ./driver/redis/mutants ./socket/mutants

model: deps ## CHECKS random sequences of about STEPS verbs on every driver, each beside a model (100 of 50 are part of test)
	RAPID_CHECKS=$(CHECKS) RAPID_STEPS=$(STEPS) $(GO) test -count=1 -timeout 600m -run '^TestModel' ./driver/memory ./driver/redis ./socket

load: ## a long random load on memory and Redis, its history checked (a short one is part of test)
	$(GO) test -count=1 -timeout 60m ./internal/history/load -seed $$RANDOM -seeds $(SEEDS) -seconds $(LOADTIME)

bench: deps check-bench ## rpw beside its limits and peers, all or AREA=publish,actions,... (20 minutes); REPORT=file.md gets the tables, OUT=dir samples and charts
	cd bench && $(GO) run . -area '$(AREA)' -out '$(abspath $(OUT))' -report '$(if $(REPORT),$(abspath $(REPORT)))'

bench-quick: deps check-bench ## the same, shorter (3 minutes)
	cd bench && $(GO) run . -area '$(AREA)' -out '$(abspath $(OUT))' -quick

check-bench: ## vet, staticcheck and tests of the module bench, which make test leaves out: it would fetch all peers
	@cd bench && $(GO) vet ./... && $(GO) tool -modfile=../tools/go.mod staticcheck ./... && $(GO) mod tidy -diff && $(GO) test ./...

microbench: ## the benchmarks beside the code, TIMES times over, for benchstat
	@$(GO) test -run '^$$' -bench . -benchmem -count $(TIMES) -timeout 60m $(PKG)

fuzz: ## every fuzz target, FUZZTIME each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

fmt: ## format
	gofmt -w .
