#!/bin/sh
# Runs a command on a board. Beside what it prints, lines that begin with a word: temperatures and clocks before and after,
# and power in between, as far as the board has sensors that anybody may read.
sensors() {
    for zone in /sys/class/thermal/thermal_zone*; do
        if [ -r "$zone/temp" ] && value=$(cat "$zone/temp" 2>/dev/null); then
            echo "temperature $1 $(cat "$zone/type") $value"
        fi
    done
    for core in /sys/devices/system/cpu/cpu[0-9]*; do
        if [ -r "$core/cpufreq/scaling_cur_freq" ]; then
            echo "clock $1 ${core##*/} $(cat "$core/cpufreq/scaling_cur_freq")"
        fi
    done
}

# Microwatts where the kernel follows its own rules, milliwatts in the drivers of older Jetsons.
power() {
    for file in /sys/class/hwmon/hwmon*/power*_input; do
        [ -r "$file" ] && echo "power uw $file $(cat "$file")"
    done
    for file in /sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input; do
        [ -r "$file" ] && echo "power mw $file $(cat "$file")"
    done
}

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
