//! Values that stand beside the model, in other files of its folder.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use tract_onnx::pb::TensorProto;

use crate::error::TensorError;
use crate::tensor::{self, external};

/// The folder of the model, if it is one on disk, and how many bytes may still be read there.
#[derive(Debug)]
pub(super) struct Folder {
    path: Option<PathBuf>,
    bytes_left: u64,
}

impl Folder {
    pub(super) const fn new(path: Option<PathBuf>, bytes_left: u64) -> Self {
        Self { path, bytes_left }
    }

    /// The tensor with its values inside.
    pub(super) fn load(&mut self, proto: &TensorProto) -> Result<TensorProto, TensorError> {
        let location = external(proto, "location");
        let refuse = |reason| Err(TensorError::Location { location: location.clone(), reason });
        let Some(folder) = &self.path else {
            return Err(TensorError::External { location });
        };
        let relative = Path::new(&location);
        let is_inside = relative.components().count() > 0
            && relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside {
            return refuse("only files in the folder of the model are read");
        }
        // A link could lead out of the folder.
        let canonical = |path: &Path| path.canonicalize();
        let (Ok(root), Ok(path)) = (canonical(folder), canonical(&folder.join(relative))) else {
            return refuse("there is no such file beside the model");
        };
        if !path.starts_with(&root) {
            return refuse("only files in the folder of the model are read");
        }
        let (dims, len) = tensor::dims(proto)?;
        let width = tensor::element_bytes(proto.data_type()).ok_or_else(|| {
            let found = tensor::element_name(proto.data_type);
            TensorError::ElementType { found, expected: "floats and integers" }
        })?;
        let Some(needed) = len.checked_mul(width).map(|bytes| bytes as u64) else {
            return Err(TensorError::Dims { dims: proto.dims.clone() });
        };
        let number = |key: &str| -> Option<Option<u64>> {
            let text = external(proto, key);
            if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
        };
        let (Some(offset), Some(length)) = (number("offset"), number("length")) else {
            return refuse("its offset or length is no number");
        };
        let offset = offset.unwrap_or(0);
        if length.is_some_and(|length| length != needed) {
            return refuse("its length is not that of its dimensions");
        }
        let size = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => return refuse("there is no such file beside the model"),
        };
        if offset.checked_add(needed).is_none_or(|end| end > size) {
            return refuse("the file ends before the values do");
        }
        self.bytes_left = match self.bytes_left.checked_sub(needed) {
            Some(left) => left,
            None => return refuse("all files together are larger than the limit"),
        };
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::with_capacity(len * width);
            file.take(needed).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let Ok(raw_data) = read() else { return refuse("it cannot be read") };
        let dims = dims.iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect();
        Ok(TensorProto { dims, data_type: proto.data_type, raw_data, ..TensorProto::default() })
    }
}
