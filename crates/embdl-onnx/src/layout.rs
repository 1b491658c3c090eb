//! In which order ONNX keeps the elements that a graph keeps in another: layouts are followed, not computed.
//!
//! A value of the graph is a row of factors, `[h, w, c]` say, in the order of its memory. What the file calls the value has
//! the same factors in the order of its own dimensions, `[c], [h], [w]`. Transpose, Reshape, Squeeze and the like only
//! change how factors are split and listed; elements move where an operator needs another order than memory has.

use std::rc::Rc;

use embdl_core::tensor::Shape;

/// Axes of `[n, c, h, w]` in the order `[n, h, w, c]`.
pub(crate) const NCHW_TO_NHWC: [usize; 4] = [0, 2, 3, 1];
/// Axes of `[n, h, w, c]` in the order `[n, c, h, w]`.
pub(crate) const NHWC_TO_NCHW: [usize; 4] = [0, 3, 1, 2];

/// Order of a value in ONNX, seen from the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Any dimensions.
    View(View),
    /// `[n, features]` of several values one after the other, each in its own order.
    Joined(Rc<Vec<View>>),
}

/// How ONNX's dimensions of a sample are made of the factors that memory has. Factors of one are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Sizes in the order of memory.
    atoms: Vec<usize>,
    /// For each dimension after the batch, the indices of its factors.
    dims: Vec<Vec<usize>>,
}

/// One step of bringing elements into another order: memory is seen as `sizes`, which come in `order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Move {
    pub(crate) sizes: [usize; 3],
    pub(crate) order: [usize; 3],
}

impl Order {
    /// `[c, h, w]` in ONNX, `[h, w, c]` in memory.
    pub(crate) fn nchw([h, w, c]: [usize; 3]) -> Self {
        Self::View(View::plain(&[h, w, c]).permuted(&[2, 0, 1]))
    }

    /// The same dimensions in the same order.
    pub(crate) fn plain(dims: &[usize]) -> Self {
        Self::View(View::plain(dims))
    }

    /// The dimensions after the batch that ONNX gives the value.
    pub(crate) fn dims(&self) -> Vec<usize> {
        match self {
            Self::View(view) => view.sizes(),
            Self::Joined(parts) => vec![parts.iter().map(View::len).sum()],
        }
    }

    /// Whether ONNX and memory have the same order.
    pub(crate) fn is_plain(&self) -> bool {
        self.parts().iter().all(View::is_plain)
    }

    /// Whether dimension `axis` is the last in memory, element for element.
    pub(crate) fn is_channel(&self, axis: usize) -> bool {
        let Self::View(view) = self else { return self.is_plain() };
        let mut axes: Vec<usize> = (0..view.rank()).filter(|&other| other != axis).collect();
        axes.push(axis);
        view.is_last(axis) && view.permuted(&axes).ends_in_order()
    }

    /// Elements of a sample.
    pub(crate) fn len(&self) -> usize {
        self.parts().iter().map(View::len).sum()
    }

    /// What is joined; a single view otherwise.
    pub(crate) fn parts(&self) -> &[View] {
        match self {
            Self::View(view) => core::slice::from_ref(view),
            Self::Joined(parts) => parts,
        }
    }

    /// For each element in the order of memory, its place in ONNX's.
    pub(crate) fn onnx_places(&self) -> Vec<usize> {
        let mut places = Vec::with_capacity(self.len());
        for part in self.parts() {
            let start = places.len();
            places.extend(part.onnx_places().into_iter().map(|place| start + place));
        }
        places
    }
}

