//! Moves elements of any type: other orders of axes, borders.

/// Reorders axes: axis `i` of the result is axis `order[i]` of the input, whose extents are `dims`.
///
/// # Panics
/// If the slices do not have as many elements as `dims` say, or `order` is no permutation.
pub fn transpose<T: Copy>(dims: [usize; 4], order: [usize; 4], input: &[T], out: &mut [T]) {
    let len: usize = dims.iter().product();
    assert!(input.len() == len && out.len() == len, "{} elements of {dims:?}", input.len());
    let mut strides = [1; 4];
    for axis in (0..3).rev() {
        strides[axis] = strides[axis + 1] * dims[axis + 1];
    }
    let [a, b, c, d] = order.map(|axis| (dims[axis], strides[axis]));
    let mut rows = out.chunks_exact_mut(d.0.max(1));
    for i in 0..a.0 {
        for j in 0..b.0 {
            for (k, row) in (0..c.0).zip(&mut rows) {
                let from = &input[i * a.1 + j * b.1 + k * c.1..];
                if d.1 == 1 {
                    row.copy_from_slice(&from[..d.0]);
                } else {
                    for (slot, &x) in row.iter_mut().zip(from.iter().step_by(d.1)) {
                        *slot = x;
                    }
                }
            }
        }
    }
}

/// Puts a border of `border` around one sample of `height` rows of `row` elements each: `[top, left, bottom, right]`, of
/// which left and right are elements too.
///
/// # Panics
/// If the slices do not fit.
pub fn pad<T: Copy>(
    [height, row]: [usize; 2],
    [top, left, bottom, right]: [usize; 4],
    border: T,
    input: &[T],
    out: &mut [T],
) {
    let width = left + row + right;
    assert!(
        input.len() == height * row && out.len() == (top + height + bottom) * width,
        "{} inputs, {} results",
        input.len(),
        out.len()
    );
    out.fill(border);
    let inner = out[top * width..].chunks_exact_mut(width);
    for (from, to) in input.chunks_exact(row).zip(inner) {
        to[left..][..row].copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_hand() {
        let input = [1, 2, 3, 4, 5, 6];
        let mut out = [0; 6];
        transpose([1, 2, 3, 1], [0, 2, 1, 3], &input, &mut out);
        assert_eq!(out, [1, 4, 2, 5, 3, 6]);
        transpose([1, 1, 3, 2], [0, 3, 1, 2], &input, &mut out);
        assert_eq!(out, [1, 3, 5, 2, 4, 6]);
        transpose([2, 1, 1, 3], [0, 3, 1, 2], &input, &mut out);
        assert_eq!(out, input);
    }

    #[test]
    fn borders_by_hand() {
        let mut out = [7; 12];
        pad([2, 2], [0, 1, 1, 1], 0, &[1, 2, 3, 4], &mut out);
        assert_eq!(out, [0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0]);
    }
}
