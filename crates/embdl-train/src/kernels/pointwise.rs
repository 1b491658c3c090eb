//! Element-wise operators, joining, and sums over rows.

use embdl_core::op::Activation;
use rayon::prelude::*;

use super::conv::add_all;
use super::{PART, vectorized};

/// The activation of every element.
pub(crate) fn activate(x: &[f32], activation: Activation) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(PART).zip(x.par_chunks(PART)).for_each(|(y, x)| {
        y.copy_from_slice(x);
        clamp(y, activation.bounds());
    });
    y
}

/// The activation of every sum.
pub(crate) fn add(lhs: &[f32], rhs: &[f32], activation: Activation) -> Vec<f32> {
    let mut y = vec![0.0; lhs.len()];
    y.par_chunks_mut(PART).zip(lhs.par_chunks(PART)).zip(rhs.par_chunks(PART)).for_each(
        |((y, lhs), rhs)| {
            y.iter_mut().zip(lhs.iter().zip(rhs)).for_each(|(y, (lhs, rhs))| *y = lhs + rhs);
            clamp(y, activation.bounds());
        },
    );
    y
}

/// Turns the gradient of an activation's result into that of its argument: zero where the result is at a bound.
pub(crate) fn through_activation(y: &[f32], activation: Activation, dy: &mut [f32]) {
    if activation != Activation::None {
        dy.par_chunks_mut(PART)
            .zip(y.par_chunks(PART))
            .for_each(|(dy, y)| pass_inside(y, activation.bounds(), dy));
    }
}

/// Sums of each column of a row-major matrix of `columns`: the gradient of a bias.
pub(crate) fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = (values.len() / columns).div_ceil(8).max(1);
    let partials = values
        .par_chunks(rows * columns)
        .map(|values| {
            let mut sums = vec![0.0; columns];
            add_rows(values, &mut sums);
            sums
        })
        .collect();
    add_all(partials, columns)
}

/// Joins runs of `lhs_run` and `rhs_run` elements in turn.
pub(crate) fn concat(lhs: &[f32], lhs_run: usize, rhs: &[f32], rhs_run: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(lhs.len() + rhs.len());
    for (lhs, rhs) in lhs.chunks_exact(lhs_run).zip(rhs.chunks_exact(rhs_run)) {
        y.extend_from_slice(lhs);
        y.extend_from_slice(rhs);
    }
    y
}

/// Takes runs of [`concat`] apart: the gradients of both sides.
pub(crate) fn split(dy: &[f32], lhs_run: usize, rhs_run: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut lhs, mut rhs) = (Vec::new(), Vec::new());
    for dy in dy.chunks_exact(lhs_run + rhs_run) {
        lhs.extend_from_slice(&dy[..lhs_run]);
        rhs.extend_from_slice(&dy[lhs_run..]);
    }
    (lhs, rhs)
}

vectorized! {
    fn clamp<'a>(values: &'a mut [f32], bounds: (f32, f32)) {
        for value in values {
            let low = if *value < bounds.0 { bounds.0 } else { *value };
            *value = if low > bounds.1 { bounds.1 } else { low };
        }
    }
}

vectorized! {
    fn pass_inside<'a>(y: &'a [f32], bounds: (f32, f32), dy: &'a mut [f32]) {
        for (dy, &y) in dy.iter_mut().zip(y) {
            *dy = if y > bounds.0 && y < bounds.1 { *dy } else { 0.0 };
        }
    }
}

vectorized! {
    fn add_rows<'a>(values: &'a [f32], sums: &'a mut [f32]) {
        for row in values.chunks_exact(sums.len()) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_clamp_and_stop_gradients_at_their_bounds() {
        let x = [-1.0, 0.0, 3.0, 6.0, 7.0, f32::NAN];
        for (activation, expected, passes) in [
            (Activation::None, [-1.0, 0.0, 3.0, 6.0, 7.0], [1.0; 5]),
            (Activation::Relu, [0.0, 0.0, 3.0, 6.0, 7.0], [0.0, 0.0, 1.0, 1.0, 1.0]),
            (Activation::Relu6, [0.0, 0.0, 3.0, 6.0, 6.0], [0.0, 0.0, 1.0, 0.0, 0.0]),
        ] {
            let y = activate(&x, activation);
            assert!(y[..5] == expected && y[5].is_nan(), "{activation:?}: {y:?}");
            let mut dy = [1.0; 5];
            through_activation(&y[..5], activation, &mut dy);
            assert_eq!(dy, passes, "{activation:?}");
        }
    }

    #[test]
    fn joined_runs_come_apart_again() {
        let joined = concat(&[1.0, 2.0, 3.0, 4.0], 2, &[5.0, 6.0], 1);
        assert_eq!(joined, [1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
        assert_eq!(split(&joined, 2, 1), (vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0]));
    }
}