impl View {
    /// The same order in both.
    pub(crate) fn plain(dims: &[usize]) -> Self {
        let mut atoms = Vec::new();
        let dims = dims.iter().map(|&size| {
            if size == 1 {
                return Vec::new();
            }
            atoms.push(size);
            vec![atoms.len() - 1]
        });
        Self { dims: dims.collect(), atoms }
    }

    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.atoms.iter().product()
    }

    /// Sizes of ONNX's dimensions.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.dims.iter().map(|dim| dim.iter().map(|&atom| self.atoms[atom]).product()).collect()
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.dims.iter().flatten().copied().eq(0..self.atoms.len())
    }

    /// ONNX's dimension `i` becomes what dimension `axes[i]` was; all axes once.
    pub(crate) fn permuted(&self, axes: &[usize]) -> Self {
        let dims = axes.iter().map(|&axis| self.dims[axis].clone()).collect();
        Self { atoms: self.atoms.clone(), dims }.merged()
    }

    /// Whether the dimensions `axes` come in this order in memory.
    pub(crate) fn is_in_order(&self, axes: &[usize]) -> bool {
        axes.iter().flat_map(|&axis| &self.dims[axis]).copied().eq(0..self.atoms.len())
    }

    /// Whether dimension `axis` is the last that changes in memory, in whatever order it is within.
    pub(crate) fn is_last(&self, axis: usize) -> bool {
        let mut own = self.dims[axis].clone();
        own.sort_unstable();
        own.iter().copied().eq(self.atoms.len() - own.len()..self.atoms.len())
    }

    /// Whether the last dimension has its factors in the order of memory.
    pub(crate) fn ends_in_order(&self) -> bool {
        self.dims.last().is_none_or(|last| last.windows(2).all(|pair| pair[0] < pair[1]))
    }

    /// The same elements under other dimensions; `None` where a factor would have to be cut across.
    pub(crate) fn reshaped(&self, to: &[usize]) -> Option<Self> {
        // Neighbours in both orders are one factor, whatever dimension they are in.
        let order: Vec<usize> = self.dims.iter().flatten().copied().collect();
        let whole = Self { atoms: self.atoms.clone(), dims: vec![order] }.merged();
        let mut rest: Vec<(usize, usize)> =
            whole.dims[0].iter().rev().map(|&atom| (atom, whole.atoms[atom])).collect();
        // For each factor, the sizes it is split into; for each dimension, which of those it has.
        let mut splits: Vec<Vec<usize>> = vec![Vec::new(); whole.atoms.len()];
        let mut dims: Vec<Vec<(usize, usize)>> = Vec::with_capacity(to.len());
        for &size in to {
            let (mut open, mut dim) = (size, Vec::new());
            while open > 1 {
                let (atom, have) = rest.pop()?;
                let taken = if open.is_multiple_of(have) {
                    have
                } else if have.is_multiple_of(open) {
                    rest.push((atom, have / open));
                    open
                } else {
                    return None;
                };
                dim.push((atom, splits[atom].len()));
                splits[atom].push(taken);
                open /= taken;
            }
            if open != 1 {
                return None;
            }
            dims.push(dim);
        }
        if !rest.is_empty() {
            return None;
        }
        let starts: Vec<usize> = splits
            .iter()
            .scan(0, |next, parts| {
                *next += parts.len();
                Some(*next - parts.len())
            })
            .collect();
        let place = |&(atom, part): &(usize, usize)| starts[atom] + part;
        let dims = dims.iter().map(|dim| dim.iter().map(place).collect()).collect();
        Some(Self { atoms: splits.concat(), dims }.merged())
    }

    /// The moves after which memory has the dimensions `axes` in this order.
    pub(crate) fn moves(&self, axes: &[usize]) -> Option<Vec<Move>> {
        let target: Vec<usize> = axes.iter().flat_map(|&axis| &self.dims[axis]).copied().collect();
        let merged = Self { atoms: self.atoms.clone(), dims: vec![target] }.merged();
        moves(&merged.atoms, &merged.dims[0])
    }

    /// For each element in the order of memory, its place in ONNX's.
    fn onnx_places(&self) -> Vec<usize> {
        let mut strides = vec![0; self.atoms.len()];
        let mut stride = 1;
        for &atom in self.dims.iter().flatten().rev() {
            strides[atom] = stride;
            stride *= self.atoms[atom];
        }
        let mut places = vec![0];
        for (&size, stride) in self.atoms.iter().zip(strides) {
            places =
                places.iter().flat_map(|&at| (0..size).map(move |i| at + i * stride)).collect();
        }
        places
    }

    /// The same, with neighbours in memory that are neighbours in one dimension as one factor.
    fn merged(mut self) -> Self {
        let mut follows = vec![false; self.atoms.len()];
        for dim in &self.dims {
            for pair in dim.windows(2) {
                follows[pair[1]] = pair[1] == pair[0] + 1;
            }
        }
        let mut index = Vec::with_capacity(self.atoms.len());
        let mut atoms: Vec<usize> = Vec::new();
        for (&size, &follows) in self.atoms.iter().zip(&follows) {
            match atoms.last_mut() {
                Some(last) if follows => *last *= size,
                _ => atoms.push(size),
            }
            index.push(atoms.len() - 1);
        }
        for dim in &mut self.dims {
            dim.retain(|&atom| !follows[atom]);
            dim.iter_mut().for_each(|atom| *atom = index[*atom]);
        }
        self.atoms = atoms;
        self
    }
}

