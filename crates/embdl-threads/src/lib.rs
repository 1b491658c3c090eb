//! A pool of threads for a session on a few cores. Never allocates or locks while it runs tasks.

mod cores;
mod pool;
mod state;

use std::sync::Arc;

use embdl_core::kernels::{OneThread, Parallel};
use embdl_core::runtime::RuntimeError;

pub use cores::{Cores, fast_cores, stay_on_fast_cores};
pub use pool::Pool;

/// Most threads of a pool.
pub const MAX_THREADS: usize = 64;

/// A pool of `count` threads, the calling one included; 0 stands for [`fast_cores`]. Where cores differ, its threads stay on
/// the most capable ones that there are enough of.
///
/// # Errors
/// If more than [`MAX_THREADS`] are asked for, or the system refuses a thread.
pub fn threads(count: usize) -> Result<Arc<dyn Parallel>, RuntimeError> {
    let asked = if count == 0 { fast_cores().min(MAX_THREADS) } else { count };
    match asked {
        1 => Ok(Arc::new(OneThread)),
        2..=MAX_THREADS => {
            let pool = Pool::on(Cores::of_this_process(), asked);
            Ok(Arc::new(pool.map_err(|started| RuntimeError::Threads { asked, allowed: started })?))
        }
        _ => Err(RuntimeError::Threads { asked, allowed: MAX_THREADS }),
    }
}
