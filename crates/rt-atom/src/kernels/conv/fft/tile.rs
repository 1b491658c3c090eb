//! The two-dimensional transforms of real tiles, on vectors of channels.
//!
//! ```text
//! forward:  for each pair of rows a, b:  Z = transform of a + i b          pads are zeros, pairs of such rows are skipped
//!           for each column x < N/2:     A = Z[x] + conj(Z[N-x]), B = (Z[x] - conj(Z[N-x])) / i      twice the rows' spectra
//!                                        transform of the column, every value of which is a position
//! inverse:  the same backwards; only the rows and columns of the result are kept
//! ```
//!
//! Spectra of rows are real at 0 and N/2, so that columns 0 and N/2 go as one complex column. Of the N * N positions of
//! the spectrum of a real tile, N * N / 2 - 2 complex and four real ones say everything. Complex ones come out doubled;
//! the filters make up for it.

use core::ops::Range;

use embdl_core::kernels::WindowGeometry;
use embdl_core::kernels::lanes::Lanes;
use embdl_core::kernels::parallel::Shared;

use super::line::{self, Complex, Sink, Source};

/// Where a complex position of column `x` (1 to N/2 - 1) at `y` stands.
pub(super) const fn position(n: usize, x: usize, y: usize) -> usize {
    (x - 1) * n + y
}

/// Where the complex position `y` (1 to N/2 - 1) of column 0 (`last` 0) or N/2 (1) stands.
pub(super) const fn edge(n: usize, last: usize, y: usize) -> usize {
    (n / 2 - 1) * n + last * (n / 2 - 1) + y - 1
}

/// Complex positions. Four real ones stand behind them: column 0 at 0 and N/2, column N/2 at 0 and N/2.
pub(crate) const fn complex_positions(n: usize) -> usize {
    n * n / 2 - 2
}

/// Some channels of a tile of the input.
#[derive(Clone, Debug)]
pub(crate) struct Forward<'a> {
    /// Where the windows go.
    pub(crate) geometry: &'a WindowGeometry,
    /// First row and column of the tile, in the input with its pads.
    pub(crate) start: [usize; 2],
    /// The sample.
    pub(crate) input: &'a [f32],
    /// The group's first channel.
    pub(crate) first_channel: usize,
    /// Which of the group's channels; whole vectors and the last ones, which overlap others of these.
    pub(crate) channels: Range<usize>,
    /// As many zeros as channels of the group.
    pub(crate) zeros: &'a [f32],
    /// Of the tile, within each plane of V.
    pub(crate) at: usize,
    /// Elements of V from the real parts to the imaginary ones, and from those to the negated real ones.
    pub(crate) plane: usize,
}

/// Some channels of a tile of the result.
#[derive(Clone, Debug)]
pub(crate) struct Inverse<'a> {
    /// Products: for each complex position `block` rows of real parts and as many of imaginary ones, then for each real
    /// position `block` rows.
    pub(crate) products: &'a [f32],
    /// Tiles in a block.
    pub(crate) block: usize,
    /// Which of them.
    pub(crate) tile: usize,
    /// First row and column of the result.
    pub(crate) start: [usize; 2],
    /// Rows and columns of the result.
    pub(crate) len: [usize; 2],
    /// Columns of the whole result.
    pub(crate) width: usize,
    /// One bias a channel of the group.
    pub(crate) bias: &'a [f32],
    /// Bounds of the result.
    pub(crate) clamp: (f32, f32),
    /// Elements from one pixel of the result to the next.
    pub(crate) out_stride: usize,
    /// First channel of the group within a pixel of the result.
    pub(crate) first_channel: usize,
    /// As for [`Forward`].
    pub(crate) channels: Range<usize>,
}

/// First channels of the vectors of `channels`: the last one overlaps the one before where they are no whole number.
#[inline(always)]
fn vectors(channels: &Range<usize>, lanes: usize) -> impl Iterator<Item = usize> + use<> {
    let end = channels.end;
    channels.clone().step_by(lanes).map(move |channel| channel.min(end - lanes))
}

