//! The peers, and what each of them reads.
use super::level;
use crate::bench::models::{Network, make_if_older};
use crate::process::output;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// A peer by the name that `peers/runtimes.py` knows it by.
#[derive(Debug)]
pub(in crate::bench) struct Kind {
    pub(in crate::bench) name: &'static str,
    fp32: Input,
    int8: Input,
}

/// What a peer reads.
#[derive(Debug)]
enum Input {
    /// The ONNX file in floats.
    Onnx,
    /// What `convert.py` makes in this way, under this name; the last is the file that is written last.
    Made { how: &'static str, file: &'static str, last: &'static str },
    /// Nothing, for this reason.
    Nothing(&'static str),
}

const fn made(how: &'static str, file: &'static str, last: &'static str) -> Input {
    Input::Made { how, file, last }
}

/// The peer that is a program of its own and not called from Python.
pub(in crate::bench) const TRACT: &str = "tract";

/// All that are compared with, in the order of their turns.
pub(in crate::bench) const ALL: [Kind; 6] = [
    Kind {
        name: "onnxruntime",
        fp32: Input::Onnx,
        int8: made("qdq", "int8.qdq.onnx", "int8.qdq.onnx"),
    },
    Kind {
        name: "openvino",
        fp32: Input::Onnx,
        int8: made("qdq", "int8.qdq.onnx", "int8.qdq.onnx"),
    },
    Kind {
        name: "ncnn",
        fp32: made("ncnn", "fp32.ncnn", "fp32.ncnn.shape"),
        int8: made("ncnn8", "int8.ncnn", "int8.ncnn.shape"),
    },
    Kind {
        name: "mnn",
        fp32: made("mnn", "fp32.mnn", "fp32.mnn"),
        int8: Input::Nothing("its quantizer aborts on these networks (std::length_error)"),
    },
    Kind {
        name: "litert",
        fp32: made("litert", "fp32.tflite", "fp32.tflite"),
        int8: made("litert8", "int8.tflite", "int8.tflite"),
    },
    Kind {
        name: TRACT,
        fp32: Input::Onnx,
        int8: Input::Nothing("it computes such files more slowly than floats, and other results"),
    },
];

impl Kind {
    /// The file of `network` that this peer reads, made where it is missing. Errors: the reason why there is none.
    pub(in crate::bench) fn file(&self, network: &Network, is_int8: bool) -> Result<PathBuf> {
        if network.is_quantized {
            let reads_onnx = matches!(self.fp32, Input::Onnx);
            if !reads_onnx {
                bail!("it reads no ONNX in integers, and the floats are not there");
            }
            return Ok(network.onnx.clone());
        }
        match if is_int8 { &self.int8 } else { &self.fp32 } {
            Input::Onnx => Ok(network.onnx.clone()),
            Input::Nothing(reason) => bail!("{reason}"),
            Input::Made { how, file, last } => {
                let [file, last] = [file, last].map(|name| network.folder.join(name));
                let converter = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/convert.py");
                make_if_older(&last, &[&network.onnx, &converter], || {
                    let mut command = level::converter()?;
                    output(command.arg(how).arg(&network.onnx).arg(&file)).map(drop)
                })?;
                Ok(file)
            }
        }
    }
}

/// Length of the files of a model: the file itself, or those whose names go on after it.
pub(in crate::bench) fn len_bytes(file: &Path) -> u64 {
    let len = |path: &Path| path.metadata().map_or(0, |data| data.len());
    if file.exists() {
        return len(file);
    }
    ["param", "bin"].iter().map(|ending| len(&file.with_added_extension(ending))).sum()
}

/// The peers of these names, or all where none is named. Errors: there is no such peer.
pub(in crate::bench) fn named(names: &[String]) -> Result<Vec<&'static Kind>> {
    let known = || ALL.iter().map(|kind| kind.name);
    if let Some(unknown) = names.iter().find(|name| !known().any(|known| known == *name)) {
        bail!("no peer is called {unknown}: {}", known().collect::<Vec<_>>().join(", "));
    }
    let is_wanted = |kind: &&Kind| names.is_empty() || names.iter().any(|name| name == kind.name);
    Ok(ALL.iter().filter(is_wanted).collect())
}
