//! Preprocessing and labels, which ONNX has no place for, in the properties of a model.

use embdl_core::metadata::Metadata;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tract_onnx::pb::StringStringEntryProto;

use crate::error::ImportError;

/// Key of the preprocessing: its fields as JSON.
const PREPROCESS: &str = "embdl.preprocess";
/// Key of the labels: a JSON list of text.
const LABELS: &str = "embdl.labels";

/// The properties that stand for `metadata`; none for what is not recorded.
pub(crate) fn properties(metadata: &Metadata) -> Vec<StringStringEntryProto> {
    let preprocess = metadata.preprocess.as_ref().map(|own| property(PREPROCESS, own));
    let labels = (!metadata.labels.is_empty()).then(|| property(LABELS, &metadata.labels));
    preprocess.into_iter().chain(labels).collect()
}

fn property(key: &str, value: &impl Serialize) -> StringStringEntryProto {
    let value = serde_json::to_string(value).expect("numbers and text are JSON");
    StringStringEntryProto { key: key.into(), value }
}

/// What `properties` say; those of other programs are passed over.
pub(crate) fn read(properties: &[StringStringEntryProto]) -> Result<Metadata, ImportError> {
    Ok(Metadata {
        preprocess: value(properties, PREPROCESS)?,
        labels: value(properties, LABELS)?.unwrap_or_default(),
    })
}

fn value<T: DeserializeOwned>(
    properties: &[StringStringEntryProto],
    key: &'static str,
) -> Result<Option<T>, ImportError> {
    let own = properties.iter().find(|property| property.key == key);
    let parsed = own.map(|property| serde_json::from_str(&property.value)).transpose();
    parsed.map_err(|source| ImportError::Property { key, source })
}

#[cfg(test)]
mod tests {
    use embdl_core::metadata::Preprocess;

    use super::*;

    #[test]
    fn properties_say_what_was_recorded() {
        assert!(properties(&Metadata::default()).is_empty());
        let labels = vec!["Egyptian cat".to_owned(), "\"cup\"\n".to_owned()];
        for preprocess in [Preprocess::imagenet(), Preprocess::caffe()] {
            let own = Metadata { preprocess: Some(preprocess), labels: labels.clone() };
            let mut written = properties(&own);
            written.insert(0, StringStringEntryProto { key: "names".into(), value: "{0".into() });
            assert_eq!(read(&written).unwrap(), own);
        }
    }

    #[test]
    fn damaged_properties_are_errors_that_name_them() {
        for (key, value) in [(PREPROCESS, "{}"), (LABELS, "[1]"), (LABELS, "[\"cat\"")] {
            let wrong = StringStringEntryProto { key: key.into(), value: value.into() };
            let error = read(&[wrong]).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