/// Transforms a tile into V: three planes, of real parts, imaginary parts and negated real parts.
///
/// # Panics
/// If a slice does not fit the job, or there are fewer channels than lanes.
#[inline(always)]
pub(crate) fn forward<L: Lanes, const N: usize>(
    l: L,
    job: &Forward<'_>,
    v: &Shared<'_, f32>,
    rows: &mut [f32],
) {
    let ci = job.zeros.len();
    assert!(job.channels.end <= ci && job.channels.len() >= L::LANES);
    assert!(rows.len() >= N * N * L::LANES);
    let (pixels, there) = pixels::<N>(job);
    for channel in vectors(&job.channels, L::LANES) {
        for pair in 0..N / 2 {
            let mut to = Line::<N>(&mut rows[pair * 2 * N * L::LANES..][..2 * N * L::LANES]);
            if 2 * pair + 1 < there.start || 2 * pair >= there.end {
                to.0.fill(0.0);
                continue;
            }
            let from = RowPair { rows: [&pixels[2 * pair], &pixels[2 * pair + 1]], channel };
            line::forward::<L, N>(l, &from, &mut to);
        }
        let mut to = Positions::<N> { job, v, channel, x: 0 };
        for x in 1..N / 2 {
            to.x = x;
            line::forward::<L, N>(l, &Column::<N> { rows, x }, &mut to);
        }
        let mut edges = [[l.splat(0.0); 2]; N];
        line::forward::<L, N>(l, &Edges::<N> { rows }, &mut edges);
        for y in 1..N / 2 {
            let (z, w) = (edges[y], edges[N - y]);
            to.put_complex(l, edge(N, 0, y), [l.add(z[0], w[0]), l.sub(z[1], w[1])]);
            to.put_complex(l, edge(N, 1, y), [l.add(z[1], w[1]), l.sub(w[0], z[0])]);
        }
        let reals = [edges[0][0], edges[N / 2][0], edges[0][1], edges[N / 2][1]];
        for (real, x) in reals.into_iter().enumerate() {
            to.put(l, complex_positions(N) + real, 0, x);
        }
    }
}

/// Two rows of pixels as real and imaginary parts.
struct RowPair<'a, const N: usize> {
    rows: [&'a [&'a [f32]; N]; 2],
    channel: usize,
}

impl<L: Lanes, const N: usize> Source<L> for RowPair<'_, N> {
    #[inline(always)]
    fn load(&self, l: L, x: usize) -> Complex<L> {
        let [re, im] = [self.rows[0][x].as_ptr(), self.rows[1][x].as_ptr()];
        // SAFETY: slices of all channels of the group, and a vector from `channel` is within them.
        unsafe { [l.load(re.add(self.channel)), l.load(im.add(self.channel))] }
    }
}

/// A line of `N` complex values in memory.
struct Line<'a, const N: usize>(&'a mut [f32]);

impl<L: Lanes, const N: usize> Sink<L> for Line<'_, N> {
    #[inline(always)]
    fn store(&mut self, l: L, k: usize, [re, im]: Complex<L>) {
        let at = self.0[k * 2 * L::LANES..][..2 * L::LANES].as_mut_ptr();
        // SAFETY: two vectors.
        unsafe {
            l.store(at, re);
            l.store(at.add(L::LANES), im);
        }
    }
}

/// Column `x` of the spectra of rows, from those of pairs.
struct Column<'a, const N: usize> {
    rows: &'a [f32],
    x: usize,
}

impl<L: Lanes, const N: usize> Source<L> for Column<'_, N> {
    #[inline(always)]
    fn load(&self, l: L, y: usize) -> Complex<L> {
        let first = y / 2 * N;
        let (z, w) = (get(l, self.rows, first + self.x), get(l, self.rows, first + N - self.x));
        if y.is_multiple_of(2) {
            [l.add(z[0], w[0]), l.sub(z[1], w[1])]
        } else {
            [l.add(z[1], w[1]), l.sub(w[0], z[0])]
        }
    }
}

/// The real columns 0 and `N / 2` as real and imaginary parts.
struct Edges<'a, const N: usize> {
    rows: &'a [f32],
}

impl<L: Lanes, const N: usize> Source<L> for Edges<'_, N> {
    #[inline(always)]
    fn load(&self, l: L, y: usize) -> Complex<L> {
        let first = y / 2 * N;
        [get(l, self.rows, first)[y % 2], get(l, self.rows, first + N / 2)[y % 2]]
    }
}

