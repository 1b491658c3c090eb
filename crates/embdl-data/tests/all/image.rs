//! Pictures: resampled to the byte as Pillow does, prepared as torchvision does, decoded within limits.

use embdl_core::metadata::{Channels, Filter, Fit, Preprocess};
use embdl_core::quant::Quant;
use embdl_data::image::{Image, ImageError, Rect};
use embdl_data::preprocess::{fill_levels, fill_reals, prepare};

/// A picture of parabolas that wrap around: smooth in places, with edges.
#[expect(clippy::cast_possible_truncation, reason = "taken modulo 256")]
fn generated(width: usize, height: usize) -> Image {
    let byte = |x: usize, y: usize, c: usize| {
        ((x * x * 3 + y * y * 5 + x * y * 7 + c * 40) / 4 % 256) as u8
    };
    let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels = rows.flat_map(|(x, y)| (0..3).map(move |c| byte(x, y, c))).collect();
    Image::new(width, height, pixels).unwrap()
}

const fn whole([width, height]: [usize; 2]) -> Rect {
    Rect { left: 0, top: 0, width, height }
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[test]
fn a_small_picture_is_resampled_as_pillow_does() {
    // Pillow 13, Image.resize((4, 3)) of the generated picture of 37x23.
    let expected: [(Filter, [u8; 36]); 3] = [
        (
            Filter::Nearest,
            [
                44, 54, 64, 206, 216, 226, 16, 26, 36, 179, 189, 199, 240, 250, 4, 16, 26, 36, 222,
                232, 242, 255, 9, 19, 84, 94, 104, 242, 252, 6, 76, 86, 96, 235, 245, 255,
            ],
        ),
        (
            Filter::Bilinear,
            [
                81, 89, 98, 130, 131, 131, 128, 128, 128, 127, 131, 130, 128, 132, 132, 127, 129,
                128, 128, 128, 125, 130, 128, 125, 127, 130, 124, 128, 129, 126, 126, 126, 125,
                128, 126, 133,
            ],
        ),
        (
            Filter::Bicubic,
            [
                75, 84, 93, 133, 134, 134, 127, 127, 128, 127, 132, 132, 131, 135, 135, 127, 129,
                127, 129, 127, 124, 130, 129, 125, 127, 130, 124, 128, 129, 125, 125, 126, 126,
                128, 125, 133,
            ],
        ),
    ];
    for (filter, pixels) in expected {
        let small = generated(37, 23).resize([4, 3], whole([4, 3]), filter).unwrap();
        assert_eq!(small.pixels(), pixels, "{filter:?}");
    }
}

#[test]
fn all_sizes_are_resampled_as_pillow_does() {
    // Pillow 13: FNV-1a of all bytes of Image.resize, for nearest, bilinear, bicubic. The narrow picture is widened by
    // one call and shortened by another: in one call Pillow 13 does the columns first, which may differ by one level.
    let expected: [([usize; 2], [usize; 2], [u64; 3]); 5] = [
        ([37, 23], [19, 12], [0x82a8_6500_0b44_2f49, 0x30fc_93d3_33e9_770b, 0x8258_0eea_11e2_5021]),
        ([37, 23], [80, 61], [0xe1d4_ae83_a54c_37ff, 0x5c01_1809_787e_5c73, 0x1afe_f9d1_c0a9_5e4c]),
        (
            [300, 217],
            [256, 185],
            [0xeeb4_b743_e97f_1813, 0x8664_a6ed_cf6e_904a, 0x5917_792a_e341_c353],
        ),
        ([5, 200], [11, 64], [0xf25b_f23d_f0ef_ec0d, 0xb560_de39_69df_9bf4, 0x6c2e_bf5d_aaf9_c381]),
        (
            [640, 480],
            [345, 256],
            [0xe2b7_fe5d_c115_e215, 0x0640_ff15_6258_4fca, 0x29a3_3faf_38f2_e979],
        ),
    ];
    for (from, to, hashes) in expected {
        let picture = generated(from[0], from[1]);
        for (filter, expected) in
            [Filter::Nearest, Filter::Bilinear, Filter::Bicubic].into_iter().zip(hashes)
        {
            let found = picture.resize(to, whole(to), filter).unwrap();
            assert_eq!(hash(found.pixels()), expected, "{from:?} to {to:?}, {filter:?}");
        }
    }
}

#[test]
fn a_crop_is_a_part_of_the_whole() {
    let picture = generated(61, 47);
    let to = [33, 90];
    for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
        let all = picture.resize(to, whole(to), filter).unwrap();
        let crop = Rect { left: 5, top: 31, width: 20, height: 17 };
        let part = picture.resize(to, crop, filter).unwrap();
        for y in 0..crop.height {
            let at = ((crop.top + y) * to[0] + crop.left) * 3;
            let row = &all.pixels()[at..at + crop.width * 3];
            assert_eq!(&part.pixels()[y * crop.width * 3..][..crop.width * 3], row, "{filter:?}");
        }
    }
    for crop in [
        Rect { left: 20, ..whole(to) },
        Rect { width: 0, ..whole(to) },
        Rect { top: usize::MAX, ..whole(to) },
    ] {
        assert!(matches!(
            picture.resize(to, crop, Filter::Bilinear),
            Err(ImageError::TooSmall { .. })
        ));
    }
}

