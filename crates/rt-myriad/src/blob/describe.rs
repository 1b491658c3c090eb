//! A blob as text, stage by stage.

use core::fmt;

use super::desc::Location;
use super::{Blob, Stage};

/// A blob as text: a head, inputs and outputs, and a line a stage.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a>(pub &'a Blob<'a>);

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = self.0;
        writeln!(
            f,
            "blob 5.0: {} stages, {} bytes of constants, {} bytes of intermediate tensors, {} shaves, {} slices",
            blob.stages.len(),
            blob.constants.len(),
            blob.bss_bytes,
            blob.shaves,
            blob.cmx_slices
        )?;
        for (what, list) in [("input", &blob.inputs), ("output", &blob.outputs)] {
            for (index, io) in list.iter().enumerate() {
                writeln!(f, "{what}{index} {:?}+{} {}", io.name, io.offset, io.desc)?;
            }
        }
        for (index, stage) in blob.stages.iter().enumerate() {
            writeln!(f, "{index:>4} {}", Line(stage))?;
        }
        Ok(())
    }
}

struct Line<'a>(&'a Stage);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.kind)?;
        let params = self.0.params.to_string();
        if !params.is_empty() {
            write!(f, " {params}")?;
        }
        for tensor in &self.0.buffers {
            if tensor.location != Location::None {
                write!(f, " | {tensor}")?;
            }
        }
        Ok(())
    }
}