/// Column `x` of V.
struct Positions<'a, const N: usize> {
    job: &'a Forward<'a>,
    v: &'a Shared<'a, f32>,
    channel: usize,
    x: usize,
}

impl<const N: usize> Positions<'_, N> {
    #[inline(always)]
    fn put<L: Lanes>(&self, l: L, position: usize, plane: usize, x: L::F32) {
        let job = self.job;
        let first = plane * job.plane + job.at + position * job.zeros.len() + self.channel;
        // SAFETY: tiles and channels of different jobs are disjoint.
        let part = unsafe { self.v.part(first..first + L::LANES) };
        // SAFETY: LANES floats.
        unsafe { l.store(part.as_mut_ptr(), x) };
    }

    #[inline(always)]
    fn put_complex<L: Lanes>(&self, l: L, position: usize, [re, im]: Complex<L>) {
        self.put(l, position, 0, re);
        self.put(l, position, 1, im);
        self.put(l, position, 2, l.sub(l.splat(0.0), re));
    }
}

impl<L: Lanes, const N: usize> Sink<L> for Positions<'_, N> {
    #[inline(always)]
    fn store(&mut self, l: L, y: usize, z: Complex<L>) {
        self.put_complex(l, position(N, self.x, y), z);
    }
}

/// The channels of each pixel of a tile, and which rows are not all pads.
#[inline(always)]
fn pixels<'a, const N: usize>(job: &Forward<'a>) -> ([[&'a [f32]; N]; N], Range<usize>) {
    let [height, width, depth] = job.geometry.input;
    let ci = job.zeros.len();
    let mut pixels = [[job.zeros; N]; N];
    let [rows, columns] = [(0, height), (1, width)].map(|(axis, len)| {
        let (start, pad) = (job.start[axis], job.geometry.pad_before[axis]);
        let first = pad.saturating_sub(start).min(N);
        first..(pad + len).saturating_sub(start).clamp(first, N)
    });
    for row in rows.clone() {
        let y = job.start[0] + row - job.geometry.pad_before[0];
        for column in columns.clone() {
            let x = job.start[1] + column - job.geometry.pad_before[1];
            let first = (y * width + x) * depth + job.first_channel;
            pixels[row][column] = &job.input[first..first + ci];
        }
    }
    (pixels, rows)
}

/// The result of a tile of products, which no other thread writes.
///
/// # Panics
/// If a slice does not fit the job, or there are fewer channels than lanes.
#[inline(always)]
pub(crate) fn inverse<L: Lanes, const N: usize>(
    l: L,
    job: &Inverse<'_>,
    out: &Shared<'_, f32>,
    rows: &mut [f32],
) {
    let n = job.bias.len();
    assert!(job.channels.end <= n && job.channels.len() >= L::LANES);
    assert!(rows.len() >= N * N * L::LANES && job.len[0] <= N && job.len[1] <= N);
    assert!(job.tile < job.block && job.products.len() >= N * N * job.block * n);
    let clamp = [l.splat(job.clamp.0), l.splat(job.clamp.1)];
    for channel in vectors(&job.channels, L::LANES) {
        let mut from = Products::<N> { job, channel, x: 0 };
        for x in 1..N / 2 {
            from.x = x;
            line::inverse::<L, N>(l, &from, &mut Kept::<N> { rows, x, len: job.len[0] });
        }
        let mut edges = [[l.splat(0.0); 2]; N];
        for y in 1..N / 2 {
            let (a, b) = (from.complex(l, edge(N, 0, y)), from.complex(l, edge(N, 1, y)));
            edges[y] = [l.sub(a[0], b[1]), l.add(a[1], b[0])];
            edges[N - y] = [l.add(a[0], b[1]), l.sub(b[0], a[1])];
        }
        let real = |which: usize| 2 * complex_positions(N) + which;
        edges[0] = [from.product(l, real(0)), from.product(l, real(2))];
        edges[N / 2] = [from.product(l, real(1)), from.product(l, real(3))];
        line::inverse::<L, N>(l, &edges, &mut Kept::<N> { rows, x: 0, len: job.len[0] });
        // SAFETY: a vector of biases from `channel`.
        let bias = unsafe { l.load(job.bias.as_ptr().add(channel)) };
        for pair in 0..job.len[0].div_ceil(2) {
            // The row beyond an odd last one is that one again.
            let pair = [2 * pair, (2 * pair + 1).min(job.len[0] - 1)];
            let mut to = Results { job, out, channel, pair, bias, clamp };
            line::inverse::<L, N>(l, &Pair::<N> { rows, pair }, &mut to);
        }
    }
}

/// Column `x` of M.
struct Products<'a, const N: usize> {
    job: &'a Inverse<'a>,
    channel: usize,
    x: usize,
}

impl<const N: usize> Products<'_, N> {
    #[inline(always)]
    fn product<L: Lanes>(&self, l: L, row: usize) -> L::F32 {
        let at = (row * self.job.block + self.job.tile) * self.job.bias.len() + self.channel;
        // SAFETY: `inverse` asserts `block` rows of products for each of N * N real and imaginary parts, and that a vector
        // from `channel` is within a row.
        unsafe { l.load(self.job.products.as_ptr().add(at)) }
    }

    #[inline(always)]
    fn complex<L: Lanes>(&self, l: L, position: usize) -> Complex<L> {
        [self.product(l, 2 * position), self.product(l, 2 * position + 1)]
    }
}

