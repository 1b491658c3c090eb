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

/// Samples the image under `affine`; what comes from outside is 0.
///
/// The inverse map is walked in fixed point, one addition a pixel: `source = start + y · step_y + x · step_x`.
pub(super) fn affine(frame: Frame, from: &[u8], affine: &Affine, to: &mut [u8]) {
    let walk = Walk::new(frame, affine);
    for y in 0..frame.height {
        let [mut source_y, mut source_x] = walk.row_start(y);
        for to in frame.row_mut(to, y).chunks_exact_mut(frame.channels) {
            sample(frame, from, source_y, source_x, to);
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

/// Bilinear, with 8-bit weights, rounded half up.
fn sample(frame: Frame, from: &[u8], source_y: i64, source_x: i64, to: &mut [u8]) {
    let (y, x) = (source_y >> FRACTION, source_x >> FRACTION);
    let [wy, wx] =
        [source_y, source_x].map(|at| u32::try_from((at >> (FRACTION - 8)) & 255).unwrap_or(0));
    let (rows, columns) = (frame.height as i64, frame.width as i64);
    if y < -1 || x < -1 || y >= rows || x >= columns {
        to.fill(0);
        return;
    }
    let stride = frame.width * frame.channels;
    let inside = y >= 0 && x >= 0 && y + 1 < rows && x + 1 < columns;
    for (channel, to) in to.iter_mut().enumerate() {
        let taps = if inside {
            let at = y.cast_unsigned() as usize * stride
                + x.cast_unsigned() as usize * frame.channels
                + channel;
            let (top, bottom) = (&from[at..], &from[at + stride..]);
            [top[0], top[frame.channels], bottom[0], bottom[frame.channels]]
        } else {
            [(y, x), (y, x + 1), (y + 1, x), (y + 1, x + 1)].map(|(y, x)| {
                let outside = y < 0 || x < 0 || y >= rows || x >= columns;
                let at = || {
                    y.cast_unsigned() as usize * stride
                        + x.cast_unsigned() as usize * frame.channels
                        + channel
                };
                if outside { 0 } else { from[at()] }
            })
        };
        let [a, b, c, d] = taps.map(u32::from);
        let top = a * (256 - wx) + b * wx;
        let bottom = c * (256 - wx) + d * wx;
        let sum = top * (256 - wy) + bottom * wy;
        *to = u8::try_from((sum + (1 << 15)) >> 16).expect("a weighted mean of bytes is a byte");
    }
}
