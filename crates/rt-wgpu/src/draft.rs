//! A dispatch before its memory is there: what a node of the model becomes.

use embdl_core::runtime::RuntimeError;

use crate::kernels::{Params, Shader};

/// Words that the host writes for a kernel to read.
pub(crate) enum Constants<'l> {
    /// The kernel reads none.
    None,
    /// A few, ready.
    Ready(Vec<u32>),
    /// Many, which are decoded when their memory has been counted.
    Later {
        /// How many.
        words: usize,
        /// Writes them all; they are zero before.
        fill: Fill<'l>,
    },
}

/// Writes constants.
pub(crate) type Fill<'l> = Box<dyn Fn(&mut [u32]) -> Result<(), RuntimeError> + 'l>;

impl Constants<'_> {
    /// How many words.
    pub(crate) const fn words(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Ready(words) => words.len(),
            Self::Later { words, .. } => *words,
        }
    }
}

/// One dispatch.
pub(crate) struct Draft<'l> {
    /// Name of the kernel, for profiles.
    pub(crate) name: &'static str,
    pub(crate) shader: Shader,
    pub(crate) params: Params,
    pub(crate) constants: Constants<'l>,
    /// Workgroups that are numbered over the first two axes.
    pub(crate) workgroups: usize,
    /// Samples, or groups of channels: the third axis.
    pub(crate) layers: usize,
}

/// Invocations of a workgroup.
pub(crate) const WORKGROUP: usize = 64;

impl<'l> Draft<'l> {
    /// A kernel of one invocation for each of so many jobs.
    pub(crate) fn linear(
        name: &'static str,
        shader: Shader,
        jobs: usize,
        params: Params,
        constants: Constants<'l>,
    ) -> Self {
        let workgroups = jobs.div_ceil(WORKGROUP);
        Self { name, shader, params, constants, workgroups, layers: 1 }
    }

    /// Workgroups on each axis, of at most `limit`; `None` if there are more than that.
    pub(crate) fn grid(&self, limit: usize) -> Option<[u32; 3]> {
        let x = self.workgroups.clamp(1, limit);
        let y = self.workgroups.div_ceil(x).max(1);
        let fits = y <= limit && self.layers <= limit;
        let axis = |extent: usize| u32::try_from(extent).ok();
        fits.then_some(())?;
        Some([axis(x)?, axis(y)?, axis(self.layers)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::MAP_WORDS;

    #[test]
    fn grids_hold_all_workgroups_within_the_limit() {
        let grid = |jobs, layers| {
            let draft = Draft::linear("map", MAP_WORDS, jobs, Params::new(), Constants::None);
            Draft { layers, ..draft }.grid(10)
        };
        assert_eq!(grid(1, 1), Some([1, 1, 1]));
        assert_eq!(grid(640, 2), Some([10, 1, 2]));
        assert_eq!(grid(641, 1), Some([10, 2, 1]));
        assert_eq!(grid(6401, 1), None);
        assert_eq!(grid(1, 11), None);
    }
}
