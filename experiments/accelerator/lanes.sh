#!/bin/bash
# Works on the plan with one accelerator for so many seconds, several units at a time.
#
#   lanes.sh SECONDS DATA STATE RESULTS TRAINERS EVALUATORS UNIT...
#
# One process trains the named units in the order of the plan, TRAINERS others whatever is next, EVALUATORS evaluate what
# is trained. RESULTS should hold the results of the checkout (experiments/results/evidence), or finished units are done
# again. A unit that is not trained in time is lost but for its finished stages. Wants PYTHONPATH=monai_bundle.
seconds=$1 data=$2 state=$3 results=$4 trainers=$5 evaluators=$6
shift 6
end=$(( $(date +%s) + seconds ))
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
mkdir -p "$state/logs" "$results"
work() { python3 -m casr_net.evaluation.crossval --data "$data" --state "$state" --results "$results" --device cuda --shared "$@"; }
minutes() { echo "scale=2; v=($end - $(date +%s)) / 60; if (v < 0.05) 0.05 else v" | bc 2>/dev/null \
    || python3 -c "import time; print(max(0.05, ($end - time.time()) / 60))"; }
work --phase train --processes 8 --minutes "$(minutes)" --only "$@" > "$state/logs/named.log" 2>&1 &
for i in $(seq "$trainers"); do
    (sleep $(( 3 * i )); work --phase train --minutes "$(minutes)") > "$state/logs/train$i.log" 2>&1 &
done
for i in $(seq "$evaluators"); do
    # Without TensorFloat-32: figures of different machines are to compare.
    (sleep $(( 40 + 2 * i )); while [ "$(date +%s)" -lt "$end" ]; do
        NVIDIA_TF32_OVERRIDE=0 work --phase evaluate --minutes "$(minutes)"; sleep 4
    done) > "$state/logs/evaluate$i.log" 2>&1 &
done
while [ "$(date +%s)" -lt "$end" ]; do
    sleep 20
    echo "$(( end - $(date +%s) )) s left; $(ls "$state"/*/model.pt 2>/dev/null | wc -l) trained"
    tail -qn 1 "$state/logs/named.log"
    pgrep -f "phase train" > /dev/null || break
done
pkill -f casr_net.evaluation.crossval
true
