# Everything runs in .venv, which the first target that needs it creates. Python 3.10 or newer and a C++ compiler are all
# there has to be.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= chainrule-disk
BENCHMARKS := training_speed branches convolution grid options_cost prediction_latency threads many_networks time_to_loss import_time \
    sklearn_estimators
NATIVE := $(wildcard native/CMakeLists.txt native/src/* native/src/*/*)

.PHONY: demo fashion test bench performance interrupt study stubs native native-aarch64 sanitize check format dist clean help

help:        ## this list
	@grep -E '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | sort

demo: $(VENV)/.demo  ## install chainrule into .venv and run the report's experiment, with pictures
	$(BIN)/chainrule disk --out $(OUT) --overwrite

fashion: $(VENV)/.demo  ## train a small ResNet on Fashion-MNIST, with a picture; needs Debian's dataset-fashion-mnist
	$(BIN)/python examples/fashion.py

test: $(VENV)/.test  ## install with the test extra and run every test
	$(BIN)/python -m pytest -n auto -q

bench: $(VENV)/.bench  ## install the peers and time training steps next to theirs; benchmarks/ has more
	$(BIN)/python benchmarks/training_speed.py

performance: $(VENV)/.bench  ## run every benchmark, which takes fifty minutes on an idle machine, and write docs/performance.md
	mkdir -p benchmarks/results
	for name in $(BENCHMARKS); do \
	    $(BIN)/python benchmarks/$$name.py --json benchmarks/results/$$name.json || exit 1; done
	test ! -d /usr/share/datasets/fashion-mnist || $(BIN)/python benchmarks/fashion_accuracy.py --json benchmarks/results/fashion_accuracy.json
	! grep -q avx512f /proc/cpuinfo || $(BIN)/python benchmarks/convolution.py --avx2 --json benchmarks/results/convolution_avx2.json
	$(BIN)/python benchmarks/performance_page.py

native: $(VENV)/.dev  ## build the engine's own tests and run them
	$(BIN)/cmake -S native -B build/native -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja
	$(BIN)/cmake --build build/native
	$(BIN)/ctest --test-dir build/native --output-on-failure -j2

native-aarch64: $(VENV)/.dev  ## the same cross-compiled and emulated; needs Debian's g++-aarch64-linux-gnu and qemu-user
	$(BIN)/cmake -S native -B build/aarch64 -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DCMAKE_BUILD_TYPE=Checked \
	    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	    -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
	    -DCMAKE_CROSSCOMPILING_EMULATOR='qemu-aarch64;-L;/usr/aarch64-linux-gnu'
	$(BIN)/cmake --build build/aarch64
	$(BIN)/ctest --test-dir build/aarch64 --output-on-failure -j2

sanitize: $(VENV)/.dev  ## the same under AddressSanitizer with UndefinedBehaviorSanitizer, then under ThreadSanitizer
	$(BIN)/cmake -S native -B build/sanitize -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DSANITIZE=ON
	$(BIN)/cmake --build build/sanitize
	$(BIN)/ctest --test-dir build/sanitize --output-on-failure -j2
	$(BIN)/cmake -S native -B build/threads -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DSANITIZE_THREADS=ON
	$(BIN)/cmake --build build/threads --target threaded
	$(BIN)/ctest --test-dir build/threads --output-on-failure -R 'test_(engine|queue)'

interrupt: $(VENV)/.test  ## interrupt programs at each of their instructions and at random moments, for about an hour
	CHAINRULE_INTERRUPTIONS=40000 $(BIN)/python -m pytest tests/engine/test_interrupted.py -q

study: $(VENV)/.test  ## the report's network next to PyTorch, an hour; writes docs/study, where what is there is not measured again
	$(BIN)/chainrule study --out docs/study

stubs: $(VENV)/.dev  ## write the types of the compiled module anew, after a change of native/src/bindings.cpp
	$(BIN)/python native/tools/stubs.py

check: $(VENV)/.dev  ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## let the formatter do it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dist: $(VENV)/.dev  ## wheel and source distribution in dist/
	$(BIN)/python -m build

clean:       ## remove .venv and everything built
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The package is installed in place, so that a change in src/ is seen at once. Its engine is built for this machine alone:
# for the demo with the best instruction set that the CPU can run, for tests and benchmarks with all that it can run. `make
# dist` builds every one.
INSTALL := $(BIN)/python native/tools/install.py

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "chainrule needs Python 3.10 or newer. Another one: make PYTHON=python3.12"; exit 1; }
	@for compiler in $(CXX) g++ clang++ clang-cl; do command -v $$compiler > /dev/null && exit 0; done; \
	    echo "chainrule needs a C++20 compiler and found none: apt install g++ (Fedora: dnf install gcc-c++; macOS: xcode-select --install)"; \
	    exit 1
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "$(PYTHON) cannot make virtual environments: apt install python3-venv"; exit 1; }

$(VENV)/.demo: $(VENV)/pyvenv.cfg pyproject.toml $(NATIVE)
	@$(INSTALL) plots best
	@touch $@

$(VENV)/.test: $(VENV)/pyvenv.cfg pyproject.toml $(NATIVE)
	@$(INSTALL) test runnable
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/pyvenv.cfg pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	@$(INSTALL) bench runnable
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: $(VENV)/pyvenv.cfg pyproject.toml $(NATIVE)
	@$(INSTALL) dev runnable
	@touch $@ $(VENV)/.test $(VENV)/.demo
