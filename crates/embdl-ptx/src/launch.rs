//! Runs the blocks of a launch, one after the other, and the threads of a block in groups that are at the same instruction.

use crate::error::{Fault, LaunchError};
use crate::execute::{Block, Flow};
use crate::memory::Memory;
use crate::program::{Entry, Special};

/// Threads of a warp.
pub(crate) const WARP: usize = 32;

/// What a launch is given beside memory.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'p> {
    /// Blocks on three axes.
    pub grid: [u32; 3],
    /// Threads of a block on three axes.
    pub block: [u32; 3],
    /// All parameters, as they lie in memory.
    pub params: &'p [u8],
}

/// What a launch may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instructions of all threads together.
    pub instructions: u64,
}

impl Default for Limits {
    /// Enough for the largest layers of the networks that we know, and minutes at most.
    fn default() -> Self {
        Self { instructions: 1 << 38 }
    }
}

/// What a launch took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions of all threads together.
    pub instructions: u64,
    /// Bytes that threads loaded from global memory.
    pub loaded_bytes: u64,
    /// Bytes that they stored there.
    pub stored_bytes: u64,
}

/// Threads of a block that are allowed, as on every chip.
const MAX_THREADS: u64 = 1024;
/// Longest second and third axis of a grid, and longest first one.
const MAX_GRID: [u32; 3] = [0x7fff_ffff, 65_535, 65_535];
/// Registers of all threads of a block.
const MAX_REGISTERS: u64 = 1 << 25;

impl Entry {
    /// Runs the kernel on all blocks of a grid.
    ///
    /// # Errors
    /// If the launch does not fit the kernel, or the kernel does what it must not do. What it wrote before stays.
    pub fn launch(
        &self,
        launch: &Launch<'_>,
        memory: &mut Memory<'_>,
        limits: &Limits,
    ) -> Result<Stats, LaunchError> {
        let fail =
            |block, line, fault| LaunchError { entry: self.name.clone(), block, line, fault };
        let threads = self.check(launch).map_err(|fault| fail([0; 3], 0, fault))?;
        memory.begin();
        let mut block = Block::new(self, threads, launch);
        let mut stats = Stats::default();
        for z in 0..launch.grid[2] {
            for y in 0..launch.grid[1] {
                for x in 0..launch.grid[0] {
                    let at = [x, y, z];
                    block.begin(self, at);
                    self.run(&mut block, memory, limits, &mut stats)
                        .map_err(|(line, fault)| fail(at, line, fault))?;
                }
            }
        }
        memory.end().map_err(|fault| fail([0; 3], 0, fault))?;
        Ok(stats)
    }

    /// Threads of a block. Errors: the launch does not fit.
    fn check(&self, launch: &Launch<'_>) -> Result<usize, Fault> {
        let threads = launch.block.iter().fold(1_u64, |all, &axis| all.saturating_mul(axis.into()));
        let allowed = self.max_threads.unwrap_or(MAX_THREADS).min(MAX_THREADS);
        if threads == 0 || threads > allowed {
            return Err(Fault::Block { threads, allowed });
        }
        if launch.grid.iter().zip(MAX_GRID).any(|(&axis, longest)| axis == 0 || axis > longest) {
            return Err(Fault::Grid(launch.grid));
        }
        if launch.params.len() != self.params_bytes {
            let (found, expected) = (launch.params.len(), self.params_bytes);
            return Err(Fault::Params { found, expected });
        }
        let registers = (self.registers.words + self.registers.longs) as u64 * threads;
        if registers > MAX_REGISTERS {
            return Err(Fault::Registers(registers));
        }
        // At most 1024.
        usize::try_from(threads).map_err(|_| Fault::Block { threads, allowed })
    }

