//! What streams do when they are waited for.

use std::sync::Arc;

use embdl_ptx::{Launch, Limits, Memory, Program};

use crate::state::{Code, ILLEGAL_ADDRESS, INVALID_HANDLE, LAUNCH_FAILED, Object, State};

/// One thing of a stream.
#[derive(Clone)]
pub(crate) enum Op {
    /// Bytes from the host.
    In { to: u64, from: usize, len: usize },
    /// Bytes to the host.
    Out { to: usize, from: u64, len: usize },
    /// A kernel.
    Kernel { program: Arc<Program>, name: String, grid: [u32; 3], block: [u32; 3], params: Vec<u8> },
    /// An event is reached.
    Event(usize),
}

impl State {
    /// Queues on a stream, or in the graph that it captures.
    pub(crate) fn queue(&mut self, stream: usize, op: Op) -> Result<(), Code> {
        match self.objects.get_mut(&stream) {
            Some(Object::Stream { captured: Some(captured), .. }) => captured.push(op),
            Some(Object::Stream { queue, .. }) => queue.push(op),
            _ => return Err(INVALID_HANDLE),
        }
        Ok(())
    }

    /// Does all that is queued.
    pub(crate) fn synchronize(&mut self, stream: usize) -> Result<(), Code> {
        let Some(Object::Stream { queue, captured: None }) = self.objects.get_mut(&stream) else {
            return Err(INVALID_HANDLE);
        };
        for op in core::mem::take(queue) {
            self.ticks += 1;
            if let Err(code) = self.perform(op) {
                self.lost = Some(code);
                return Err(code);
            }
        }
        Ok(())
    }

    fn perform(&mut self, op: Op) -> Result<(), Code> {
        match op {
            Op::In { to, from, len } => {
                let bytes = self.bytes(to, len).ok_or(ILLEGAL_ADDRESS)?;
                // SAFETY: whoever queued the copy keeps so many bytes there until the stream has been waited for; they are not
                // memory of the device, which no caller has a pointer to, but for host memory, which may be the same.
                unsafe { core::ptr::copy(from as *const u8, bytes.as_mut_ptr(), len) };
            }
            Op::Out { to, from, len } => {
                let bytes = self.bytes(from, len).ok_or(ILLEGAL_ADDRESS)?;
                // SAFETY: as above.
                unsafe { core::ptr::copy(bytes.as_ptr(), to as *mut u8, len) };
            }
            Op::Event(event) => {
                let now = self.ticks;
                match self.objects.get_mut(&event) {
                    Some(Object::Event(at)) => *at = Some(now),
                    _ => return Err(INVALID_HANDLE),
                }
            }
            Op::Kernel { program, name, grid, block, params } => {
                if self.settings.kernels == 0 {
                    return Err(LAUNCH_FAILED);
                }
                self.settings.kernels -= i64::from(self.settings.kernels > 0);
                let entry = program.entry(&name).ok_or(INVALID_HANDLE)?;
                let mut memory = Memory::default().checking_fixed();
                for (&base, region) in &mut self.regions {
                    memory.map(base, region.bytes()).map_err(|_| ILLEGAL_ADDRESS)?;
                }
                let launch = Launch { grid, block, params: &params };
                match entry.launch(&launch, &mut memory, &Limits::default()) {
                    Ok(stats) => self.ticks += stats.instructions,
                    Err(error) => {
                        // Who tests wants to know more than a code can say.
                        eprintln!("kernel {name}: {error}");
                        return Err(ILLEGAL_ADDRESS);
                    }
                }
            }
        }
        Ok(())
    }
}
