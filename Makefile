# sesscache: the only entry point. `make help` lists what there is.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=

CARGO ?= cargo
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
ABI := 0
BUILT ?= target/release
LIBRARY = $(BUILT)/libsesscache.so
COMMAND = $(BUILT)/sesscache
# build.rs writes the header into a folder whose name cargo chooses: the newest is this build's.
NEW_HEADER = $(shell ls -t target/release/build/sesscache-*/out/sesscache.h | head -n 1)

.PHONY: all help deps demo test quick t check rust-test c-test cli-test install-test asan tsan valgrind shuttle loom \
        test-upstream test-servers test-clients test-clients-all test-agent test-command test-monitoring test-fleet test-namespaces \
        test-upgrade test-operators test-systems test-debian13 test-processors test-containers fuzz bench bench-store bench-admission bench-hits bench-agent bench-beside bench-scale bench-dashboard bench-slope bench-rest bench-adopt header symbols man install uninstall deb rpm clean

all: ## the library and the sesscache command, in target/release
	@packaging/deps.sh build
	$(CARGO) build --release --locked

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 16

demo: all ## nginx and clients that come back, a table and a chart; then our own servers, connection by connection
	@packaging/deps.sh demo
	LIBDIR=target/release examples/demo.sh
	LIBDIR=target/release benches/returning.py target/returning.svg

test: ## everything a contributor needs green: 6 minutes on two cores, 10 the first time
	@echo 'make test: about 6 minutes on two cores, 10 the first time, when all is built.'
	@packaging/deps.sh build check test servers
	@.ci/steps all check rust-test c-test cli-test install-test test-servers

rust-test: ## the Rust tests
	$(CARGO) test --release --locked --quiet --no-fail-fast

c-test: all ## the C tests: on stock OpenSSL, preloaded and linked
	@packaging/deps.sh test
	c-tests/run.sh

cli-test: all ## the sesscache command
	@packaging/deps.sh test
	tests/cli.sh
	tests/enable.sh

install-test: all ## `make install` is complete and pkg-config is enough
	@packaging/deps.sh test
	tests/install.sh

# After an edit the library is built with the profile `edit`, which takes seconds; PROFILE=release
# for a test that fails on the library as it is installed.
PROFILE ?= edit
BUILD_LIBRARY := $(CARGO) build --locked --quiet --lib --package sesscache

quick: ## after each edit, in seconds: types, the unit tests, four C tests
	@packaging/deps.sh test
	$(CARGO) check --locked --quiet --profile $(PROFILE)
	$(CARGO) test --locked --quiet --profile $(PROFILE) --lib
	$(BUILD_LIBRARY) --profile $(PROFILE)
	LIBDIR=target/$(PROFILE) c-tests/run.sh --way preload callbacks zero_removes refcount early_data

t: ## one C test, three ways: T=name; ON=upstream, valgrind or asan; PROFILE=release
	@packaging/deps.sh test
	$(BUILD_LIBRARY) --profile $(PROFILE)
	LIBDIR=target/$(PROFILE) c-tests/run.sh -v $(ON:%=--%) $(T)

# Crates that are no members of the workspace. In one folder, and with the debug profile, they share
# most of what they need: 38 s from nothing, for all. No test of theirs is linked, so the fuzzing
# engine, which is C++, need not be built.
OUTSIDE := fuzz tests/fleet/load tests/clients/programs/rustls

