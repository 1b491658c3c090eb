//! Moving pixels: whole shifts by copying rows, everything affine by bilinear sampling in fixed point.

/// Size of an image, H·W·C.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

impl Frame {
    fn row(self, image: &[u8], y: usize) -> &[u8] {
        let len = self.width * self.channels;
        &image[y * len..][..len]
    }

    pub(super) fn row_mut(self, image: &mut [u8], y: usize) -> &mut [u8] {
        let len = self.width * self.channels;
        &mut image[y * len..][..len]
    }
}

/// One affine distortion: mirror, then scale by `factor`, shear and turn by `angle` about the centre, then shift.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    pub(super) mirror: bool,
    /// Radians.
    pub(super) angle: f32,
    pub(super) factor: f32,
    /// Pixels per row.
    pub(super) shear: f32,
    /// Down, pixels.
    pub(super) dy: isize,
    /// Right, pixels.
    pub(super) dx: isize,
}

/// Mirrors if told to, then shifts by whole pixels (down, right); what comes from outside is 0.
pub(super) fn shift(
    frame: Frame,
    from: &[u8],
    mirror: bool,
    (dy, dx): (isize, isize),
    to: &mut [u8],
) {
    let Frame { height, width, channels } = frame;
    // Output columns left..right have a source.
    let left = dx.clamp(0, width.cast_signed()).cast_unsigned();
    let right = width - (-dx).clamp(0, width.cast_signed()).cast_unsigned();
    for y in 0..height {
        let row = frame.row_mut(to, y);
        let source_y = y.checked_add_signed(-dy).filter(|&source_y| source_y < height);
        let Some(source_y) = source_y.filter(|_| left < right) else {
            row.fill(0);
            continue;
        };
        let source = frame.row(from, source_y);
        row[..left * channels].fill(0);
        row[right * channels..].fill(0);
        let inner = &mut row[left * channels..right * channels];
        // The leftmost of the columns that stay in the frame, before and after mirroring.
        let start = (-dx).max(0).cast_unsigned();
        let len = right - left;
        if mirror {
            let source = &source[(width - start - len) * channels..(width - start) * channels];
            let pixels = source.chunks_exact(channels).rev();
            for (to, from) in inner.chunks_exact_mut(channels).zip(pixels) {
                to.copy_from_slice(from);
            }
        } else {
            inner.copy_from_slice(&source[start * channels..(start + len) * channels]);
        }
    }
}

/// Fraction bits of a source coordinate.
const FRACTION: u32 = 16;

/// Black pixels around the image that is sampled: with two on each side, a coordinate that is clamped to the border
/// needs no branch to see black in all of its 2x2 pixels.
const BORDER: usize = 2;

/// Samples the image under `affine`; what comes from outside is 0.
///
/// The inverse map is walked in fixed point, one addition a pixel: `source = start + y · step_y + x · step_x`.
pub(super) fn affine(frame: Frame, from: &[u8], affine: &Affine, to: &mut [u8]) {
    let walk = Walk::new(frame, affine);
    let bordered = Bordered::new(frame, from);
    for y in 0..frame.height {
        let [mut source_y, mut source_x] = walk.row_start(y);
        for to in frame.row_mut(to, y).chunks_exact_mut(frame.channels) {
            bordered.sample(source_y, source_x, to);
            source_y += walk.step_x[0];
            source_x += walk.step_x[1];
        }
    }
}

/// Where output pixels come from, `[y, x]` with [`FRACTION`] bits.
struct Walk {
    start: [i64; 2],
    step_y: [i64; 2],
    step_x: [i64; 2],
}

impl Walk {
    /// The forward map about the centre is `out = R(angle) · S(shear) · factor · mirror · in + shift`; this is its
    /// inverse.
    #[expect(clippy::cast_precision_loss, reason = "sizes and shifts of an image are small")]
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    fn new(frame: Frame, affine: &Affine) -> Self {
        let (sin, cos) = f64::from(affine.angle).sin_cos();
        let shrink = 1.0 / f64::from(affine.factor);
        let flip = if affine.mirror { -shrink } else { shrink };
        let shear = f64::from(affine.shear);
        // Turn back: (x, y) -> (cos·x + sin·y, -sin·x + cos·y); shear back: x -> x - shear·y; scale back, mirror back.
        let (yx, yy) = (-sin * shrink, cos * shrink);
        let (xx, xy) = ((cos + shear * sin) * flip, (sin - shear * cos) * flip);
        let centre_y = (frame.height - 1) as f64 / 2.0;
        let centre_x = (frame.width - 1) as f64 / 2.0;
        let (y0, x0) = (-centre_y - affine.dy as f64, -centre_x - affine.dx as f64);
        let fixed = |value: f64| (value * f64::from(1 << FRACTION)).round() as i64;
        Self {
            start: [fixed(centre_y + yx * x0 + yy * y0), fixed(centre_x + xx * x0 + xy * y0)],
            step_y: [fixed(yy), fixed(xy)],
            step_x: [fixed(yx), fixed(xx)],
        }
    }

    fn row_start(&self, y: usize) -> [i64; 2] {
        let y = y as i64;
        [self.start[0] + y * self.step_y[0], self.start[1] + y * self.step_y[1]]
    }
}

/// A copy of an image in a black border.
struct Bordered {
    frame: Frame,
    /// Bytes of a row.
    stride: usize,
    bytes: Vec<u8>,
}

impl Bordered {
    fn new(frame: Frame, image: &[u8]) -> Self {
        let stride = (frame.width + 2 * BORDER) * frame.channels;
        let mut bytes = vec![0; (frame.height + 2 * BORDER) * stride];
        let rows = bytes.chunks_exact_mut(stride).skip(BORDER);
        for (to, y) in rows.zip(0..frame.height) {
            let row = frame.row(image, y);
            to[BORDER * frame.channels..][..row.len()].copy_from_slice(row);
        }
        Self { frame, stride, bytes }
    }

    /// Bilinear, with 8-bit weights, rounded half up.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "clamped to the image, or masked to 8 bits"
    )]
    fn sample(&self, source_y: i64, source_x: i64, to: &mut [u8]) {
        let channels = self.frame.channels;
        let place = |source: i64, len: usize| {
            let at = (source >> FRACTION).clamp(-(BORDER as i64), len as i64) + BORDER as i64;
            let weight = (source >> (FRACTION - 8)) as u32 & 255;
            (at.cast_unsigned() as usize, weight)
        };
        let (y, wy) = place(source_y, self.frame.height);
        let (x, wx) = place(source_x, self.frame.width);
        let start = y * self.stride + x * channels;
        let top = &self.bytes[start..][..2 * channels];
        let bottom = &self.bytes[start + self.stride..][..2 * channels];
        for (channel, to) in to.iter_mut().enumerate() {
            let mix = |row: &[u8]| {
                let (left, right) = (u32::from(row[channel]), u32::from(row[channel + channels]));
                left * (256 - wx) + right * wx
            };
            // A weighted mean of bytes is a byte.
            *to = ((mix(top) * (256 - wy) + mix(bottom) * wy + (1 << 15)) >> 16) as u8;
        }
    }
}
