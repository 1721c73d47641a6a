# Micro Mirror. `make help` lists the verbs.

SHELL  := /bin/bash -o pipefail
GO     ?= go
BUILD  := $(GO) run ./cmd/build
# Everything but the scenarios that boot the image, which carry a build tag.
UNIT   := ./...
NODE   ?= demo
FLEET  ?= images/demo
SIZE   ?= 4G
FUZZTIME ?= 10m

.DEFAULT_GOAL := help
.PHONY: help run test test-full check image manifest figures fuzz check-hardware powercut fmt clean fault-matrix

help: ## list these verbs
	@awk -F':.*## ' '/^[a-z%-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build the image, boot it in QEMU, sync a demo upstream, serve it until Ctrl-C
	@$(GO) build -buildvcs=false -o build/bin/demo ./cmd/demo && exec build/bin/demo

test: ## everything CI runs: check, then the booted image with real clients
	@$(BUILD) deps test
	@$(MAKE) --no-print-directory check
	@$(BUILD) release
	@$(BUILD) --tags faults release
	@$(BUILD) check-hardware | tail -1
	$(GO) test -tags vm -timeout 60m -p 1 -parallel 2 ./packages/scenario/... ./packages/powercut/... ./packages/vm/... ./packages/demo/...

test-full: ## the long matrices: resumable, with progress (run it again to go on)
	@$(BUILD) deps test
	@$(BUILD) release
	@$(BUILD) --tags faults release
	$(GO) test -tags vm,full -timeout 12h -p 1 -parallel 2 -v ./packages/scenario/... ./packages/powercut/...
	$(GO) test -tags full -timeout 6h -v ./packages/mirror/clients

fault-matrix: ## print what each fault in each phase of a synchronisation comes to
	@$(BUILD) deps check
	@$(GO) test -count 1 -run TestFaultMatrix -v ./packages/mirror | grep -v '^ *---\|^=== \|level='

check: ## the fast part: format, vet, staticcheck, unit tests, repository rules
	@$(BUILD) deps check
	@unformatted=$$(gofmt -l cmd packages images); if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags vm,full,faults ./...
	$(GO) tool staticcheck ./...
	$(GO) test -timeout 30m $(UNIT) # an emulated or busy computer needs more than the usual ten minutes

image: ## write build/NODE.img for a node of a fleet (NODE=demo FLEET=images/demo SIZE=4G; FIRMWARE=non-free)
	@$(BUILD) deps build
	@$(BUILD) $(if $(FIRMWARE),--firmware $(FIRMWARE)) release
	@$(GO) run ./cmd/mirrorctl image --fleet $(FLEET) --node $(NODE) --size $(SIZE) --out build/$(NODE).img

manifest: ## print what the built release is made of: every Go module, Debian package and hash
	@$(BUILD) manifest

figures: ## measure and print sizes, memory, boot and build times
	@$(BUILD) deps test
	@$(BUILD) figures

check-hardware: ## show which driver of the image claims each device of hardware/
	@$(BUILD) check-hardware

N ?= 100
powercut: ## cut the power at every write, check what is left, boot N of the cuts (N=100, resumable)
	@$(BUILD) deps test
	@$(BUILD) release
	@$(BUILD) --tags faults release
	@$(GO) build -buildvcs=false -o build/bin/powercut ./cmd/powercut && exec build/bin/powercut -boots $(N)

fuzz: ## fuzz every parser of outside bytes (FUZZTIME=10m each, resumable)
	@$(BUILD) fuzz --time $(FUZZTIME)

bench-%: ## compare with the peer, print a table, write build/bench/NAME.json
	@$(BUILD) deps bench
	@$(GO) run ./cmd/bench $*

bench-ktls: ## the same for TLS sealed by the kernel and by the server, in a virtual machine
	@$(BUILD) deps test
	@$(BUILD) release
	@$(GO) run ./cmd/bench ktls

bench-sync: ## the same for the sync client and the rsync daemon
	@$(BUILD) deps bench
	@$(GO) run ./cmd/syncbench

fmt: ## format the source
	gofmt -w cmd packages images

clean: ## remove everything that was built
	rm -rf build packages/kernel/lib packages/kernel/vmlinuz
