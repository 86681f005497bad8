# make demo    set everything up, upload a sample to the service, print the answer, stop
# make run     serve on http://localhost:5000 (PORT=...)
# make test    set everything up and run every test
# make lint    ruff and mypy
# make bench   measure it against the straightforward way and the floor (about ten minutes)
# make samples speak the sample recordings anew (needs flite)

PYTHON := $(shell for python in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	>/dev/null 2>&1 && { echo $$python; break; }; done)
BIN := .venv/bin
RUNNABLE := .venv/runnable
TESTABLE := .venv/testable
BENCHABLE := .venv/benchable
SAMPLE ?= samples/blunt.wav

.PHONY: demo run test lint bench samples clean

demo: $(RUNNABLE)
	@port=$$($(BIN)/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'); \
	TRANSCRIBER=sphinx REWRITER=phrasebook LOG_LEVEL=warning $(BIN)/gunicorn --bind 127.0.0.1:$$port main:app & \
	server=$$!; trap "kill $$server; wait $$server" EXIT; \
	echo "curl -F audio=@$(SAMPLE) http://127.0.0.1:$$port/upload"; \
	curl -s --retry 30 --retry-connrefused --retry-delay 1 --output /dev/null http://127.0.0.1:$$port/health; \
	curl -sS --max-time 60 -F audio=@$(SAMPLE) http://127.0.0.1:$$port/upload | \
		$(BIN)/python -m json.tool --no-ensure-ascii

run: $(RUNNABLE)
	$(BIN)/gunicorn main:app

test: $(TESTABLE)
	$(BIN)/python -m pytest

lint: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCHABLE)
	@{ command -v wrk && command -v nginx && command -v redis-server && command -v curl \
		&& test -e /usr/lib/nginx/modules/ngx_http_echo_module.so; } >/dev/null \
	|| { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq --no-install-recommends \
		wrk nginx libnginx-mod-http-echo redis-server curl >/dev/null; } \
	|| { echo "Needed: apt install wrk nginx libnginx-mod-http-echo redis-server curl"; exit 1; }
	$(BIN)/python -m benchmarks

samples:
	$(MAKE) -C samples

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(RUNNABLE): requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed (Debian: apt install python3-venv)"; exit 1; }
	@echo "Setting up .venv with $(PYTHON) (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt
	@touch $@

$(TESTABLE): $(RUNNABLE) requirements-dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(BENCHABLE): $(RUNNABLE) benchmarks/requirements.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@
