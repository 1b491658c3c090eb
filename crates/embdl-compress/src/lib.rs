//! The compression passes: prune, share, quantize, encode, each reporting what it cost and won.
//! Never trains (that is embdl-train), and never hands out a file that grew.
#![forbid(unsafe_code)]

mod agreement;
mod calibrate;
mod error;
mod execute;
mod float_layers;
mod glob;
mod levels;
mod lift;
mod lower;
mod observe;
mod pass;
pub mod passes;
mod patches;
mod post_training;
mod product;
mod quality;
mod samples;
mod sensitivity;
mod walk;

pub use agreement::{Agreement, model_scores, scores};
pub use calibrate::{Calibration, Observer};
pub use error::CompressError;
pub use float_layers::{FloatLayer, FloatLayers};
pub use lift::{LiftError, lift};
pub use lower::{EncodeOptions, Encoded, encode};
pub use observe::observe;
pub use pass::{LayerReport, Pass, PassReport};
pub use post_training::{
    PostTraining, PostTrainingReport, PostTrainingStep, Use, quantize_post_training,
};
pub use quality::{LayerQuality, layer_quality};
pub use samples::Samples;
pub use sensitivity::{Sensitivity, SensitivityPoint, sensitivity};
