//! Rules on `targets/`: every page parses, unknown keys are errors, every board has a target and its sources.
use super::{Finding, TextFile, finding};
use crate::targets::{Board, Target};

/// Checks one file below `targets/`.
pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let parts: Vec<&str> = file.path.split('/').collect();
    match parts.as_slice() {
        ["targets", page] if page.ends_with(".toml") => {
            match toml::from_str::<Target>(&file.text) {
                Ok(target) => target_findings(file, &target),
                Err(error) => vec![misread(file, &error)],
            }
        }
        ["targets", "boards", _, "board.toml"] => match toml::from_str::<Board>(&file.text) {
            Ok(board) => board_findings(file, &board),
            Err(error) => vec![misread(file, &error)],
        },
        ["targets", "boards", _, "measurements", record] if record.ends_with(".json") => {
            match serde_json::from_str::<serde_json::Value>(&file.text) {
                Ok(_) => Vec::new(),
                Err(error) => {
                    vec![finding(&file.path, error.line().saturating_sub(1), error.to_string())]
                }
            }
        }
        _ => vec![finding(&file.path, 0, "is neither a target, nor a board, nor a measurement")],
    }
}

fn target_findings(file: &TextFile, target: &Target) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !target.runtime.starts_with("rt-") {
        findings.push(finding(&file.path, 0, format!("`{}` is no runtime crate", target.runtime)));
    }
    if target.max_size.arena.0 == 0 || target.max_size.text.0 == 0 {
        findings.push(finding(&file.path, 0, "a budget of nothing"));
    }
    findings
}

fn board_findings(file: &TextFile, board: &Board) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut expect = |holds: bool, message: &str| {
        if !holds {
            findings.push(finding(&file.path, 0, message));
        }
    };
    expect(Target::read(&board.target).is_ok(), "names a target that `targets/` does not have");
    expect(
        !board.name.is_empty() && !board.soc.is_empty() && !board.flash.is_empty(),
        "an empty text",
    );
    expect(!board.cpu.is_empty(), "has no CPU");
    expect(
        board.cpu.iter().all(|cpu| cpu.cores > 0 && !cpu.core.is_empty() && !cpu.isa.is_empty()),
        "a CPU without cores, name or instruction sets",
    );
    expect(
        board.cpu.iter().all(|cpu| cpu.burst_mhz.is_none() || cpu.burst_mhz >= cpu.clock_mhz),
        "a burst clock below the nominal one",
    );
    expect(
        board.accelerator.iter().all(|unit| {
            !unit.name.is_empty() && unit.units != Some(0) && unit.clock_mhz != Some(0)
        }),
        "an accelerator without a name, units or a clock",
    );
    let memory = &board.memory;
    expect(
        memory.kind.is_some() || !memory.sizes.is_empty(),
        "memory of which neither kind nor size is known",
    );
    expect(memory.sizes.iter().all(|size| size.0 > 0), "a memory of no bytes");
    expect(memory.bus_bits != Some(0), "a memory bus of no bits");
    expect(memory.bandwidth_gb_s.is_none_or(|rate| rate > 0.0), "a memory bandwidth of nothing");
    let watts = board.power.iter().flat_map(|power| {
        power.soc_tdp_w.iter().chain(&power.supply_w).chain(&power.modes_w).copied()
    });
    expect(watts.into_iter().all(|watts| watts > 0.0), "a power of nothing");
    expect(!board.sources.is_empty(), "has no sources: numbers need a public document");
    expect(
        board.sources.iter().all(|s| !s.document.is_empty() && !s.states.is_empty()),
        "a source without a document or without what it states",
    );
    findings
}

fn misread(file: &TextFile, error: &toml::de::Error) -> Finding {
    let start = error.span().map_or(0, |span| span.start);
    let line = file.text.get(..start).map_or(0, |before| before.matches('\n').count());
    finding(&file.path, line, error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: &str) -> Vec<String> {
        let file = TextFile { path: path.into(), text: text.into() };
        check(&file).iter().map(|f| format!("{}: {}", f.line, f.message)).collect()
    }

    const BOARD: &str = "name = 'B'\ntarget = 'host'\nsoc = 'S'\nreach = 'ssh'\nflash = 'By hand.'\n\
                         memory = { kind = 'DDR4', sizes = ['1 GiB'] }\ncpu = [{ core = 'C', cores = 4, isa = ['neon'] }]\n";
    const SOURCES: &str = "sources = [{ document = 'D', states = 'cores' }]\n";

    #[test]
    fn a_board_says_what_it_is_and_where_that_is_written() {
        let path = "targets/boards/b/board.toml";
        assert_eq!(check_text(path, &format!("{BOARD}{SOURCES}")), [""; 0]);
        assert!(check_text(path, BOARD)[0].contains("missing field `sources`"));
        assert!(check_text(path, &format!("{BOARD}sources = []"))[0].contains("has no sources"));
        let unknown = check_text(path, &format!("{BOARD}{SOURCES}colour = 'green'"));
        assert!(
            unknown[0].starts_with("9: ") && unknown[0].contains("unknown field"),
            "{unknown:?}"
        );
        let no_target = format!("{BOARD}{SOURCES}").replace("'host'", "'toaster'");
        assert!(check_text(path, &no_target)[0].contains("does not have"));
    }

    #[test]
    fn a_target_parses_and_names_a_runtime() {
        let page = "runtime = 'rt-arm'\nmax-size = { text = '1 KiB', arena = '1 KiB' }\n";
        assert!(check_text("targets/a.toml", page).is_empty());
        assert!(
            check_text("targets/a.toml", &page.replace("rt-arm", "arm"))[0].contains("runtime")
        );
        assert!(check_text("targets/a.toml", &page.replace("1 KiB", "1 KB"))[0].starts_with("2: "));
    }

    #[test]
    fn nothing_else_lives_there() {
        assert_eq!(check_text("targets/notes.txt", "x").len(), 1);
        assert_eq!(check_text("targets/boards/b/measurements/r.json", "{").len(), 1);
        assert!(check_text("targets/boards/b/measurements/r.json", "[]").is_empty());
    }
}
