# Every target sets up what it needs, once. Python 3.10 to 3.12 for the embedded Triton.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
TINY := export/tiny/tiny
FAST_TINY := export/tiny/tiny-fast
TINY_ALIGNER := export/tiny/tiny-aligner
# A folder, or an id of the hub such as Qwen/Qwen3-ASR-0.6B.
CHECKPOINT ?= $(TINY)
FAST_CHECKPOINT ?= $(FAST_TINY)
# A forced aligner, by which words have times: Qwen/Qwen3-ForcedAligner-0.6B.
ALIGNER ?= $(TINY_ALIGNER)
# $(call unless_named,VARIABLE,words): the words, unless the command line or the environment sets the variable.
unless_named = $(if $(filter file,$(origin $(1))),$(2))
# Rooms are folders named after versions; the type checker gets them under names that can be imported.
ROOMS := .cache/rooms
ROOM_NAMES := vad features encoder decoder asr_stream aligner speakers

# What is installed for: `cuda` where an NVIDIA GPU can be used, else `cpu`. DEVICE=cpu keeps off the GPU, and EXTRA=rtx is
# for the profile of that name. When the choice changes, the environment is made anew: the packages exclude each other.
EXTRA ?= $(if $(filter cpu cuda,$(DEVICE)),$(DEVICE),$(or $(shell $(PYTHON) -m frontend.triton.hardware extra 2>/dev/null),cpu))
INSTALLED := $(VENV)/.installed-$(EXTRA)
INSTALLED_BEFORE := $(filter-out $(INSTALLED),$(wildcard $(VENV)/.installed*))
ifneq ($(filter cpu cuda,$(DEVICE)),)
export ASR_DEVICE := $(DEVICE)
endif

.PHONY: setup models tiny demo serve test lint bench bench-report chaos rehearse audit clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.10 to 3.12 is needed: https://www.python.org"; exit 1; }
	@$(PYTHON) -m frontend.triton.hardware; echo "installing the extra $(EXTRA) into $(VENV)"
	$(PYTHON) -m venv $(if $(INSTALLED_BEFORE),--clear )$(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRA),export,train,tracing,dev]' 'numpy<2; python_version < "3.13"'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0 silero-vad==6.2.3 hibari-tts==0.2.1 resemblyzer==0.1.4
	@touch $@

# A checkpoint that is named is the one that is served. Otherwise what is exported already stays, whatever was pulled
# meanwhile, and tiny fills an empty house; tiny itself is exported again when it or the format of the files changed.
models: setup
	@$(BIN)/python -m export ensure $(CHECKPOINT) $(call unless_named,CHECKPOINT,--keep-other) \
		--fast-checkpoint $(FAST_CHECKPOINT) $(call unless_named,FAST_CHECKPOINT,--keep-other-fast) \
		--aligner $(ALIGNER) $(call unless_named,ALIGNER,--keep-other-aligner) --speakers

# The tests know what tiny hears.
tiny: setup
	@$(BIN)/python -m export ensure $(TINY) --fast-checkpoint $(FAST_TINY) --aligner $(TINY_ALIGNER) --speakers --refuse-other

demo: models
	$(BIN)/python -m perf demo

# Its first line says which device serves, and why.
serve: models
	@$(BIN)/python -m frontend

# Two thirds of the time of integration and e2e is waiting for servers that start, die or come to a deadline: three processes
# fill two cores. A file stays in one process, as its fixtures share a server; files start in their order, the long ones of
# e2e first.
test: lint tiny
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(ROOMS)
	@for room in $(ROOM_NAMES); do ln -sfn ../../model_repository/$$room/1 $(ROOMS)/asr_room_$$room; done
	$(BIN)/mypy -p frontend -p export -p perf -p tests.rehearsal -p tests.audit -p tests.kubernetes
	MYPYPATH=$(ROOMS) $(BIN)/mypy $(foreach room,$(ROOM_NAMES),-p asr_room_$(room))

bench: models
	$(BIN)/python -m perf asr --quick --json .cache/bench.json

bench-report: models
	$(BIN)/python -m perf report

# Faults, hostile input, ten times the load, an hour of speech: half an hour. What is kept goes to perf/results/chaos.json.
chaos: models
	$(BIN)/python -m perf chaos --json perf/out/chaos.json

# The containers brought up for real, on a host with Docker or (Debian, Ubuntu, as root) where it can be installed.
rehearse: setup
	$(BIN)/python -m tests.rehearsal

# The packages that are installed against known advisories: by PyPI's service, or without a network by a dump of
# https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip: make audit ADVISORIES=all.zip. Another service in OSV's form:
# PIP_AUDIT_VULNERABILITY_SERVICE=osv PIP_AUDIT_OSV_URL=https://…/v1/query make audit
audit: setup
	@$(BIN)/python -m tests.audit $(if $(ADVISORIES),--advisories $(ADVISORIES))

clean:
	rm -rf $(VENV) .venv-vllm .cache build perf/out *.egg-info model_repository/*/1/*.onnx model_repository/*/1/*.onnx.data model_repository/*/1/*.plan model_repository/*/1/*.plan.json model_repository/*/[2-9]* model_repository/*/1/checkpoint model_repository/*/1/.unfinished model_repository/encoder/warmup
