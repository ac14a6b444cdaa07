# gluarun: build, run, test. `make V=1` shows the commands.
#
#   make                 build bin/gluarun
#   make run             install what is missing, build, run examples/fetch.lua
#   make test            install what the tests need, build, run the specs
#   make check           luacheck, cppcheck, warnings as errors, clang-format if it is there
#   make format          clang-format
#   make bench           the figures of spec/bench
#   make test-gc         the specs with the collector working all the time
#   make SANITIZE=address,undefined test
#   make install PREFIX=/usr/local
#   make clean

PREFIX   = /usr/local
CC      ?= cc
CFLAGS   = -O2 -g
WARNINGS = -Wall -Wextra -Wshadow -Wmissing-prototypes -Wpointer-arith -Wwrite-strings
LUAJIT   = luajit
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# Recursive, so that they are asked only when something is compiled: bin/setup may have to
# install them first.
LUA_CFLAGS = $(shell pkg-config --cflags luajit)
# The static libraries, where they are installed: one file to copy, and no calls through a
# table of addresses (a switch is 10 % faster).
LIB_DIR    = $(shell pkg-config --variable=libdir luajit)
LIBRARIES  = $(if $(wildcard $(LIB_DIR)/libluajit-5.1.a),-l:libluajit-5.1.a,-lluajit-5.1) \
             $(if $(wildcard $(LIB_DIR)/libev.a),-l:libev.a,-lev)

ifdef SANITIZE
  BUILD     = build/$(subst $(comma),-,$(SANITIZE))
  CFLAGS    = -O1 -g -fno-omit-frame-pointer
  SAN_FLAGS = -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined
  GLUARUN   = $(BUILD)/gluarun
else
  BUILD   = build
  GLUARUN = bin/gluarun
endif
comma := ,

ifndef V
  Q = @
  E = @echo
else
  E = @:
endif

SOURCES = $(wildcard runtime/*.c)
OBJECTS = $(SOURCES:runtime/%.c=$(BUILD)/%.o) $(BUILD)/modules_table.o
MODULES = $(sort $(wildcard lua/glua/*.lua))

all: $(GLUARUN)

$(GLUARUN): $(OBJECTS)
	$(E) "  LINK  $@"
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) -rdynamic -o $@ $^ $(LIBRARIES) -lm -ldl

$(BUILD)/%.o: runtime/%.c
	$(E) "  CC    $<"
	@mkdir -p $(BUILD)
	$(Q)$(CC) -std=gnu99 $(WARNINGS) $(WERROR) $(CFLAGS) $(SAN_FLAGS) -I$(BUILD) $(LUA_CFLAGS) -MMD -MP -c -o $@ $<

# Written anew only when the version changes.
$(BUILD)/version.h: FORCE
	@mkdir -p $(BUILD)
	@echo '#define GLUARUN_VERSION "$(VERSION)"' | cmp -s - $@ || echo '#define GLUARUN_VERSION "$(VERSION)"' > $@

$(BUILD)/core.o: $(BUILD)/version.h

$(BUILD)/modules_table.o: $(BUILD)/modules_table.c
	$(Q)$(CC) -std=gnu99 $(CFLAGS) -Iruntime $(LUA_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/modules_table.c: runtime/embed.lua $(MODULES)
	$(E) "  EMBED $@"
	@mkdir -p $(BUILD)
	$(Q)$(LUAJIT) runtime/embed.lua $@ $(MODULES)

-include $(wildcard $(BUILD)/*.d)

run:
	@bin/setup
	@$(MAKE) --no-print-directory all
	@bin/gluarun examples/fetch.lua

# Used by the sanitizers' builds.
TEST_ENV = ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1

test:
	@bin/setup --test
	@$(MAKE) --no-print-directory $(GLUARUN)
	@$(TEST_ENV) $(GLUARUN) spec/run.lua $(SPECS)

test-gc:
	@bin/setup --test
	@$(MAKE) --no-print-directory $(GLUARUN)
	@GLUA_GC=stress SPEC_LIMIT=60 $(GLUARUN) spec/run.lua $(SPECS)

C_FILES = $(wildcard runtime/*.[ch] spec/bench/*.[ch])

check:
	@bin/setup --test
	$(E) "  LUACHECK"
	$(Q)luacheck --quiet lua spec examples runtime/embed.lua
	$(E) "  CPPCHECK"
	$(Q)cppcheck --quiet --error-exitcode=1 --std=c99 --inline-suppr \
	    --enable=warning,portability,performance --suppress=missingInclude \
	    --library=posix runtime
	$(E) "  FORMAT"
	$(Q)if command -v clang-format >/dev/null; then \
	    clang-format --dry-run --Werror $(C_FILES); \
	else \
	    echo "  clang-format is not installed: the format of C is not checked"; \
	fi
	$(E) "  WARNINGS"
	$(Q)$(MAKE) --no-print-directory BUILD=build/check GLUARUN=build/check/gluarun WERROR=-Werror \
	    build/check/gluarun >/dev/null

# The programs in C that spec/bench compares with; they have libev as gluarun has it.
BENCH_PROGRAMS = $(patsubst spec/bench/%.c,build/bench/%,$(wildcard spec/bench/*.c))

bench:
	@bin/setup
	@$(MAKE) --no-print-directory -s all $(BENCH_PROGRAMS)
	@bin/gluarun spec/bench/run.lua $(ONLY)

build/bench/%: spec/bench/%.c spec/bench/bench.h
	$(E) "  CC    $<"
	@mkdir -p build/bench
	$(Q)$(CC) -std=gnu99 $(WARNINGS) -O2 -o $@ $< $(LIBRARIES) -lm -ldl

format:
	clang-format -i $(C_FILES)

# As in the source tree, so that the links between them lead somewhere.
install: DOC = $(DESTDIR)$(PREFIX)/share/doc/gluarun
install: all
	install -D -m 755 bin/gluarun $(DESTDIR)$(PREFIX)/bin/gluarun
	install -d $(DOC)/docs $(DOC)/examples
	install -m 644 LICENSE README.md CHANGELOG.md $(DOC)
	install -m 644 docs/*.md $(DOC)/docs
	install -m 644 examples/*.lua $(DOC)/examples

clean:
	$(E) "  CLEAN"
	$(Q)rm -rf build bin/gluarun

.PHONY: all run test test-gc check format bench install clean FORCE
