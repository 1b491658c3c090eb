#!/bin/sh
# Times the models of this folder on the board's NVIDIA GPU: at each level of the GPU and with halves, one sample and eight a run.
# Writes board.txt (what board, system and power mode this is) and records.jsonl (a record a line) beside itself.
# Ends with 3 where there is no driver or no GPU that serves, with 1 if a model failed. EMBDL_SECONDS: seconds of a bench, 2.
set -u
cd "$(dirname "$0")" || exit 1
runner=./embdl-runner
seconds=${EMBDL_SECONDS:-2}

if ! levels=$("$runner" list --runtime jetson); then
    echo "run.sh: no GPU to time on; the line above says why. On a Jetson the driver comes with JetPack 4.6 or newer." >&2
    exit 3
fi
levels=$(printf '%s\n' "$levels" | sed -n 's/.*"isa":"\([a-z0-9]*\)".*/\1/p')

{
    date -u '+date %Y-%m-%dT%H:%M:%SZ'
    uname -srm
    for file in /proc/device-tree/model /etc/nv_tegra_release; do
        [ -r "$file" ] && { tr -d '\000' < "$file"; echo; }
    done
    command -v nvpmodel > /dev/null && nvpmodel -q
    for file in /sys/class/devfreq/*gp10b/cur_freq /sys/class/devfreq/*gp10b/max_freq; do
        [ -r "$file" ] && echo "$file $(cat "$file")"
    done
} > board.txt 2>&1

: > records.jsonl
failed=0
for model in models/*.embdl; do
    [ -e "$model" ] || { echo "run.sh: there is no model in models/" >&2; exit 1; }
    name=$(basename "$model" .embdl)
    for level in $levels fp16; do
        for batch in 1 8; do
            if record=$("$runner" bench "$model" --runtime jetson --isa "$level" --batch "$batch" --seconds "$seconds"); then
                printf '{"model":"%s",%s\n' "$name" "${record#?}" >> records.jsonl
            else
                echo "run.sh: $model at $level, batch $batch, failed" >&2
                failed=1
            fi
        done
    done
done
echo "run.sh: wrote $(wc -l < records.jsonl | tr -d ' ') records to $(pwd)/records.jsonl"
exit $failed
