//! Prints what a training batch of 64 images costs to prepare: `cargo run --release -p embdl-data --example batch_cost`.
#![expect(clippy::print_stdout, reason = "printing is what this example is for")]

use core::hint::black_box;
use std::time::Instant;

use embdl_data::augment::{Augmentation, Augmenter, Erase};
use embdl_data::{batch, synthetic};

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let dataset = synthetic::shapes(6400, 1);
    let erase = Some(Erase { probability: 0.5, min_area: 0.02, max_area: 0.3 });
    let all =
        Augmentation { mirror: true, cutout_px: 8, shear: 0.1, erase, ..Augmentation::mnist() };
    let recipes = [
        ("none", Augmentation::default()),
        ("fashion", Augmentation::fashion()),
        ("mnist", Augmentation::mnist()),
        ("everything", all),
    ];
    let mut images = vec![0.0; 64 * dataset.image_len()];
    for (name, recipe) in recipes {
        let augmenter = Augmenter::new(recipe, 1)?;
        let mut costs_us = Vec::new();
        for epoch in 0..5 {
            for indices in batch::epoch_order(dataset.len(), 1, epoch).chunks(64) {
                let start = Instant::now();
                augmenter.fill_batch(black_box(&dataset), epoch, indices, &mut images);
                black_box(&images);
                costs_us.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        costs_us.sort_by(f64::total_cmp);
        println!("{name:<12} best {:6.1} us, median {:6.1} us", costs_us[0], costs_us[250]);
    }
    Ok(())
}
