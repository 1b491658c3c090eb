//! Requests and answers: the messages of the package `spacepark.vision` that inference takes. Those of the camera and of the
//! inertial sensor are not spoken.

use std::collections::BTreeMap;

use super::wire::{Value, WireError, Writer, each};

/// Extents of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TensorShape {
    /// Samples.
    pub batch: i32,
    /// Rows.
    pub height: i32,
    /// Columns.
    pub width: i32,
    /// Channels.
    pub depth: i32,
}

/// Bytes, such as a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteTensor {
    /// Extents.
    pub shape: TensorShape,
    /// Planes of bytes, or a JPEG.
    pub data: Vec<u8>,
}

/// Numbers, such as scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatTensor {
    /// Extents.
    pub shape: TensorShape,
    /// Numbers.
    pub data: Vec<f32>,
}

/// A model for the bonnet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Name, by which it is run.
    pub name: String,
    /// Its input.
    pub input: TensorShape,
    /// Subtracted from a byte.
    pub mean: f32,
    /// What the rest is divided by.
    pub stddev: f32,
    /// What the vendor's compiler has written.
    pub graph: Vec<u8>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Take a model.
    LoadModel(Model),
    /// Forget the model of this name.
    UnloadModel(String),
    /// Run a model.
    ImageInference {
        /// Name of the model.
        model: String,
        /// The picture.
        tensor: ByteTensor,
    },
    /// The version of the firmware.
    FirmwareInfo,
    /// Time and temperature.
    SystemInfo,
    /// Which models there are.
    InferenceState,
    /// Stop, and forget all models.
    Reset,
}

/// The version of the firmware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirmwareInfo {
    /// Messages differ with it.
    pub major: i32,
    /// They do not with this.
    pub minor: i32,
}

/// Time and temperature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SystemInfo {
    /// Seconds since the start.
    pub uptime_seconds: i32,
    /// Degrees Celsius.
    pub celsius: f32,
}

/// Which models there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InferenceState {
    /// Names of those that are loaded.
    pub loaded: Vec<String>,
    /// Names of those that run.
    pub processing: Vec<String>,
}

/// What came of an inference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inference {
    /// Name of the model.
    pub model: String,
    /// Columns and rows of the picture.
    pub size: [i32; 2],
    /// Milliseconds that it took.
    pub duration_ms: i32,
    /// Outputs by name.
    pub tensors: BTreeMap<String, FloatTensor>,
}

/// An answer: what failed, or what was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// What failed.
    pub error: Option<String>,
    /// What came of an inference.
    pub inference: Option<Inference>,
    /// The version of the firmware.
    pub firmware: Option<FirmwareInfo>,
    /// Time and temperature.
    pub system: Option<SystemInfo>,
    /// Which models there are.
    pub state: Option<InferenceState>,
}

