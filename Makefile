# Each target makes .venv and installs what it needs; only make and Python 3.10 or newer have to be there.
#   make train ARGS="--data shipments.csv"      make test ARGS="-k forest"      make PYTHON=/path/to/python3.12 test

VENV ?= .venv
ARGS ?=
WORKERS ?= auto
SCRIPT ?=
OLD_PYTHON = import sys; sys.exit(sys.version_info < (3, 10))
# The first that runs and is new enough. A name on the path may be an empty shim, so each is tried.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	if $$p -c '$(OLD_PYTHON)' 2>/dev/null; then echo $$p; break; fi; done)
RUN = $(VENV)/bin/python
BENCH_LIBRARIES = from importlib.metadata import requires; \
	[print(line.split(";")[0]) for line in requires("mlx-iforest") if "bench" in line.partition(";")[2]]

# Without its bytecode each process that a test starts would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help train serve test coverage lint format docs texts bench clean
.DELETE_ON_ERROR:

help:
	@echo "make train    train, compare and save the models (ARGS are train_model_mlx.py's)"
	@echo "make serve    the service on http://127.0.0.1:5002 (ARGS are those of anomaly-detection serve)"
	@echo "make test     the test suite (ARGS are pytest's, WORKERS=2 its processes, 0 for one that a debugger can stop)"
	@echo "make coverage the same, and the line coverage; takes half as long again"
	@echo "make lint     ruff and mypy"
	@echo "make format   put the code in ruff's format"
	@echo "make docs     write docs/files.md from the modules' docstrings"
	@echo "make texts    bring the catalogues of the pages up to date"
	@echo "make bench    measure speed, size and what is found against others (SCRIPT=score runs one, ARGS are its options)"
	@echo "make clean    remove .venv and what the tools left"

train: $(VENV)/.installed-train
	$(RUN) train_model_mlx.py $(ARGS)

serve: $(VENV)/.installed-service
	$(RUN) -m anomaly_detection serve $(ARGS)

test: $(VENV)/.installed-dev
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: override ARGS += --cov
coverage: test

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.installed-dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

texts: $(VENV)/.installed-dev
	$(RUN) docs/make_texts.py

docs: $(VENV)/.created
	$(RUN) docs/make_files.py > docs/files.md.new
	mv docs/files.md.new docs/files.md

bench: $(VENV)/.installed-bench
	$(RUN) -m benchmarks $(SCRIPT) $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says that an installation ran to its end; a changed pyproject.toml makes it old.
$(VENV)/.installed-train: pyproject.toml requirements_mlx.txt | $(VENV)/.created
	$(RUN) -m pip install -r requirements_mlx.txt
	@touch $@

$(VENV)/.installed-service: pyproject.toml | $(VENV)/.created
	$(RUN) -m pip install -e ".[service]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	$(RUN) -m pip install -e ".[dev]"
	@touch $@

# Other libraries may lack a wheel for this machine and fail to compile: then each is tried alone, and the benchmarks say
# which are missing.
$(VENV)/.installed-bench: pyproject.toml | $(VENV)/.created
	$(RUN) -m pip install -e .
	$(RUN) -m pip install -e ".[bench]" || $(RUN) -c '$(BENCH_LIBRARIES)' | while read -r library; do \
		$(RUN) -m pip install "$$library" || echo "Going on without $$library."; done
	@touch $@

$(VENV)/.created:
	@if ! "$(PYTHON)" -c '$(OLD_PYTHON)' 2>/dev/null; then \
		echo "Python 3.10 or newer is needed (MLX needs it); found: $$($(or $(PYTHON),python3) --version 2>&1)." >&2; \
		echo "Install one from https://www.python.org/downloads/ or name yours: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; fi
	"$(PYTHON)" -m venv $(VENV)
	@touch $@
