//! The synthetic shapes: fixed, balanced, and learnable.

use embdl_data::{Dataset, batch, synthetic};

#[test]
fn the_same_seed_gives_the_same_images() {
    assert_eq!(synthetic::shapes(30, 5), synthetic::shapes(30, 5));
    assert_ne!(synthetic::shapes(30, 5), synthetic::shapes(30, 6));
    // A longer set begins with the shorter one.
    assert_eq!(synthetic::shapes(50, 5).head(30), synthetic::shapes(30, 5));
}

#[test]
fn the_parts_of_a_split_share_no_image() {
    let lengths = synthetic::Lengths { train: 60, validation: 20, test: 30 };
    let split = synthetic::split(lengths, 3);
    let parts = [&split.train, &split.validation, split.test.for_report()];
    assert_eq!(parts.map(Dataset::len), [60, 20, 30]);
    assert_eq!(split.validation.class_histogram(), [2; 10]);
    let mut images: Vec<&[u8]> =
        parts.iter().flat_map(|part| (0..part.len()).map(|index| part.image(index))).collect();
    images.sort_unstable();
    images.dedup();
    assert_eq!(images.len(), 110);
}

/// Softmax regression, the smallest network there is, must do far better than chance on images it has not seen.
#[test]
fn a_linear_network_learns_the_shapes() {
    let lengths = synthetic::Lengths { train: 3000, validation: 0, test: 500 };
    let split = synthetic::split(lengths, 1);
    let mut weights = vec![[0.0_f32; 10]; 784];
    let mut image = vec![0.0; 784];
    for epoch in 0..6 {
        for index in batch::epoch_order(split.train.len(), 1, epoch) {
            split.train.fill_batch(&[index], &mut image);
            let mut error = softmax(logits(&weights, &image));
            error[usize::from(split.train.label(index))] -= 1.0;
            for (row, &x) in weights.iter_mut().zip(&image) {
                row.iter_mut().zip(&error).for_each(|(weight, e)| *weight -= 0.0005 * e * x);
            }
        }
    }
    let test = split.test.for_report();
    let correct = (0..test.len()).filter(|&index| {
        test.fill_batch(&[index], &mut image);
        let logits = logits(&weights, &image);
        let class = (0..10).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        class == usize::from(test.label(index))
    });
    let correct = correct.count();
    assert!(correct >= 400, "{correct} of 500");
}

fn logits(weights: &[[f32; 10]], image: &[f32]) -> [f32; 10] {
    let mut sums = [0.0; 10];
    for (row, x) in weights.iter().zip(image) {
        sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight * x);
    }
    sums
}

fn softmax(logits: [f32; 10]) -> [f32; 10] {
    let most = logits.into_iter().fold(f32::MIN, f32::max);
    let exps = logits.map(|logit| (logit - most).exp());
    let sum: f32 = exps.iter().sum();
    exps.map(|exp| exp / sum)
}