    /// Runs one block. Errors: the line of the instruction, and what it did.
    fn run(
        &self,
        block: &mut Block<'_>,
        memory: &mut Memory<'_>,
        limits: &Limits,
        stats: &mut Stats,
    ) -> Result<(), (usize, Fault)> {
        let mut schedule = Schedule::new(block.threads);
        let mut part = Vec::new();
        while let Some(group) = schedule.next_group() {
            let mut at = group.at;
            // The group runs until it meets threads that are further on, parts, waits, or ends.
            loop {
                if at >= schedule.others {
                    schedule.put(at, State::Running);
                    break;
                }
                let Some(instruction) = self.code.get(at) else { return Err((0, Fault::End)) };
                let lanes = &schedule.lanes;
                stats.instructions += lanes.len() as u64;
                if stats.instructions > limits.instructions {
                    return Err((instruction.line, Fault::Instructions(limits.instructions)));
                }
                let active: &[u32] = match instruction.guard {
                    None => lanes,
                    Some((predicate, value)) => {
                        block.with_predicate(lanes, predicate, value, &mut part);
                        &part
                    }
                };
                let flow = if active.is_empty() {
                    Flow::Next
                } else {
                    block
                        .execute(&instruction.operation, active, memory, stats)
                        .map_err(|fault| (instruction.line, fault))?
                };
                let is_whole = active.len() == lanes.len();
                match flow {
                    Flow::Next => at += 1,
                    Flow::Jump(target) if is_whole => at = target,
                    Flow::Jump(target) => {
                        schedule.split(at + 1, &part, State::Running, target);
                        break;
                    }
                    Flow::Wait if is_whole => {
                        schedule.put(at + 1, State::Waiting);
                        break;
                    }
                    Flow::Wait => {
                        schedule.split(at + 1, &part, State::Waiting, at + 1);
                        break;
                    }
                    Flow::End if is_whole => {
                        schedule.put(at, State::Done);
                        break;
                    }
                    Flow::End => {
                        schedule.split(at + 1, &part, State::Done, at);
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// At a barrier, until all threads are there that have not ended.
    Waiting,
    Done,
}

/// Where all threads of a block are. Those that are furthest behind run first, so that paths meet again where they can.
struct Schedule {
    states: Vec<State>,
    /// The next instruction of each thread.
    next: Vec<usize>,
    /// The threads that run together.
    lanes: Vec<u32>,
    /// The instruction that the next ones of the others are at.
    others: usize,
}

struct Group {
    at: usize,
}

impl Schedule {
    fn new(threads: usize) -> Self {
        Self {
            states: vec![State::Running; threads],
            next: vec![0; threads],
            lanes: Vec::with_capacity(threads),
            others: usize::MAX,
        }
    }

    /// The threads that are furthest behind; `None` when all have ended. Lets threads on that wait for no others.
    fn next_group(&mut self) -> Option<Group> {
        if !self.states.contains(&State::Running) {
            let waiting = self.states.iter_mut().filter(|state| **state == State::Waiting);
            waiting.for_each(|state| *state = State::Running);
        }
        let running = |states: &[State], thread: usize| states[thread] == State::Running;
        let threads = self.states.len();
        let first = (0..threads).filter(|&thread| running(&self.states, thread));
        let at = first.map(|thread| self.next[thread]).min()?;
        self.lanes.clear();
        self.others = usize::MAX;
        for (thread, lane) in (0..threads).zip(0_u32..) {
            if running(&self.states, thread) {
                if self.next[thread] == at {
                    self.lanes.push(lane);
                } else {
                    self.others = self.others.min(self.next[thread]);
                }
            }
        }
        Some(Group { at })
    }

    /// All of the group go on at `at`, in this state.
    fn put(&mut self, at: usize, state: State) {
        for &lane in &self.lanes {
            self.next[lane as usize] = at;
            self.states[lane as usize] = state;
        }
    }

    /// The group goes on at `at`, but for a part.
    fn split(&mut self, at: usize, part: &[u32], state: State, part_at: usize) {
        self.put(at, State::Running);
        for &lane in part {
            self.next[lane as usize] = part_at;
            self.states[lane as usize] = state;
        }
    }
}

/// Where a thread or block is, of all along three axes, the first one fastest.
pub(crate) fn place(number: usize, extents: [u32; 3]) -> [u32; 3] {
    let [width, height, _] = extents.map(|extent| extent.max(1) as usize);
    // Below the extents, which are u32.
    #[expect(clippy::cast_possible_truncation, reason = "below the extents")]
    [number % width, number / width % height, number / width / height].map(|axis| axis as u32)
}

/// What a register says of a thread.
pub(crate) fn special(special: Special, thread: usize, at: [u32; 3], launch: &Launch<'_>) -> u32 {
    match special {
        Special::Thread(axis) => place(thread, launch.block)[axis],
        Special::Threads(axis) => launch.block[axis],
        Special::Block(axis) => at[axis],
        Special::Blocks(axis) => launch.grid[axis],
    }
}
