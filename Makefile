# Every target sets up what it needs, once. Python 3.10 to 3.12 for the embedded Triton.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CHECKPOINT ?= export/tiny/tiny
FAST_CHECKPOINT ?= export/tiny/tiny-fast
# Rooms are folders named after versions; the type checker gets them under names that can be imported.
ROOMS := .cache/rooms
ROOM_NAMES := vad features encoder decoder asr_stream

# What is installed for: `cuda` where an NVIDIA GPU can be used, else `cpu`. DEVICE=cpu keeps off the GPU, and EXTRA=rtx is
# for the profile of that name. When the choice changes, the environment is made anew: the packages exclude each other.
EXTRA ?= $(if $(filter cpu cuda,$(DEVICE)),$(DEVICE),$(or $(shell $(PYTHON) -m frontend.triton.hardware extra 2>/dev/null),cpu))
INSTALLED := $(VENV)/.installed-$(EXTRA)
INSTALLED_BEFORE := $(filter-out $(INSTALLED),$(wildcard $(VENV)/.installed*))
ifneq ($(filter cpu cuda,$(DEVICE)),)
export ASR_DEVICE := $(DEVICE)
endif

.PHONY: setup models demo serve test lint bench bench-report clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.10 to 3.12 is needed: https://www.python.org"; exit 1; }
	@$(PYTHON) -m frontend.triton.hardware; echo "installing the extra $(EXTRA) into $(VENV)"
	$(PYTHON) -m venv $(if $(INSTALLED_BEFORE),--clear )$(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRA),export,train,tracing,dev]' 'numpy<2; python_version < "3.13"'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0 silero-vad==6.2.3
	@touch $@

models: model_repository/decoder/1/checkpoint/export.json model_repository/decoder_fast/1/checkpoint/export.json

model_repository/decoder/1/checkpoint/export.json: $(INSTALLED) $(wildcard $(CHECKPOINT)/*) $(wildcard export/*.py)
	$(BIN)/python -m export all $(CHECKPOINT)

model_repository/decoder_fast/1/checkpoint/export.json: $(INSTALLED) $(wildcard $(FAST_CHECKPOINT)/*) $(wildcard export/*.py)
	$(BIN)/python -m export all --fast $(FAST_CHECKPOINT)

demo: models
	$(BIN)/python -m perf demo

# Its first line says which device serves, and why.
serve: models
	@$(BIN)/python -m frontend

test: lint models
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(ROOMS)
	@for room in $(ROOM_NAMES); do ln -sfn ../../model_repository/$$room/1 $(ROOMS)/asr_room_$$room; done
	$(BIN)/mypy -p frontend -p export -p perf
	MYPYPATH=$(ROOMS) $(BIN)/mypy $(foreach room,$(ROOM_NAMES),-p asr_room_$(room))

bench: models
	$(BIN)/python -m perf asr --quick --json .cache/bench.json

bench-report: models
	$(BIN)/python -m perf report

clean:
	rm -rf $(VENV) .cache build perf/out *.egg-info model_repository/*/1/*.onnx model_repository/*/1/*.onnx.data model_repository/*/1/*.plan model_repository/*/1/checkpoint model_repository/encoder/warmup
