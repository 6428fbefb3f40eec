# Every target sets up what it needs, once. Python 3.10 to 3.12 for the embedded Triton.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CHECKPOINT ?= export/tiny/tiny
FAST_CHECKPOINT ?= export/tiny/tiny-fast
# Rooms are folders named after versions; the type checker gets them under names that can be imported.
ROOMS := .cache/rooms
ROOM_NAMES := vad features encoder decoder asr_stream

.PHONY: setup models demo serve test lint bench bench-report rehearse clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.10 to 3.12 is needed: https://www.python.org"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cpu,export,train,tracing,dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0 silero-vad==6.2.3
	@touch $@

models: model_repository/decoder/1/checkpoint/export.json model_repository/decoder_fast/1/checkpoint/export.json

model_repository/decoder/1/checkpoint/export.json: $(VENV)/.installed $(wildcard $(CHECKPOINT)/*) $(wildcard export/*.py)
	$(BIN)/python -m export all $(CHECKPOINT)

model_repository/decoder_fast/1/checkpoint/export.json: $(VENV)/.installed $(wildcard $(FAST_CHECKPOINT)/*) $(wildcard export/*.py)
	$(BIN)/python -m export all --fast $(FAST_CHECKPOINT)

demo: models
	$(BIN)/python -m perf demo

serve: models
	$(BIN)/python -m frontend

test: lint models
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(ROOMS)
	@for room in $(ROOM_NAMES); do ln -sfn ../../model_repository/$$room/1 $(ROOMS)/asr_room_$$room; done
	$(BIN)/mypy -p frontend -p export -p perf -p tests.rehearsal
	MYPYPATH=$(ROOMS) $(BIN)/mypy $(foreach room,$(ROOM_NAMES),-p asr_room_$(room))

bench: models
	$(BIN)/python -m perf asr --quick --json .cache/bench.json

bench-report: models
	$(BIN)/python -m perf report

# The containers brought up for real, on a host with Docker or (Debian, Ubuntu, as root) where it can be installed.
rehearse: setup
	$(BIN)/python -m tests.rehearsal

clean:
	rm -rf $(VENV) .cache build perf/out *.egg-info model_repository/*/1/*.onnx model_repository/*/1/*.onnx.data model_repository/*/1/*.plan model_repository/*/1/checkpoint model_repository/encoder/warmup
