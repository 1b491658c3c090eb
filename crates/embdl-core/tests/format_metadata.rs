//! Preprocessing and labels come back, cost what they say, and are refused where they do not fit.

mod support;

use embdl_core::format::{
    FormatError, Limit, Limits, WriteOptions, layout, read, write, write_with,
};
use embdl_core::metadata::{Channels, Fit, Metadata, MetadataError, Preprocess};
use embdl_core::op::Op;
use embdl_core::tensor::{DType, Shape, ValueType};
use support::{Made, seal};

/// A picture of 4x6 whose four channels' means are scores.
fn classifier(channels: usize) -> Made {
    let mut made = Made::default();
    let picture = made.input(ValueType::f32(Shape::nhwc(1, 4, 6, channels)));
    let means = made.node(Op::GlobalAveragePool, &[picture], (None, None), DType::F32, None);
    let scores = made.node(Op::Flatten, &[means], (None, None), DType::F32, None);
    made.outputs = vec![scores];
    made
}

fn labelled() -> Made {
    let labels = vec!["red".into(), String::new(), "blå".into()];
    let metadata = Metadata { preprocess: Some(Preprocess::imagenet()), labels };
    Made { metadata, ..classifier(3) }
}

fn error_of(change: impl FnOnce(&mut Metadata)) -> FormatError {
    let mut made = labelled();
    change(&mut made.metadata);
    write(&made.model()).unwrap_err()
}

#[test]
fn it_is_accounted_for_and_survives_stripping_names() {
    let made = labelled();
    let bytes = write(&made.model()).unwrap();
    assert_eq!((bytes[4], bytes[6]), (2, 2), "a file with metadata is of version 2");
    assert_eq!(read(&bytes, &Limits::default()).unwrap(), made.model());
    let layout = layout(&bytes, &Limits::default()).unwrap();
    // Flags, code, 256 in two bytes, seven floats; count, then lengths and texts.
    assert_eq!(layout.metadata_bytes, 1 + 1 + 2 + 7 * 4 + 1 + (1 + 3) + 1 + (1 + 4));
    assert_eq!(layout.total_bytes(), bytes.len());
    assert_eq!(write_with(&made.model(), WriteOptions { names: false }).unwrap(), bytes);
    let plain = write(&classifier(3).model()).unwrap();
    assert_eq!((plain[4], plain.len()), (1, bytes.len() - layout.metadata_bytes));
}

#[test]
fn what_does_not_fit_is_refused() {
    let of = |change: fn(&mut Metadata)| match error_of(change) {
        FormatError::Metadata(error) => error,
        other => panic!("{other}"),
    };
    let imagenet = |change: fn(&mut Preprocess)| {
        let mut metadata = labelled().metadata;
        change(metadata.preprocess.as_mut().unwrap());
        let mut made = labelled();
        made.metadata = metadata;
        match write(&made.model()).unwrap_err() {
            FormatError::Metadata(error) => error,
            other => panic!("{other}"),
        }
    };
    assert_eq!(
        of(|metadata| drop(metadata.labels.pop())),
        MetadataError::Labels { labels: 2, classes: 3 }
    );
    assert!(matches!(
        imagenet(|p| *p = Preprocess::unit(Channels::Gray)),
        MetadataError::Input { channels: 1, .. }
    ));
    assert!(matches!(imagenet(|p| p.mean.truncate(2)), MetadataError::Vectors { mean: 2, .. }));
    assert!(matches!(
        imagenet(|p| p.std[1] = 0.0),
        MetadataError::Number { what: "deviation", .. }
    ));
    assert!(matches!(
        imagenet(|p| p.mean[1] = f32::NAN),
        MetadataError::Number { what: "mean", .. }
    ));
    assert!(matches!(imagenet(|p| p.scale = -1.0), MetadataError::Number { what: "scale", .. }));
    for side in [5, 1 << 15] {
        let mut made = labelled();
        made.metadata.preprocess.as_mut().unwrap().fit = Fit::ShorterSide(side);
        let error = write(&made.model()).unwrap_err();
        assert!(matches!(error, FormatError::Metadata(MetadataError::Side { .. })), "{error}");
    }
    let escape = error_of(|metadata| metadata.labels[0] = "\u{1b}[2J".into());
    assert!(matches!(escape, FormatError::BadName { .. }), "{escape}");
}

#[test]
fn limits_hold_and_claims_are_checked() {
    let bytes = write(&labelled().model()).unwrap();
    let refuse = |limits: Limits| match read(&bytes, &limits).unwrap_err() {
        FormatError::LimitExceeded { limit, .. } => limit,
        other => panic!("{other}"),
    };
    assert_eq!(refuse(Limits { max_labels: 2, ..Limits::default() }), Limit::Labels);
    assert_eq!(refuse(Limits { max_label_bytes: 6, ..Limits::default() }), Limit::LabelBytes);
    let exact = Limits { max_labels: 3, max_label_bytes: 7, ..Limits::default() };
    assert!(read(&bytes, &exact).is_ok());

    // 2^16 labels in the place of three.
    let at = bytes.len() - 11;
    assert_eq!(bytes[at], 3);
    let mut claim = bytes[..at].to_vec();
    claim.extend([0x80, 0x80, 0x04, 0]);
    seal(&mut claim);
    let error = read(&claim, &Limits::default()).unwrap_err();
    assert!(matches!(error, FormatError::CountTooLarge { what: "labels", .. }), "{error}");
}

#[test]
fn versions_and_flags_go_together() {
    let change = |base: &[u8], version: u8, flags: u8| {
        let mut bytes = base.to_vec();
        (bytes[4], bytes[6]) = (version, flags);
        seal(&mut bytes);
        read(&bytes, &Limits::default()).map(drop)
    };
    let (with, plain) =
        (write(&labelled().model()).unwrap(), write(&classifier(3).model()).unwrap());
    assert_eq!(change(&with, 2, 2), Ok(()));
    assert_eq!(change(&with, 1, 2), Err(FormatError::Version { found: 1, needed: 2 }));
    assert_eq!(change(&plain, 2, 0), Err(FormatError::Version { found: 2, needed: 1 }));
    assert!(change(&plain, 2, 2).is_err(), "a flag without its section");
}

#[test]
fn no_cut_or_changed_byte_gets_through_unnoticed() {
    let bytes = write(&labelled().model()).unwrap();
    for at in 16..bytes.len() {
        let mut cut = bytes[..at].to_vec();
        seal(&mut cut);
        assert!(read(&cut, &Limits::default()).is_err(), "{at} bytes");
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            seal(&mut changed);
            if let Ok(model) = read(&changed, &Limits::tiny()) {
                assert_eq!(write(&model).unwrap(), changed, "byte {at} as {value}");
            }
        }
    }
}
