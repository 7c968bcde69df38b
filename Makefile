# The names people type. `make run` and `make test` need nothing but a clone and root on Debian 12.

VENV   := .venv
# Debian's own python3: the one its python3-bpfcc belongs to.
PYTHON := /usr/bin/python3
BIN    := $(VENV)/bin

.PHONY: install dev run test lint bench machines node protos docs deb clean

install: $(VENV)/.installed

dev: $(VENV)/.dev

$(VENV)/bin/python:
	@echo "looking for BCC, and making a virtual environment in $(VENV) ..."
	deploy/install-bcc.sh
	$(PYTHON) -m venv --system-site-packages $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	@echo "installing rover and its libraries into $(VENV), once: some ten seconds ..."
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# Real kernel headers, for the test that compiles the programs with them; unpacked, not installed.
HEADERS := $(VENV)/kernel-headers

$(VENV)/.dev: $(VENV)/.installed pyproject.toml $(HEADERS)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

$(HEADERS): | $(VENV)/bin/python
	tests/fetch-kernel-headers.sh $@

run: install
	$(BIN)/rover start --embedded

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests of the whole host take turns, and the others run beside them; see tests/turns.py.
test: dev
	tests/install-tools.sh
	$(BIN)/python -m pytest --numprocesses 2

bench: install
	$(BIN)/python -m bench

# Debian's releases and kernels under QEMU; writes docs/machines.md.
machines: dev
	$(BIN)/python -m machines

# A real node with Kubernetes' own programs, containerd and deploy/; writes its part of docs/machines.md.
node: dev
	$(BIN)/python -m machines.node

protos: dev
	$(BIN)/python protos/generate.py

# The reference of keys and the pictures, made of the code; those of the page take Chromium, that of
# the dashboard Prometheus and root.
docs: dev
	$(BIN)/python docs/keys.py
	$(BIN)/python docs/pictures/live_view.py
	$(BIN)/python docs/pictures/status_page.py
	$(BIN)/python docs/pictures/dashboard.py

# The Debian package, into dist/, looked over by lintian.
deb: install
	deploy/build-deb.sh $(BIN)/python

clean:
	rm -rf $(VENV) dist build
