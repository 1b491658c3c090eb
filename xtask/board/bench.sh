#!/bin/sh
# Runs a command on a board. Beside what it prints, lines that begin with a word: temperatures, clocks and the power mode before
# and after, and power in between, as far as the board has sensors that anybody may read. EMBDL_SYS is a folder to find /sys in.
sys=${EMBDL_SYS:-}/sys

sensors() {
    for zone in "$sys"/class/thermal/thermal_zone*; do
        if [ -r "$zone/temp" ] && value=$(cat "$zone/temp" 2>/dev/null); then
            echo "temperature $1 $(cat "$zone/type") $value"
        fi
    done
    for core in "$sys"/devices/system/cpu/cpu[0-9]*; do
        if [ -r "$core/cpufreq/scaling_cur_freq" ]; then
            echo "clock $1 ${core##*/} $(cat "$core/cpufreq/scaling_cur_freq")"
        fi
    done
    # Devices beside the CPU, a Jetson's GPU among them, in Hz; the zeros go so that all clocks are in kHz.
    for device in "$sys"/class/devfreq/*; do
        if [ -r "$device/cur_freq" ] && value=$(cat "$device/cur_freq" 2>/dev/null); then
            echo "clock $1 ${device##*/} ${value%???}"
        fi
    done
}

# Microwatts where the kernel follows its own rules, milliwatts in the drivers of older Jetsons. Rails go by their names, since the
# numbers of chips differ between systems; on a Jetson TX2 VDD_IN is the whole module, and the others are parts of it.
power() {
    for file in "$sys"/class/hwmon/hwmon*/power*_input; do
        [ -r "$file" ] && echo "power uw $file $(cat "$file")"
    done
    for name in "$sys"/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*; do
        file=${name%/*}/in_power${name##*_}_input
        [ -r "$name" ] && [ -r "$file" ] && echo "power mw $(cat "$name") $(cat "$file")"
    done
    # Newer Jetsons: millivolts and milliamperes by rail.
    for label in "$sys"/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[1-3]_label; do
        volts=${label%_label}_input
        rail=${label%_label}
        amperes=${label%/*}/curr${rail##*/in}_input
        if [ -r "$label" ] && [ -r "$volts" ] && [ -r "$amperes" ]; then
            echo "power uw $(cat "$label") $(($(cat "$volts") * $(cat "$amperes")))"
        fi
    done
}

# A Jetson's power mode, where the program that sets it is there: "NV Power Mode: MAXN" becomes "mode MAXN".
nvpmodel -q 2>/dev/null | sed -n 's/^NV Power Mode: */mode /p'
sensors before
while :; do
    power 2>/dev/null
    sleep 0.2 2>/dev/null || sleep 1
done &
sampler=$!
"$@"
code=$?
kill "$sampler"
sensors after
exit "$code"
