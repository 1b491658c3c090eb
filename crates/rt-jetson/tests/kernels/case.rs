//! A few launches on buffers of their own, run by every route that there is.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytemuck::Pod;
use embdl_ptx::{Launch, Limits, Memory, Program};
use rt_jetson::kernels::{Kernel, Module};
use rt_jetson::params::{Address, Params};

use super::host;

/// Where the first buffer is: free in the address space of every process on 64-bit Linux.
const BASE: u64 = 0x2000_0000_0000;

/// What room is filled with that kernels have to write.
const UNWRITTEN: u8 = 0xee;

/// Buffers and launches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    buffers: BTreeMap<u64, Vec<u8>>,
    steps: Vec<Step>,
}

/// A launch.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) module: Module,
    pub(crate) entry: &'static str,
    pub(crate) threads: u32,
    pub(crate) grid: [u32; 3],
    pub(crate) params: Vec<u8>,
}

/// What a route left in the buffers.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) route: &'static str,
    buffers: BTreeMap<u64, Vec<u8>>,
}

impl Case {
    /// A buffer of these values, with nothing around it. Its address is a multiple of 256.
    pub(crate) fn put<T: Pod>(&mut self, values: &[T]) -> Address {
        let end = self.buffers.last_key_value().map_or(BASE, |(at, bytes)| at + bytes.len() as u64);
        let address = end.next_multiple_of(256) + 256;
        self.buffers.insert(address, bytemuck::cast_slice(values).to_vec());
        address
    }

    /// A buffer for so many values.
    pub(crate) fn room<T: Pod>(&mut self, count: usize) -> Address {
        self.put(&vec![UNWRITTEN; count * size_of::<T>()])
    }

    pub(crate) fn launch<P: Params>(&mut self, kernel: Kernel<P>, params: &P) {
        self.steps.push(Step {
            module: kernel.module,
            entry: kernel.entry,
            threads: kernel.threads,
            grid: (kernel.grid)(params).map(|axis| u32::try_from(axis).unwrap()),
            params: bytemuck::bytes_of(params).to_vec(),
        });
    }

    /// Runs all launches by all routes.
    pub(crate) fn run(&self) -> Vec<Outcome> {
        let mut outcomes = vec![self.interpreted()];
        for machine in host::machines() {
            let mut buffers = self.buffers.clone();
            for step in &self.steps {
                machine.launch(step, &mut buffers);
            }
            outcomes.push(Outcome { route: machine.name, buffers });
        }
        outcomes
    }

    fn interpreted(&self) -> Outcome {
        let mut buffers = self.buffers.clone();
        for step in &self.steps {
            let mut memory = Memory::default().checking_fixed();
            for (&address, bytes) in &mut buffers {
                memory.map(address, bytes).unwrap();
            }
            let entry = program(step.module).entry(step.entry).unwrap();
            let block = [step.threads, 1, 1];
            let launch = Launch { grid: step.grid, block, params: &step.params };
            let result = entry.launch(&launch, &mut memory, &Limits::default());
            result.unwrap_or_else(|error| panic!("{error}\n{step:?}"));
        }
        Outcome { route: "PTX", buffers }
    }
}

impl Outcome {
    /// What a buffer holds.
    pub(crate) fn read<T: Pod>(&self, address: Address) -> Vec<T> {
        let bytes = self.buffers[&address].chunks_exact(size_of::<T>());
        bytes.map(bytemuck::pod_read_unaligned).collect()
    }
}

/// A module of the shipped PTX, read once.
pub(crate) fn program(module: Module) -> &'static Program {
    static PROGRAMS: LazyLock<Vec<(Module, Program)>> = LazyLock::new(|| {
        let read = |module: Module| {
            let program = Program::parse(module.ptx());
            program.unwrap_or_else(|error| panic!("{}.ptx: {error}", module.name()))
        };
        Module::ALL.into_iter().map(|module| (module, read(module))).collect()
    });
    &PROGRAMS.iter().find(|(known, _)| *known == module).unwrap().1
}
