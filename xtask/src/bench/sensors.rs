//! What a board's sensors said around and during a benchmark, as `xtask/board/bench.sh` prints it.
use serde::Serialize;
use std::collections::BTreeMap;

/// Temperatures, clocks and power; empty where the board has no such sensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Sensors {
    /// Degrees Celsius of each zone, before and after.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) temperature_c: BTreeMap<String, Pair>,
    /// The board's power mode, by its vendor's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<String>,
    /// Clock of each core, and of devices such as a GPU, in MHz, before and after.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) clock_mhz: BTreeMap<String, Pair>,
    /// Mean power of each sensor in watts while the benchmark ran; the idle power of the board is in it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) power_w: BTreeMap<String, f64>,
}

/// A value before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Pair {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<f64>,
}

impl Sensors {
    /// From the lines that begin with `temperature`, `clock`, `mode` or `power`; others are somebody else's.
    pub(super) fn read(text: &str) -> Self {
        let mut sensors = Self::default();
        let mut power: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for line in text.lines() {
            let Some((kind, rest)) = line.split_once(' ') else { continue };
            if kind == "mode" {
                sensors.mode = Some(rest.to_owned());
                continue;
            }
            let Some((when, rest)) = rest.split_once(' ') else { continue };
            let Some((name, value)) = rest.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let pair = |values: &mut BTreeMap<String, Pair>| {
                let pair = values.entry(name.to_owned()).or_default();
                let place = if when == "before" { &mut pair.before } else { &mut pair.after };
                *place = Some(value / 1000.0);
            };
            match kind {
                "temperature" => pair(&mut sensors.temperature_c),
                "clock" => pair(&mut sensors.clock_mhz),
                "power" => {
                    let watts = value / if when == "mw" { 1e3 } else { 1e6 };
                    let (sum, count) = power.entry(name.to_owned()).or_default();
                    (*sum, *count) = (*sum + watts, *count + 1.0);
                }
                _ => {}
            }
        }
        sensors.power_w =
            power.into_iter().map(|(name, (sum, count))| (name, sum / count)).collect();
        sensors
    }

    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensors_are_read_from_between_the_records() {
        let text = "temperature before cpu-thermal 48312\nclock before cpu0 1500000\n\
                    power mw /sys/a 4000\n{\"runtime\":\"arm\"}\npower mw /sys/a 6000\n\
                    power uw /sys/b 2500000\ntemperature after cpu-thermal 50000\nclock after cpu0 600000\nnoise\n";
        let sensors = Sensors::read(text);
        let pair = |before, after| Pair { before: Some(before), after: Some(after) };
        assert_eq!(sensors.temperature_c["cpu-thermal"], pair(48.312, 50.0));
        assert_eq!(sensors.clock_mhz["cpu0"], pair(1500.0, 600.0));
        assert_eq!(sensors.power_w["/sys/a"], 5.0);
        assert_eq!(sensors.power_w["/sys/b"], 2.5);
        assert!(!sensors.is_empty() && Sensors::read("{}\n").is_empty());
    }

    /// Files as a Jetson TX2 and a newer one have them, by name and content.
    const TREE: &[(&str, &str)] = &[
        ("class/thermal/thermal_zone1/type", "GPU-therm"),
        ("class/thermal/thermal_zone1/temp", "41500"),
        ("devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2035200"),
        ("class/devfreq/17000000.gp10b/cur_freq", "1300500000"),
        ("bus/i2c/drivers/ina3221x/0-0041/iio:device1/rail_name_0", "VDD_IN"),
        ("bus/i2c/drivers/ina3221x/0-0041/iio:device1/in_power0_input", "7250"),
        ("bus/i2c/drivers/ina3221x/0-0040/iio:device0/rail_name_0", "VDD_SYS_GPU"),
        ("bus/i2c/drivers/ina3221x/0-0040/iio:device0/in_power0_input", "3100"),
        // A rail whose power nobody may read.
        ("bus/i2c/drivers/ina3221x/0-0040/iio:device0/rail_name_1", "VDD_SYS_SOC"),
        ("bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_label", "VDD_CPU_GPU"),
        ("bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_input", "5000"),
        ("bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input", "640"),
    ];

    #[test]
    fn the_script_reads_the_sensors_of_jetsons() {
        let folder = std::env::temp_dir().join(format!("embdl-sensors-{}", std::process::id()));
        for (path, content) in TREE {
            let file = folder.join("sys").join(path);
            std::fs::create_dir_all(file.parent().expect("it is in a folder")).unwrap();
            std::fs::write(&file, format!("{content}\n")).unwrap();
        }
        let script = crate::workspace::root().join("xtask/board/bench.sh");
        let run = std::process::Command::new("sh")
            .arg(script)
            .args(["sleep", "0.3"])
            .env("EMBDL_SYS", &folder)
            .output();
        std::fs::remove_dir_all(&folder).unwrap();
        let run = run.unwrap();
        assert!(run.status.success(), "{run:?}");
        let sensors = Sensors::read(&String::from_utf8_lossy(&run.stdout));
        let same = |value| Pair { before: Some(value), after: Some(value) };
        assert_eq!(sensors.temperature_c["GPU-therm"], same(41.5));
        assert_eq!(sensors.clock_mhz["17000000.gp10b"], same(1300.5));
        assert_eq!(sensors.clock_mhz["cpu0"], same(2035.2));
        let watts = [("VDD_CPU_GPU", 3.2), ("VDD_IN", 7.25), ("VDD_SYS_GPU", 3.1)];
        let found: Vec<(&str, f64)> =
            sensors.power_w.iter().map(|(name, &watts)| (&**name, watts)).collect();
        assert_eq!(found, watts);
    }
}