/// The fewest steps of three blocks that bring factors of `sizes` into the order `target`; `None` where two are too few.
fn moves(sizes: &[usize], target: &[usize]) -> Option<Vec<Move>> {
    let start: Vec<usize> = (0..sizes.len()).collect();
    if target == start {
        return Some(Vec::new());
    }
    if sizes.len() > 6 {
        return None;
    }
    for first in steps(&start) {
        let after = apply(&start, first);
        if after == target {
            return Some(vec![sized(sizes, &start, first)]);
        }
    }
    for first in steps(&start) {
        let after = apply(&start, first);
        for second in steps(&after) {
            if apply(&after, second) == target {
                return Some(vec![sized(sizes, &start, first), sized(sizes, &after, second)]);
            }
        }
    }
    None
}

/// Ways to cut a row in up to three blocks and to put them in another order: where to cut, and the order.
type Step = ([usize; 2], [usize; 3]);

fn steps(row: &[usize]) -> impl Iterator<Item = Step> {
    let len = row.len();
    let orders = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    (1..len).flat_map(move |first| {
        (first + 1..=len).flat_map(move |second| orders.map(|order| ([first, second], order)))
    })
}

fn blocks(row: &[usize], [first, second]: [usize; 2]) -> [&[usize]; 3] {
    [&row[..first], &row[first..second], &row[second..]]
}

fn apply(row: &[usize], (cuts, order): Step) -> Vec<usize> {
    let blocks = blocks(row, cuts);
    order.iter().flat_map(|&block| blocks[block]).copied().collect()
}

fn sized(sizes: &[usize], row: &[usize], (cuts, order): Step) -> Move {
    let sizes = blocks(row, cuts).map(|block| block.iter().map(|&atom| sizes[atom]).product());
    Move { sizes, order }
}

/// The sizes of a shape after its batch.
pub(crate) fn sample_dims(shape: Shape) -> Vec<usize> {
    shape.iter().skip(1).collect()
}

/// `[o, i, h, w]` to `[o, h, w, i]`.
pub(crate) fn oihw_to_ohwi(values: &[f32], inner: usize, pixels: usize) -> Vec<f32> {
    transpose_each(values, inner, pixels)
}

/// `[o, h, w, i]` to `[o, i, h, w]`.
pub(crate) fn ohwi_to_oihw<T: Copy>(values: &[T], inner: usize, pixels: usize) -> Vec<T> {
    transpose_each(values, pixels, inner)
}

/// Transposes a matrix of `rows` rows.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    transpose_each(values, rows, columns)
}

