//! A bonnet in software, over TCP. What the vendor's compiler writes is not public, so that it cannot run models: it keeps them,
//! checks pictures against their inputs, and answers with the mean of each plane, normalized as the model says.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::messages::{
    ByteTensor, FirmwareInfo, FloatTensor, Inference, InferenceState, Model, Request, Response,
    SystemInfo, TensorShape,
};
use super::tcp::{receive, send};

/// What its outputs are called.
const OUTPUT: &str = "means";
/// Models that fit beside each other; the vendor says no number.
const MAX_MODELS: usize = 8;

/// A bonnet in software. Clones are the same bonnet.
#[derive(Clone, Debug)]
pub struct EmulatedBonnet {
    firmware: FirmwareInfo,
    start: Instant,
    models: Arc<Mutex<BTreeMap<String, Model>>>,
}

impl EmulatedBonnet {
    /// A bonnet with firmware of a version.
    #[must_use]
    pub fn new(firmware: FirmwareInfo) -> Self {
        Self { firmware, start: Instant::now(), models: Arc::default() }
    }

    /// Serves whoever connects, until the listener fails.
    ///
    /// # Errors
    /// If no connection can be accepted.
    pub fn serve(&self, listener: &TcpListener) -> std::io::Result<()> {
        for stream in listener.incoming() {
            let (stream, bonnet) = (stream?, self.clone());
            thread::Builder::new()
                .name("emulated bonnet".into())
                .spawn(move || bonnet.talk(stream))?;
        }
        Ok(())
    }

    fn talk(&self, mut stream: TcpStream) {
        loop {
            let answered = receive(&mut stream).and_then(|message| {
                let response = match message.map(|bytes| Request::decode(&bytes)) {
                    Ok(Ok(Some(request))) => self.answer(request),
                    Ok(Ok(None)) => failed("it does not know this request"),
                    Ok(Err(error)) => failed(&error.to_string()),
                    Err(len) => failed(&format!("a request of {len} bytes is too long")),
                };
                send(&mut stream, &response.encode())
            });
            if let Err(error) = answered {
                tracing::debug!(%error, "a client of the emulated bonnet has gone");
                return;
            }
        }
    }

    /// Answers a request.
    #[must_use]
    pub fn answer(&self, request: Request) -> Response {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let mut response = Response::default();
        match request {
            Request::LoadModel(model) => {
                if model.graph.is_empty() || model.name.is_empty() {
                    return failed("a model has a name and a graph");
                }
                if models.len() >= MAX_MODELS && !models.contains_key(&model.name) {
                    return failed("there is no room for another model");
                }
                models.insert(model.name.clone(), model);
            }
            Request::UnloadModel(name) => {
                if models.remove(&name).is_none() {
                    return failed(&format!("no model is called {name:?}"));
                }
            }
            Request::ImageInference { model, tensor } => match models.get(&model) {
                None => return failed(&format!("no model is called {model:?}")),
                Some(model) => match infer(model, &tensor) {
                    Ok(inference) => response.inference = Some(inference),
                    Err(reason) => return failed(reason),
                },
            },
            Request::FirmwareInfo => response.firmware = Some(self.firmware),
            Request::SystemInfo => {
                let uptime_seconds = i32::try_from(self.start.elapsed().as_secs());
                let uptime_seconds = uptime_seconds.unwrap_or(i32::MAX);
                response.system = Some(SystemInfo { uptime_seconds, celsius: 45.0 });
            }
            Request::InferenceState => {
                let loaded = models.keys().cloned().collect();
                response.state = Some(InferenceState { loaded, processing: Vec::new() });
            }
            Request::Reset => models.clear(),
        }
        response
    }
}

fn failed(reason: &str) -> Response {
    Response { error: Some(reason.into()), ..Response::default() }
}

fn infer(model: &Model, tensor: &ByteTensor) -> Result<Inference, &'static str> {
    let TensorShape { height, width, depth, .. } = tensor.shape;
    let extents = [height, width, depth].map(|extent| usize::try_from(extent).unwrap_or(0));
    let [h, w, planes] = extents;
    if (height, width) == (0, 0) {
        return Err("the emulated bonnet decodes no JPEG");
    }
    let plane = h.checked_mul(w).filter(|&plane| plane > 0).ok_or("a picture without pixels")?;
    if !matches!(planes, 1 | 3) || plane.checked_mul(planes) != Some(tensor.data.len()) {
        return Err("a picture has one or three planes of as many bytes as its shape says");
    }
    let mean = |plane: &[u8]| {
        let sum: f64 = plane.iter().map(|&byte| f64::from(byte)).sum();
        #[expect(clippy::cast_precision_loss, reason = "pixels of a picture")]
        #[expect(clippy::cast_possible_truncation, reason = "a byte's mean")]
        let mean = (sum / plane.len() as f64) as f32;
        let stddev = if model.stddev == 0.0 { 1.0 } else { model.stddev };
        (mean - model.mean) / stddev
    };
    let data: Vec<f32> = tensor.data.chunks_exact(plane).map(mean).collect();
    let shape = TensorShape { batch: 1, height: 1, width: 1, depth };
    Ok(Inference {
        model: model.name.clone(),
        size: [width, height],
        duration_ms: 1,
        tensors: BTreeMap::from([(OUTPUT.to_owned(), FloatTensor { shape, data })]),
    })
}