impl TensorShape {
    fn encode(self) -> Vec<u8> {
        let Self { batch, height, width, depth } = self;
        Writer::default().int(1, batch).int(2, height).int(3, width).int(4, depth).finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut shape = Self::default();
        each(bytes, |field, value| {
            match field {
                1 => shape.batch = value.int(field)?,
                2 => shape.height = value.int(field)?,
                3 => shape.width = value.int(field)?,
                4 => shape.depth = value.int(field)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(shape)
    }
}

impl ByteTensor {
    fn encode(&self) -> Vec<u8> {
        Writer::default().message(1, &self.shape.encode()).message(2, &self.data).finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut tensor = Self::default();
        each(bytes, |field, value| {
            match field {
                1 => tensor.shape = TensorShape::decode(value.bytes(field)?)?,
                2 => tensor.data = value.bytes(field)?.to_vec(),
                _ => {}
            }
            Ok(())
        })?;
        Ok(tensor)
    }
}

impl FloatTensor {
    fn encode(&self) -> Vec<u8> {
        let data: Vec<u8> = self.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        Writer::default().message(1, &self.shape.encode()).message(2, &data).finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut tensor = Self::default();
        each(bytes, |field, value| {
            match (field, value) {
                (1, _) => tensor.shape = TensorShape::decode(value.bytes(field)?)?,
                (2, Value::Bytes(packed)) => {
                    let (floats, rest) = packed.as_chunks::<4>();
                    if !rest.is_empty() {
                        return Err(WireError::Truncated);
                    }
                    tensor.data.extend(floats.iter().map(|&bytes| f32::from_le_bytes(bytes)));
                }
                // One at a time, as a writer may have them as well.
                (2, _) => tensor.data.push(value.float(field)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(tensor)
    }
}

impl Model {
    fn encode(&self) -> Vec<u8> {
        let normalizer = Writer::default().float(1, self.mean).float(2, self.stddev).finish();
        Writer::default()
            .text(1, &self.name)
            .message(2, &self.input.encode())
            .message(3, &normalizer)
            .message(4, &self.graph)
            .finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut model = Self::default();
        each(bytes, |field, value| {
            match field {
                1 => model.name = value.text(field)?,
                2 => model.input = TensorShape::decode(value.bytes(field)?)?,
                3 => each(value.bytes(field)?, |field, value| {
                    match field {
                        1 => model.mean = value.float(field)?,
                        2 => model.stddev = value.float(field)?,
                        _ => {}
                    }
                    Ok(())
                })?,
                4 => model.graph = value.bytes(field)?.to_vec(),
                _ => {}
            }
            Ok(())
        })?;
        Ok(model)
    }
}

/// The texts of one field of a message.
fn texts(bytes: &[u8], wanted: u64) -> Result<Vec<String>, WireError> {
    let mut all = Vec::new();
    each(bytes, |field, value| {
        if field == wanted {
            all.push(value.text(field)?);
        }
        Ok(())
    })?;
    Ok(all)
}

impl Request {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (field, message) = match self {
            Self::LoadModel(model) => (1, model.encode()),
            Self::UnloadModel(name) => (2, Writer::default().text(1, name).finish()),
            Self::ImageInference { model, tensor } => {
                (3, Writer::default().text(1, model).message(2, &tensor.encode()).finish())
            }
            Self::FirmwareInfo => (9, Vec::new()),
            Self::SystemInfo => (10, Vec::new()),
            Self::InferenceState => (11, Vec::new()),
            Self::Reset => (12, Vec::new()),
        };
        Writer::default().message(field, &message).finish()
    }

    /// Reads one; `None` if it is one that is not spoken here. Of several, the last counts.
    ///
    /// # Errors
    /// If it is no message.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let mut request = None;
        each(bytes, |field, value| {
            let message = value.bytes(field)?;
            request = match field {
                1 => Some(Self::LoadModel(Model::decode(message)?)),
                2 => Some(Self::UnloadModel(texts(message, 1)?.pop().unwrap_or_default())),
                3 => {
                    let model = texts(message, 1)?.pop().unwrap_or_default();
                    let mut tensor = ByteTensor::default();
                    each(message, |field, value| {
                        if field == 2 {
                            tensor = ByteTensor::decode(value.bytes(field)?)?;
                        }
                        Ok(())
                    })?;
                    Some(Self::ImageInference { model, tensor })
                }
                9 => Some(Self::FirmwareInfo),
                10 => Some(Self::SystemInfo),
                11 => Some(Self::InferenceState),
                12 => Some(Self::Reset),
                _ => None,
            };
            Ok(())
        })?;
        Ok(request)
    }
}

impl Inference {
    fn encode(&self) -> Vec<u8> {
        let [width, height] = self.size;
        let mut writer = Writer::default().text(1, &self.model).int(2, width).int(3, height);
        writer = writer.int(5, self.duration_ms);
        for (name, tensor) in &self.tensors {
            let entry = Writer::default().text(1, name).message(2, &tensor.encode()).finish();
            writer = writer.message(6, &entry);
        }
        writer.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut inference = Self::default();
        each(bytes, |field, value| {
            match field {
                1 => inference.model = value.text(field)?,
                2 => inference.size[0] = value.int(field)?,
                3 => inference.size[1] = value.int(field)?,
                5 => inference.duration_ms = value.int(field)?,
                6 => {
                    let entry = value.bytes(field)?;
                    let name = texts(entry, 1)?.pop().unwrap_or_default();
                    let mut tensor = FloatTensor::default();
                    each(entry, |field, value| {
                        if field == 2 {
                            tensor = FloatTensor::decode(value.bytes(field)?)?;
                        }
                        Ok(())
                    })?;
                    inference.tensors.insert(name, tensor);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(inference)
    }
}

impl Response {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let code = i32::from(self.error.is_some());
        let message = self.error.as_deref().unwrap_or_default();
        let status = Writer::default().int(1, code).text(2, message).finish();
        let mut writer = Writer::default().message(1, &status);
        if let Some(inference) = &self.inference {
            writer = writer.message(2, &inference.encode());
        }
        if let Some(FirmwareInfo { major, minor }) = self.firmware {
            let message = Writer::default().int(1, major).int(2, minor).finish();
            writer = writer.message(4, &message);
        }
        if let Some(SystemInfo { uptime_seconds, celsius }) = self.system {
            let message = Writer::default().int(1, uptime_seconds).float(2, celsius).finish();
            writer = writer.message(5, &message);
        }
        if let Some(state) = &self.state {
            let mut message = Writer::default();
            for (field, names) in [(1, &state.loaded), (2, &state.processing)] {
                for name in names {
                    message = message.message(field, name.as_bytes());
                }
            }
            writer = writer.message(6, &message.finish());
        }
        writer.finish()
    }

    /// Reads one. Fields that are not known are left out.
    ///
    /// # Errors
    /// If it is no message.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut response = Self::default();
        each(bytes, |field, value| {
            let message = match value {
                Value::Bytes(message) => message,
                _ => return Ok(()),
            };
            match field {
                1 => {
                    let (mut code, mut text) = (0, String::new());
                    each(message, |field, value| {
                        match field {
                            1 => code = value.int(field)?,
                            2 => text = value.text(field)?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    response.error = (code != 0).then_some(text);
                }
                2 => response.inference = Some(Inference::decode(message)?),
                4 => {
                    let mut info = FirmwareInfo::default();
                    each(message, |field, value| {
                        match field {
                            1 => info.major = value.int(field)?,
                            2 => info.minor = value.int(field)?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    response.firmware = Some(info);
                }
                5 => {
                    let mut info = SystemInfo::default();
                    each(message, |field, value| {
                        match field {
                            1 => info.uptime_seconds = value.int(field)?,
                            2 => info.celsius = value.float(field)?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    response.system = Some(info);
                }
                6 => {
                    let [loaded, processing] = [texts(message, 1)?, texts(message, 2)?];
                    response.state = Some(InferenceState { loaded, processing });
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(response)
    }
}
