#!/bin/sh
# Fill the model repository at MODELS: the rooms' code, which this image has, and what they load, of CHECKPOINT and the
# others. What is there already is not made again, so that a pod that is started anew is soon there; a failure leaves what
# was there, and keeps the server from starting.
set -eu
mkdir -p "$MODELS"

# The code of an older image goes as a whole; what was exported stays.
find "$MODELS" \( -name '*.py' -o -name '*.pbtxt' -o -type l \) -delete
cp -RP model_repository/. "$MODELS"

[ -n "$ALIGNER" ] || rm -rf "$MODELS/aligner/1/checkpoint"
python3 -m export ensure "$CHECKPOINT" --repository "$MODELS" --speakers \
    ${FAST_CHECKPOINT:+--fast-checkpoint "$FAST_CHECKPOINT"} ${ALIGNER:+--aligner "$ALIGNER"}

# Plans belong to this GPU, this TensorRT and this graph.
plans() {
    python3 -m export check --repository "$MODELS" --profile "$PROFILE" "$@"
}
engine() { # CHECKPOINT ROOM OPTION: unless there is no checkpoint, or its plan is there
    if [ -n "$1" ] && [ ! -f "$MODELS/$2/1/model.plan" ]; then
        python3 -m export encoder "$1" --precision fp16 --repository "$MODELS" $3
        python3 -m export tensorrt --repository "$MODELS" $3
    fi
}
plans --if-any || rm -f "$MODELS"/encoder*/1/model.plan
if ! plans --if-any >/dev/null 2>&1 || plans >/dev/null 2>&1; then
    engine "$CHECKPOINT" encoder ""
    engine "$FAST_CHECKPOINT" encoder_fast --fast
    engine "$ALIGNER" encoder_aligner --aligner
    plans --if-any
fi