impl<L: Lanes, const N: usize> Source<L> for Products<'_, N> {
    #[inline(always)]
    fn load(&self, l: L, y: usize) -> Complex<L> {
        self.complex(l, position(N, self.x, y))
    }
}

/// Column `x` of the first `len` rows' spectra.
struct Kept<'a, const N: usize> {
    rows: &'a mut [f32],
    x: usize,
    len: usize,
}

impl<L: Lanes, const N: usize> Sink<L> for Kept<'_, N> {
    #[inline(always)]
    fn store(&mut self, l: L, y: usize, z: Complex<L>) {
        if y < self.len {
            let first = (y * (N / 2) + self.x) * 2 * L::LANES;
            Line::<1>(&mut self.rows[first..][..2 * L::LANES]).store(l, 0, z);
        }
    }
}

/// The spectra of two rows as one: of the first, and of the second times i.
struct Pair<'a, const N: usize> {
    rows: &'a [f32],
    pair: [usize; 2],
}

impl<L: Lanes, const N: usize> Source<L> for Pair<'_, N> {
    #[inline(always)]
    fn load(&self, l: L, x: usize) -> Complex<L> {
        let column = if x < N / 2 { x } else { N - x } % (N / 2);
        let a = get(l, self.rows, self.pair[0] * (N / 2) + column);
        let b = get(l, self.rows, self.pair[1] * (N / 2) + column);
        match x {
            0 => [a[0], b[0]],
            _ if x == N / 2 => [a[1], b[1]],
            _ if x < N / 2 => [l.sub(a[0], b[1]), l.add(a[1], b[0])],
            _ => [l.add(a[0], b[1]), l.sub(b[0], a[1])],
        }
    }
}

/// Two rows of the result.
struct Results<'a, L: Lanes> {
    job: &'a Inverse<'a>,
    out: &'a Shared<'a, f32>,
    channel: usize,
    pair: [usize; 2],
    bias: L::F32,
    clamp: [L::F32; 2],
}

impl<L: Lanes> Sink<L> for Results<'_, L> {
    #[inline(always)]
    fn store(&mut self, l: L, x: usize, z: Complex<L>) {
        let job = self.job;
        if x >= job.len[1] {
            return;
        }
        let [low, high] = self.clamp;
        for (&row, &value) in self.pair.iter().zip(&z) {
            let pixel = (job.start[0] + row) * job.width + job.start[1] + x;
            let at = pixel * job.out_stride + job.first_channel + self.channel;
            let value = l.clamp(l.add(value, self.bias), low, high);
            // SAFETY: pixels of different tiles and channels of different jobs are disjoint.
            let part = unsafe { self.out.part(at..at + L::LANES) };
            // SAFETY: LANES floats.
            unsafe { l.store(part.as_mut_ptr(), value) };
        }
    }
}

/// The complex value at `index`.
#[inline(always)]
fn get<L: Lanes>(l: L, rows: &[f32], index: usize) -> Complex<L> {
    let at = rows[index * 2 * L::LANES..][..2 * L::LANES].as_ptr();
    // SAFETY: two vectors.
    unsafe { [l.load(at), l.load(at.add(L::LANES))] }
}