#[test]
fn a_line_of_pixels_takes_no_memory_for_what_is_cropped_away() {
    // Scaled whole this would have 256 * 30000 columns.
    let line = Image::new(30_000, 1, vec![7; 90_000]).unwrap();
    let bytes = prepare(&Preprocess::imagenet(), &line, [224, 224]).unwrap();
    assert!(bytes.len() == 224 * 224 * 3 && bytes.iter().all(|&byte| byte == 7));
}

#[test]
fn preprocessing_is_what_it_records() {
    let picture = generated(8, 6);
    let pixel = |x: usize, y: usize| &picture.pixels()[(y * 8 + x) * 3..][..3];
    let crop = Preprocess { fit: Fit::Crop, ..Preprocess::imagenet() };
    let bytes = prepare(&crop, &picture, [4, 5]).unwrap();
    // Of the two middle columns the even one: (8 - 5) / 2 is 1.5, which rounds to 2.
    assert_eq!(bytes[..3], *pixel(2, 1));
    assert_eq!(bytes[57..], *pixel(6, 4));
    let bgr =
        prepare(&Preprocess { channels: Channels::Bgr, ..crop.clone() }, &picture, [4, 5]).unwrap();
    assert_eq!([bgr[2], bgr[1], bgr[0]], bytes[..3]);
    let gray = Preprocess { fit: Fit::Crop, ..Preprocess::unit(Channels::Gray) };
    // Pillow 13, convert("L").
    let luma = prepare(&gray, &generated(4, 3), [3, 4]).unwrap();
    assert_eq!(luma, [8, 8, 11, 14, 9, 11, 15, 21, 13, 17, 23, 30]);

    let mut reals = vec![0.0; bytes.len()];
    fill_reals(&crop, &bytes, &mut reals);
    let expected = |byte: u8, mean: f32, std: f32| (f32::from(byte) / 255.0 - mean) / std;
    assert!((reals[1] - expected(bytes[1], 0.456, 0.224)).abs() < 1e-6);
    assert!((reals[5] - expected(bytes[5], 0.406, 0.225)).abs() < 1e-6);
    let quant = Quant { scale: 0.02, zero_point: 114 };
    let mut levels = vec![0; bytes.len()];
    fill_levels(&crop, quant, &bytes, &mut levels);
    for (&real, &level) in reals.iter().zip(&levels) {
        assert_eq!(quant.quantize(real), level);
    }
    let small = prepare(&crop, &picture, [7, 5]);
    assert!(matches!(small, Err(ImageError::TooSmall { crop_height: 7, .. })), "{small:?}");
}

#[test]
fn pictures_are_as_long_as_they_say() {
    assert!(matches!(Image::new(2, 2, vec![0; 11]), Err(ImageError::Length { found: 11, .. })));
    assert!(Image::new(0, 2, vec![]).is_err());
    assert!(Image::new(usize::MAX, usize::MAX, vec![0; 3]).is_err());
}

#[cfg(feature = "pictures")]
mod files {
    use std::io::Cursor;

    use embdl_data::image::{Image, ImageError, ImageLimits};
    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::generated;