check: all ## prose, format, lints, the committed header and list of symbols
	@packaging/deps.sh check
	tests/prose.py
	mandoc -T lint -W warning man/*.*
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --quiet --all-targets -- -D warnings
	for crate in $(OUTSIDE); do \
	    $(CARGO) fmt --manifest-path $$crate/Cargo.toml --check && \
	    CUSTOM_LIBFUZZER_PATH=not-built/libfuzzer.a CARGO_TARGET_DIR=target/check $(CARGO) clippy \
	        --manifest-path $$crate/Cargo.toml --locked --quiet --no-deps --all-targets -- \
	        -D warnings || exit 1; \
	done
	diff -u include/sesscache.h $(NEW_HEADER) || { echo 'run: make header'; exit 1; }
	nm -D --defined-only $(LIBRARY) | awk '{ print $$3 }' | diff -u tests/exports.txt - || \
	    { echo 'run: make symbols'; exit 1; }

shuttle: ## the locking of cache and slots in many interleavings
	RUSTFLAGS='--cfg shuttle' CARGO_TARGET_DIR=target/shuttle $(CARGO) test --release --locked \
	    --quiet -p sesscache-core --lib interleavings

loom: ## the store's table in every order of memory that C11 allows: SESSCACHE_SWITCHES=2 for more schedules
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom $(CARGO) test --release --locked \
	    --quiet -p sesscache-core --lib proofs::orders

asan: all ## the C tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@packaging/deps.sh test
	c-tests/run.sh --asan

# rustc's sanitizers want the switch that unlocks unstable options. The program's side is GCC's.
TSAN_TARGET := $(shell uname -m)-unknown-linux-gnu
tsan: ## the C tests with threads under ThreadSanitizer, the library instrumented too: T=name
	@packaging/deps.sh test
	RUSTC_BOOTSTRAP=1 RUSTFLAGS='--cfg tsan -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer' \
	    CARGO_TARGET_DIR=target/tsan $(BUILD_LIBRARY) --release --target $(TSAN_TARGET)
	LIBDIR=target/tsan/$(TSAN_TARGET)/release c-tests/run.sh --tsan \
	    $(or $(T),threads early_data_threads stress ticket_cached)

# How the library comes in makes no difference to memcheck, and costs minutes; asan tries both.
valgrind: all ## the C tests under valgrind's memcheck, the library preloaded
	@packaging/deps.sh test
	c-tests/run.sh --valgrind --way preload

test-upstream: all ## the C tests on a libssl built as upstream does, with -Bsymbolic
	@packaging/deps.sh test
	c-tests/run.sh --upstream

test-servers: all ## Debian's servers, unmodified, on stock and with the library: PART=nginx
	@packaging/deps.sh servers
	tests/servers/run.py $(PART)

test-clients: all ## real TLS clients, on one host and on two, stock beside ours: PART=curl
	@packaging/deps.sh clients
	tests/clients/run.py $(PART)

test-clients-all: all ## the same with all clients, Chromium too; writes docs/CLIENTS.md
	@packaging/deps.sh clients
	ALL=1 tests/clients/run.py $(PART)

test-namespaces: ## two PID namespaces on one store, killed at random (root): SESSCACHE_KILLS=9000 in each
	$(CARGO) test --release --locked --quiet --package sesscache --test store_kill -- --ignored --nocapture

test-upgrade: all ## two builds of the library on one store, BASE=commit and this one; not in CI
	@packaging/deps.sh servers
	tests/upgrade/run.py $(PART)

test-operators: deb ## our packages, enable, disable under a booted systemd, writes docs/SERVERS.md (root), 0.5 GB each; not in CI: PART=trixie-nginx
	@packaging/deps.sh operators
	tests/operators/run.py $(PART)

test-systems: ## demo and test in a clone on a fresh Debian 12, 13 or forky, writes docs/SYSTEMS.md (root), 2 GB each; not in CI: PART=debian13
	@packaging/deps.sh systems
	tests/systems/run.py $(PART)

test-debian13: all ## the C tests on Debian 13 with this library, in an image that it makes (root)
	@packaging/deps.sh systems
	tests/systems/quick.py || [ $$? = 77 ]

test-processors: ## the library on arm64, by QEMU, and a build for 32 bits, which is refused (root), 2 GB; not in CI: PART=fork
	@packaging/deps.sh systems
	tests/processors/run.sh $(PART)

test-containers: all ## pods of packaging/, made of namespaces: restarts, a changed key, musl (root); not in CI: PART=pod
	@packaging/deps.sh containers
	tests/containers/run.py $(PART)

fuzz: ## cache operations, damaged stores, crafted buckets, records, sessions, streams, key files: FUZZ_SECONDS=40 each
	@packaging/deps.sh test
	fuzz/run.sh

test-agent: all ## the agent with a real Redis, and what can go wrong with it: PART=name
	@packaging/deps.sh fleet
	tests/agent/run.py $(PART)

test-monitoring: all ## metrics against Prometheus's own tools, by hand
	@packaging/deps.sh monitoring
	tests/agent/run.py promtool dashboard

test-command: all ## `sesscache probe` and `doctor` against real servers: PART=name
	@packaging/deps.sh servers
	tests/command/run.py $(PART)

test-fleet: all ## two and three hosts in network namespaces, nginx, agents, Redis (root): PART=name
	@packaging/deps.sh fleet
	tests/fleet/run.py $(PART)

bench: all ## stock against sesscache: ratios, docs/PERFORMANCE.md, under 15 minutes
	@packaging/deps.sh bench
	benches/run.sh

bench-store: all ## the host store alone: operations, memory, real servers; or beside BEFORE=commit
	@packaging/deps.sh bench
	BEFORE="$(BEFORE)" benches/run.sh $(if $(BEFORE),--before,--store)

bench-admission: all ## who is let in: sessions made elsewhere, verified again or not: BEFORE=folder
	@packaging/deps.sh bench
	benches/run.sh --admission

bench-hits: all ## connections that resume, by memory: FIFO, LRU, ours, Belady; under 5 minutes: BEFORE=library
	@packaging/deps.sh bench
	$(CARGO) build --release --locked --quiet --package sesscache-bench --bin hits
	BEFORE="$(BEFORE)" benches/hits/hits.py

bench-agent: all ## processor time of agents and Redis for a record, and its delay; 2 minutes
	@packaging/deps.sh bench
	$(CARGO) build --release --locked --quiet --package sesscache-bench --bin feed
	benches/agent.py

bench-beside: all ## handshakes and starts: stock, an earlier library, this one; under 15 minutes: BEFORE=folder
	@packaging/deps.sh bench
	BEFORE="$(BEFORE)" benches/beside.py

bench-scale: ## what each way of sharing costs a fleet, and what resumes; simulated, in seconds
	@packaging/deps.sh build
	$(CARGO) run --release --locked --quiet --package sesscache-bench --bin scale

bench-adopt: ## seconds from a clone to the first connection that resumes, with an empty build folder
	@packaging/deps.sh build demo
	benches/adopt.sh

bench-dashboard: all ## the pictures of the dashboard, from a real Prometheus beside two hosts; 4 minutes
	@packaging/deps.sh monitoring demo
	benches/dashboard.py docs/dashboard-head.svg docs/dashboard.svg

bench-slope: all ## memory over 60,000 handshakes and 8,000 contexts, 16 times, stock beside ours
	@packaging/deps.sh bench
	benches/slope.py

bench-rest: all ## bytes of a session at rest, in one process and in nginx's workers, stock beside ours
	@packaging/deps.sh bench
	benches/rest.py

header: all ## rewrite the committed header
	cp $(NEW_HEADER) include/sesscache.h

man: ## rewrite the committed pages of the subcommands, from clap's definitions and man/commands/
	SESSCACHE_WRITE_PAGES=1 $(CARGO) test --locked --quiet --profile $(PROFILE) -p sesscache-cli pages::

symbols: all ## rewrite the committed list of symbols
	nm -D --defined-only $(LIBRARY) | awk '{ print $$3 }' > tests/exports.txt

# The completions of a shell: name of the shell, folder, name of the file.
COMPLETIONS := bash:bash-completion/completions/sesscache fish:fish/vendor_completions.d/sesscache.fish \
               zsh:zsh/vendor-completions/_sesscache
# Functions that are described on the page of another.
OTHER_NAMES := sesscache_is_active.3:sesscache_version.3 sesscache_store_stats.3:sesscache_store_attach.3 \
               $(foreach name,set_new set_remove get_new get_remove get_get,\
                   SSL_CTX_sess_$(name)_cb.3sesscache:SSL_CTX_sess_set_get_cb.3sesscache)
UNITS := agent.service agent@.service ratchet@.service ratchet@.timer
UNITDIR = $(PREFIX)/lib/systemd/system
FILL := sed -e 's|@PREFIX@|$(PREFIX)|g; s|@LIBDIR@|$(LIBDIR)|g; s|@INCLUDEDIR@|$(INCLUDEDIR)|g; s|@VERSION@|$(VERSION)|g' \
        -e 's|/usr/bin/sesscache|$(BINDIR)/sesscache|g'

# STRIP=no leaves symbols and debug information in, for a packager's tools.
STRIP ?= yes
INSTALL_BINARY = $(if $(filter no,$(STRIP)),install -D -m 755,packaging/install_stripped.sh)

# Needs no cargo: an administrator installs what somebody else built.
install: ## what `make` has built, the header, pages, units, pkg-config, CMake: PREFIX=, DESTDIR=
	@for built in $(LIBRARY) $(COMMAND); do \
	    [ -f $$built ] || { echo "make: there is no $$built; build it first: make" >&2; exit 1; }; \
	done
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/cmake/sesscache $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL_BINARY) $(LIBRARY) $(DESTDIR)$(LIBDIR)/libsesscache.so.$(VERSION)
	ln -sf libsesscache.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libsesscache.so.$(ABI)
	ln -sf libsesscache.so.$(ABI) $(DESTDIR)$(LIBDIR)/libsesscache.so
	install -m 644 include/sesscache.h $(DESTDIR)$(INCLUDEDIR)/sesscache.h
	$(INSTALL_BINARY) $(COMMAND) $(DESTDIR)$(BINDIR)/sesscache
	install -d $(foreach section,1 3 7,$(DESTDIR)$(MANDIR)/man$(section))
	install -m 644 man/*.1 $(DESTDIR)$(MANDIR)/man1
	install -m 644 man/*.7 $(DESTDIR)$(MANDIR)/man7
	install -m 644 man/*.3 man/*.3sesscache $(DESTDIR)$(MANDIR)/man3
	for page in $(OTHER_NAMES); do \
	    ln -sf $${page#*:} $(DESTDIR)$(MANDIR)/man3/$${page%%:*} || exit 1; \
	done
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(PREFIX)/share/sesscache
	for unit in $(UNITS); do \
	    $(FILL) packaging/sesscache-$$unit > $(DESTDIR)$(UNITDIR)/sesscache-$$unit || exit 1; \
	done
	install -m 644 packaging/grafana-dashboard.json $(DESTDIR)$(PREFIX)/share/sesscache
	$(FILL) packaging/sesscache.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/sesscache.pc
	for file in sesscacheConfig.cmake sesscacheConfigVersion.cmake; do \
	    $(FILL) packaging/$$file.in > $(DESTDIR)$(LIBDIR)/cmake/sesscache/$$file || exit 1; \
	done
	for completion in $(COMPLETIONS); do \
	    file=$(DESTDIR)$(PREFIX)/share/$${completion#*:}; \
	    install -d $${file%/*} && $(COMMAND) completions $${completion%%:*} > $$file || exit 1; \
	done
	@if [ -z "$(DESTDIR)" ]; then packaging/loader.sh $(LIBDIR); fi

# A first package of Debian's own closes a bug, and this is none of Debian's.
deb: all ## Debian packages in target/deb; the first time some minutes more, for the licences of the crates
	@packaging/deps.sh deb
	BUILT=$(BUILT) packaging/deb.sh target/deb
	lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs target/deb/*.deb

rpm: all ## RPM packages in target/rpm, for systems with glibc 2.34 and OpenSSL 3.0 or later; not in CI
	@packaging/deps.sh rpm
	packaging/rpm.sh target/rpm

uninstall: ## removes what `make install` made, with the same PREFIX= and DESTDIR=
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,libsesscache.so libsesscache.so.$(ABI) libsesscache.so.$(VERSION) \
	    pkgconfig/sesscache.pc) $(DESTDIR)$(INCLUDEDIR)/sesscache.h $(DESTDIR)$(BINDIR)/sesscache \
	    $(addprefix $(DESTDIR)$(MANDIR)/man1/,$(notdir $(wildcard man/*.1))) $(DESTDIR)$(MANDIR)/man7/sesscache.7 \
	    $(addprefix $(DESTDIR)$(MANDIR)/man3/,$(notdir $(wildcard man/*.3 man/*.3sesscache))) \
	    $(addprefix $(DESTDIR)$(MANDIR)/man3/,$(foreach page,$(OTHER_NAMES),$(firstword $(subst :, ,$(page))))) \
	    $(addprefix $(DESTDIR)$(UNITDIR)/sesscache-,$(UNITS)) \
	    $(addprefix $(DESTDIR)$(PREFIX)/share/,$(foreach c,$(COMPLETIONS),$(lastword $(subst :, ,$(c)))))
	rm -rf $(DESTDIR)$(LIBDIR)/cmake/sesscache $(DESTDIR)$(PREFIX)/share/sesscache
	rm -f $(DESTDIR)$(LIBDIR)/.debug/libsesscache.so.$(VERSION).debug $(DESTDIR)$(BINDIR)/.debug/sesscache.debug
	-rmdir $(DESTDIR)$(LIBDIR)/.debug $(DESTDIR)$(BINDIR)/.debug 2>/dev/null

clean: ## forget what was built
	$(CARGO) clean
