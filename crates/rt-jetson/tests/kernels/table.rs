//! The list of kernels against the PTX.

use rt_jetson::kernels::{ALL, Module};

use super::case::program;

#[test]
fn the_ptx_has_the_kernels_of_the_list_and_no_others() {
    for module in Module::ALL {
        let program = program(module);
        assert_eq!((program.version(), program.target()), ((6, 5), "sm_62"), "{}", module.name());
        for entry in program.entries() {
            let known = ALL.iter().find(|known| known.name == entry.name());
            let known = known.unwrap_or_else(|| panic!("{} is not in the list", entry.name()));
            assert_eq!(known.module, module, "{}", known.name);
            assert_eq!(entry.params_bytes(), known.params_bytes, "{}", known.name);
            assert_eq!(entry.max_threads(), Some(known.threads.into()), "{}", known.name);
            // What every chip has without asking for more.
            assert!(entry.shared_bytes() <= 48 << 10, "{}", known.name);
        }
    }
    for known in ALL {
        assert!(program(known.module).entry(known.name).is_some(), "{} is not there", known.name);
    }
}