    fn encode(picture: &Image, format: ImageFormat) -> Vec<u8> {
        let (width, height) =
            (picture.width().try_into().unwrap(), picture.height().try_into().unwrap());
        let rgb = RgbImage::from_raw(width, height, picture.pixels().to_vec()).unwrap();
        let mut file = Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(rgb).write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    /// A picture of one colour a quarter, which JPEG hardly changes.
    fn quarters() -> Image {
        let colour = |x: u8, y: u8| [x / 16 * 100, y / 16 * 200, 90];
        let pixels = (0..32).flat_map(|y| (0..48).flat_map(move |x| colour(x, y)));
        Image::new(48, 32, pixels.collect()).unwrap()
    }

    #[test]
    fn png_comes_back_and_jpeg_nearly() {
        let picture = generated(37, 23);
        let png = encode(&picture, ImageFormat::Png);
        assert_eq!(Image::decode(&png, &ImageLimits::default()).unwrap(), picture);

        let quarters = quarters();
        let jpeg = encode(&quarters, ImageFormat::Jpeg);
        let back = Image::decode(&jpeg, &ImageLimits::default()).unwrap();
        assert_eq!((back.width(), back.height()), (48, 32));
        let far = back.pixels().iter().zip(quarters.pixels()).filter(|(a, b)| a.abs_diff(**b) > 40);
        assert!(far.count() < 200, "edges of blocks may differ");
    }

    #[test]
    fn orientation_is_applied() {
        let jpeg = encode(&quarters(), ImageFormat::Jpeg);
        let plain = Image::decode(&jpeg, &ImageLimits::default()).unwrap();
        // APP1 with a TIFF header and one entry: orientation (0x112), a short, 6: turn clockwise by a quarter.
        let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
        let turned = Image::decode(&turned, &ImageLimits::default()).unwrap();
        assert_eq!((turned.width(), turned.height()), (32, 48));
        let pixel = |image: &Image, x: usize, y: usize| {
            image.pixels()[(y * image.width() + x) * 3..][..3].to_vec()
        };
        for (x, y) in [(3, 4), (40, 20), (20, 30)] {
            assert_eq!(pixel(&turned, 31 - y, x), pixel(&plain, x, y));
        }
    }

    #[test]
    fn limits_hold_before_anything_is_decoded() {
        let png = encode(&generated(300, 200), ImageFormat::Png);
        let decode = |limits: ImageLimits| Image::decode(&png, &limits);
        assert!(decode(ImageLimits { max_side: 299, ..ImageLimits::default() }).is_err());
        let few = decode(ImageLimits { max_pixels: 59_999, ..ImageLimits::default() });
        assert!(matches!(few, Err(ImageError::Size { width: 300, height: 200, .. })), "{few:?}");
        assert!(
            decode(ImageLimits { max_pixels: 60_000, max_side: 300, ..ImageLimits::default() })
                .is_ok()
        );

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        std::fs::write(&path, &png).unwrap();
        let short = ImageLimits { max_file_bytes: png.len() as u64 - 1, ..ImageLimits::default() };
        assert!(matches!(Image::open(&path, &short), Err(ImageError::FileTooLarge { .. })));
        assert!(Image::open(&path, &ImageLimits::default()).is_ok());

        // A header that claims 65535 squared, on a picture of a few bytes.
        let mut claim = encode(&generated(4, 4), ImageFormat::Jpeg);
        let at = claim.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        claim[at + 5..at + 9].fill(0xff);
        assert!(Image::decode(&claim, &ImageLimits::default()).is_err());
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let other = Image::decode(b"GIF89a..", &ImageLimits::default());
        assert!(matches!(other, Err(ImageError::UnknownFormat { .. })));
        assert!(matches!(
            Image::decode(b"", &ImageLimits::default()),
            Err(ImageError::UnknownFormat { .. })
        ));
        let limits = ImageLimits { max_pixels: 1 << 12, ..ImageLimits::default() };
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let file = encode(&generated(24, 16), format);
            for len in (0..file.len()).step_by(3) {
                // What is left may be a picture with a gray rest; it must not be more than that.
                if let Ok(picture) = Image::decode(&file[..len], &limits) {
                    assert_eq!((picture.width(), picture.height()), (24, 16));
                }
            }
            for at in 4..file.len() {
                for value in [0, 0x7f, 0xff] {
                    let mut damaged = file.clone();
                    damaged[at] = value;
                    if let Ok(picture) = Image::decode(&damaged, &limits) {
                        assert!(picture.pixels().len() <= (1 << 12) * 3);
                    }
                }
            }
        }
    }
}