/// Transposes each matrix of `rows` times `columns` in `values`.
fn transpose_each<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(values.len());
    for matrix in values.chunks_exact((rows * columns).max(1)) {
        for column in 0..columns {
            out.extend((0..rows).map(|row| matrix[row * columns + column]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(h: usize, w: usize, c: usize) -> View {
        View::plain(&[h, w, c]).permuted(&[2, 0, 1])
    }

    #[test]
    fn maps_become_hwc() {
        // Two channels of three pixels: ONNX a0 a1 a2 b0 b1 b2, memory a0 b0 a1 b1 a2 b2.
        assert_eq!(Order::nchw([3, 1, 2]).onnx_places(), [0, 3, 1, 4, 2, 5]);
        let flat = |view: &View| view.reshaped(&[view.len()]).unwrap();
        let joined =
            Order::Joined(Rc::new(vec![View::plain(&[2]), flat(&map(2, 1, 2)), View::plain(&[1])]));
        assert_eq!(joined.onnx_places(), [0, 1, 2, 4, 3, 5, 6]);
        assert_eq!(joined.dims(), [7]);
    }

    #[test]
    fn one_channel_or_one_pixel_is_plain() {
        assert!(map(2, 3, 1).is_plain() && map(1, 1, 6).is_plain());
        assert!(!map(1, 2, 3).is_plain());
        assert_eq!(map(2, 3, 1).reshaped(&[6]), Some(View::plain(&[6])));
    }

    #[test]
    fn transposes_that_cancel_vanish() {
        let view = map(4, 5, 6);
        let there = view.permuted(&[1, 2, 0]);
        assert!(there.is_plain());
        assert_eq!(there.permuted(&[2, 0, 1]), view);
        let flat = there.reshaped(&[120]).unwrap();
        assert_eq!(flat, View::plain(&[120]));
        assert_eq!(view.reshaped(&[6, 20]).unwrap().reshaped(&[6, 4, 5]), Some(view));
    }

    #[test]
    fn shuffled_channels_are_one_move() {
        // ShuffleNet: [c, h, w] to [g, k, h, w], exchanged, and back.
        let view = map(2, 2, 6).reshaped(&[3, 2, 2, 2]).unwrap().permuted(&[1, 0, 2, 3]);
        let shuffled = view.reshaped(&[6, 2, 2]).unwrap();
        assert!(!shuffled.is_in_order(&[1, 2, 0]) && shuffled.is_last(0));
        let moves = shuffled.moves(&[1, 2, 0]).unwrap();
        assert_eq!(moves, [Move { sizes: [4, 3, 2], order: [0, 2, 1] }]);
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        assert_eq!(map(2, 2, 3).reshaped(&[2, 6]), None, "the channels are cut in two");
        assert_eq!(map(2, 2, 3).reshaped(&[5]), None);
        assert_eq!(map(2, 2, 3).reshaped(&[24]), None);
        assert_eq!(View::plain(&[12]).reshaped(&[5, 2]), None);
        assert_eq!(View::plain(&[12]).reshaped(&[1, 4, 3, 1]), Some(View::plain(&[1, 4, 3, 1])));
    }

    #[test]
    fn moves_do_what_they_say() {
        // Every order of four factors: the moves end where they should.
        let sizes = [2, 3, 5, 7];
        let mut found = 0;
        for code in 0..256_usize {
            let target: Vec<usize> = (0..4).map(|at| code >> (2 * at) & 3).collect();
            let mut sorted = target.clone();
            sorted.sort_unstable();
            if sorted != [0, 1, 2, 3] {
                continue;
            }
            let steps = moves(&sizes, &target).expect("two moves are enough for four factors");
            // Elements named by their place; memory as a list of names.
            let mut memory: Vec<usize> = (0..210).collect();
            for step in steps {
                let [a, b, c] = step.sizes;
                let strides = [b * c, c, 1];
                let [x, y, z] = step.order;
                let mut next = Vec::new();
                for i in 0..step.sizes[x] {
                    for j in 0..step.sizes[y] {
                        for k in 0..step.sizes[z] {
                            next.push(memory[i * strides[x] + j * strides[y] + k * strides[z]]);
                        }
                    }
                }
                assert_eq!(a * b * c, next.len());
                memory = next;
            }
            let strides = [105, 35, 7, 1];
            let mut expected = vec![0];
            for &atom in &target {
                expected = expected
                    .iter()
                    .flat_map(|&at| (0..sizes[atom]).map(move |i| at + i * strides[atom]))
                    .collect();
            }
            assert_eq!(memory, expected, "{target:?}");
            found += 1;
        }
        assert_eq!(found, 24);
    }

    #[test]
    fn weights_there_and_back() {
        let oihw: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let ohwi = oihw_to_ohwi(&oihw, 3, 4);
        assert_eq!(&ohwi[..4], [0.0, 4.0, 8.0, 1.0]);
        assert_eq!(ohwi_to_oihw(&ohwi, 3, 4), oihw);
    }
}
