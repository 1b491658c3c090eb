//! Image folders: classes by name, pictures decoded when asked for, hostile files named.

use std::fs;
use std::path::Path;

use embdl_data::catalog::{CatalogError, LoadOptions, SearchPath, load};
use embdl_data::folder::{Folder, FolderError, FolderLimits};
use embdl_data::image::ImageLimits;
use image::{Rgb, RgbImage};

/// A picture of `width` by `height`: `edge` left and right of a square of `middle`.
fn picture(width: u32, height: u32, middle: [u8; 3], edge: [u8; 3]) -> RgbImage {
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    RgbImage::from_fn(width, height, |x, y| {
        let inside = (left..left + side).contains(&x) && (top..top + side).contains(&y);
        Rgb(if inside { middle } else { edge })
    })
}

fn save(dir: &Path, name: &str, picture: &RgbImage) {
    fs::create_dir_all(dir).unwrap();
    picture.save(dir.join(name)).unwrap();
}

const RED: [u8; 3] = [250, 10, 10];
const BLUE: [u8; 3] = [10, 10, 250];

/// Two classes, PNG and JPEG, wide and tall, beside what is no picture.
fn pets(root: &Path) {
    save(&root.join("dog"), "b.png", &picture(64, 32, BLUE, [0; 3]));
    save(&root.join("dog"), "a.JPG", &picture(32, 80, BLUE, [0; 3]));
    save(&root.join("cat"), "1.jpeg", &picture(32, 32, RED, [0; 3]));
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("dog/readme.txt"), "no picture").unwrap();
    fs::write(root.join("dog/.hidden.png"), "no picture").unwrap();
    fs::write(root.join("stray.png"), "no class").unwrap();
}

#[test]
fn folders_are_classes_and_the_middle_is_kept() {
    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    let folder = Folder::open(root.path(), &FolderLimits::default()).unwrap();
    assert_eq!((folder.classes(), folder.len()), (&["cat".into(), "dog".into()][..], 3));
    assert!(folder.path(1).ends_with("dog/a.JPG") && folder.label(1) == 1);
    let data = folder.dataset(0..3, [16, 16]).unwrap();
    assert_eq!((data.labels(), data.image_shape()), (&[0, 1, 1][..], [16, 16, 3]));
    for (index, colour) in [RED, BLUE, BLUE].into_iter().enumerate() {
        // JPEG rounds, and bilinear scaling mixes in the edge in the outermost pixels.
        for y in 2..14 {
            for x in 2..14 {
                let pixel = &data.image(index)[3 * (16 * y + x)..][..3];
                let near = pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 12);
                assert!(near, "image {index}, row {y}, column {x}: {pixel:?}");
            }
        }
    }
    let oblong = folder.dataset(1..2, [40, 10]).unwrap();
    assert_eq!((oblong.len(), oblong.image_shape()), (1, [40, 10, 3]));
}

#[test]
fn parts_hold_what_they_were_asked_for_and_all_in_all_everything() {
    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    let folder = Folder::open(root.path(), &FolderLimits::default()).unwrap();
    let parts: Vec<_> = folder.parts([8, 8], 2).map(Result::unwrap).collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 1]);
    let whole = folder.dataset(0..3, [8, 8]).unwrap();
    assert!(parts.iter().flat_map(|part| part.images()).eq(whole.images()));
}

#[test]
fn damage_is_found_when_a_picture_is_asked_for_and_named() {
    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    let broken = root.path().join("dog/c.png");
    let good = fs::read(root.path().join("dog/b.png")).unwrap();
    fs::write(&broken, &good[..good.len() / 2]).unwrap();
    let folder = Folder::open(root.path(), &FolderLimits::default()).unwrap();
    assert_eq!(folder.len(), 4);
    folder.dataset(0..3, [8, 8]).unwrap();
    let error = folder.dataset(0..4, [8, 8]).unwrap_err();
    assert!(matches!(&error, FolderError::Image { path, .. } if *path == broken), "{error}");
}

#[test]
fn limits_hold() {
    let root = tempfile::tempdir().unwrap();
    pets(root.path());
    let image = ImageLimits { max_side: 40, ..ImageLimits::default() };
    let limits = FolderLimits { image, max_files: 3, max_data_bytes: 3 * 8 * 8 * 2 };
    let folder = Folder::open(root.path(), &limits).unwrap();
    let error = folder.dataset(0..3, [8, 8]).unwrap_err();
    assert!(matches!(error, FolderError::TooLarge { images: 3, .. }), "{error}");
    assert!(folder.image(0, [8, 8]).is_ok(), "32 pixels a side are allowed");
    assert!(matches!(folder.image(1, [8, 8]), Err(FolderError::Image { .. })), "80 are not");
    let few = FolderLimits { max_files: 2, ..limits };
    let error = Folder::open(root.path(), &few).unwrap_err();
    assert!(matches!(error, FolderError::TooMany { max_files: 2, .. }), "{error}");
    assert!(matches!(folder.dataset(0..1, [0, 8]), Err(FolderError::Dataset(_))));
    let error = Folder::open(&root.path().join("empty"), &few).unwrap_err();
    assert!(matches!(error, FolderError::Classes { classes: 0, .. }), "{error}");
    assert!(matches!(Folder::open(&root.path().join("no"), &few), Err(FolderError::Io { .. })));
}

#[test]
fn a_folder_loads_by_name() {
    let root = tempfile::tempdir().unwrap();
    pets(&root.path().join("train"));
    pets(&root.path().join("test"));
    let search = SearchPath { explicit: Some(root.path().into()), ..SearchPath::default() };
    let options =
        LoadOptions { search, validation_len: 1, size: [12, 12], ..LoadOptions::default() };
    let split = load("folder", &options).unwrap();
    assert_eq!((split.train.len(), split.validation.len()), (2, 1));
    assert_eq!(split.test.for_report().image_shape(), [12, 12, 3]);
    save(&root.path().join("test/emu"), "1.png", &picture(8, 8, RED, BLUE));
    assert!(matches!(load("folder", &options), Err(CatalogError::Classes { .. })));
    let nowhere = LoadOptions { search: SearchPath::default(), ..options };
    assert!(matches!(load("folder", &nowhere), Err(CatalogError::NoFolder)));
}
