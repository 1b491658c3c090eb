//! Data sets: idx files, fetching with checksums, splits, augmentation. Never touches a test set when it splits.
