#!/bin/bash
# Works on the plan with one accelerator for so many seconds, several units at a time.
#
#   lanes.sh SECONDS DATA STATE RESULTS EVALUATORS "EVALUATED ..." "LANE ..." ["LANE ..." ...]
#
# A lane is a process that trains its units in the order of the plan. EVALUATORS processes evaluate those of EVALUATED that
# are trained. A unit that is not trained in time is lost but for its finished stages. Wants PYTHONPATH=monai_bundle; PLAN
# may name another plan, DEVICE another device (cuda).
seconds=$1 data=$2 state=$3 results=$4 evaluators=$5 evaluated=$6
shift 6
end=$(( $(date +%s) + seconds ))
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
mkdir -p "$state/logs" "$results"
work() {
    python3 -m casr_net.evaluation.crossval --plan "${PLAN:-experiments/plan.json}" --data "$data" --state "$state" \
        --results "$results" --device "${DEVICE:-cuda}" --shared "$@"
}
minutes() { python3 -c "import time; print(max(0.05, ($end - time.time()) / 60))"; }
number=0
for lane in "$@"; do
    number=$(( number + 1 ))
    # shellcheck disable=SC2086
    (sleep $(( number / 2 )); work --phase train --processes 2 --minutes "$(minutes)" --only $lane) > "$state/logs/train$number.log" 2>&1 &
done
for i in $(seq "$evaluators"); do
    # Without TensorFloat-32: figures of different machines are to compare.
    (sleep $(( 60 + 2 * i )); while [ "$(date +%s)" -lt "$end" ]; do
        # shellcheck disable=SC2086
        NVIDIA_TF32_OVERRIDE=0 work --phase evaluate --minutes "$(minutes)" --only $evaluated; sleep 6
    done) > "$state/logs/evaluate$i.log" 2>&1 &
done
while [ "$(date +%s)" -lt "$end" ]; do
    sleep 20
    echo "$(( end - $(date +%s) )) s left; $(ls "$state"/*/model.pt 2>/dev/null | wc -l) trained, $(ls "$results" | wc -l) results"
    for log in "$state"/logs/train*.log; do tail -n 1 "$log" | cut -c 12-110; done
    nvidia-smi --query-gpu=utilization.gpu,memory.used --format=csv,noheader 2>/dev/null
    missing=0
    for unit in $evaluated; do [ -f "$results/$unit.json" ] || missing=1; done
    pgrep -f -- "--state $state .*--phase train" > /dev/null || [ "$missing" = 1 ] || break
done
pkill -f -- "--state $state"
sleep 2
true
