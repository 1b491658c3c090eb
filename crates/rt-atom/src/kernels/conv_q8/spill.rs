//! Weights whose products are summed in 16 bits, and what they spill.
//!
//! `pmaddubsw` multiplies levels (u8) with weights (i8) and adds two products in a saturating i16; several of its results
//! may be added in 16 bits before they are widened. How many fit follows from the weights that are there and not from the
//! largest one: a lane's sum lies between `-255 N` and `255 P`, where `P` is the sum of its positive weights and `N` that of
//! its negative ones, so it is exact where neither exceeds 128 (255 · 128 = 32,640). Most weights of a trained layer are a
//! small part of its largest, so nearly all lanes fit. Where one does not, what is too much is taken out of its weights and
//! multiplied on its own, in a step that says where its levels are. The sum stays exact, also for weights of 8 bits.

use embdl_core::kernels::{ConvProblem, WindowGeometry};

use crate::kernels::gemm::Products;

/// Largest sum of the weights of one sign in a lane: 255 times it fits 16 bits.
const FITS: u16 = 128;

/// What parts of panels spilled: steps of levels with weights for each of their channels.
#[derive(Clone, Debug, Default)]
pub(super) struct Spill {
    /// The first step of each part, and the end.
    starts: Vec<u32>,
    /// Where the levels of each step are, from the start of a row.
    levels: Vec<u32>,
    /// Weights of each step, `[channels][kr]`.
    weights: Vec<i8>,
}

impl Spill {
    /// The steps of a part: where their levels are, and their weights, `step_bytes` each.
    pub(super) fn part(&self, index: usize, step_bytes: usize) -> (&[u32], &[i8]) {
        let Some([first, end]) = self.starts.get(index..index + 2) else { return (&[], &[]) };
        let (first, end) = (*first as usize, *end as usize);
        (&self.levels[first..end], &self.weights[first * step_bytes..end * step_bytes])
    }

    /// Bytes held.
    pub(super) const fn size_bytes(&self) -> usize {
        4 * (self.starts.len() + self.levels.len()) + self.weights.len()
    }
}

/// Cycles of a level for one row and two vectors of channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepCosts {
    /// A step, where one, two or four are added in 16 bits.
    pub(crate) chained: [f32; 3],
    /// A step of what was spilled.
    pub(crate) spilled: f32,
    /// A step whose bytes were widened beforehand.
    pub(crate) words: f32,
    /// A step of GEMM: bytes widened in every tile, one, two or four results added in 16 bits.
    pub(crate) gemm: [f32; 4],
    /// What a result takes longer than one of GEMM.
    pub(crate) result: f32,
}

#[expect(clippy::cast_precision_loss, reason = "estimates")]
impl StepCosts {
    /// Time of a convolution with rows of `k` elements, in products of GEMM.
    pub(super) fn direct(&self, problem: &ConvProblem, k: usize) -> f32 {
        /// Products of a step with two vectors of SSE.
        const STEP: f32 = 32.0;
        /// What copying a line of a window takes that is longer than a word, in steps.
        const LINE: f32 = 16.0;
        /// Weights of a channel among which the largest is far from most.
        const MANY: usize = 64;
        let [one, two, four] = self.chained;
        // What trained weights spill.
        let step = match Products::for_weights(problem.max_abs) {
            Products::Widened if problem.k() < MANY => self.words,
            Products::Widened => self.words.min(1.35 * one),
            Products::Pairs => two,
            Products::Quads | Products::Octs => four,
        };
        let WindowGeometry { input, output: [oh, ow], kernel: [kh, kw], .. } = problem.geometry;
        let results = (oh * ow * problem.n) as f32;
        let direct = step * results * k as f32 + STEP * self.result * results;
        // What GEMM takes beyond its own estimate.
        let is_line = !problem.is_pointwise() && kw * input[2] / problem.groups > 8;
        let lines = if is_line { (oh * ow * kh * problem.groups) as f32 } else { 0.0 };
        let (estimate, gemm) = (problem.gemm_cost(), self.gemm(problem.max_abs));
        direct / gemm * estimate / (estimate + STEP * LINE / gemm * lines)
    }

    /// What a step of GEMM takes.
    pub(super) const fn gemm(&self, max_abs: u8) -> f32 {
        self.gemm[Products::for_weights(max_abs) as usize]
    }
}

/// Ways to chain steps, longest first.
const CHAINS: [(Products, usize); 3] =
    [(Products::Octs, 4), (Products::Quads, 2), (Products::Pairs, 1)];

/// Weights in steps along k, `[part of a panel][segment][step][channels][kr]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// Channels of a part.
    pub(super) channels: usize,
    /// Levels of a step.
    pub(super) kr: usize,
    /// Steps of a segment.
    pub(super) of_segment: usize,
    /// Segments of a part.
    pub(super) segments: usize,
}

impl Steps {
    const fn bytes(&self) -> usize {
        self.kr * self.channels
    }

    const fn part_bytes(&self) -> usize {
        self.bytes() * self.of_segment * self.segments
    }

    /// The way to sum these weights that takes the fewest cycles; none where multiplying words takes fewer.
    pub(super) fn choose(&self, weights: &[i8], costs: &StepCosts) -> Option<Products> {
        let cost = |(_, len): (Products, usize)| {
            costs.chained[len.ilog2() as usize] + costs.spilled * self.spilled_share(weights, len)
        };
        let ways = CHAINS.map(|way| (way.0, cost(way)));
        let (products, cost) = ways.into_iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
        (cost < costs.words).then_some(products)
    }

    /// How many steps are spilled for each step in chains of `len`, by a sample of chains.
    #[expect(clippy::cast_precision_loss, reason = "counts of steps")]
    fn spilled_share(&self, weights: &[i8], len: usize) -> f32 {
        /// Chains that are enough to know the share to a few percent.
        const SAMPLE: usize = 160;
        let segments = weights.chunks_exact((self.bytes() * self.of_segment).max(1));
        let chains = segments.flat_map(|segment| segment.chunks(len * self.bytes()));
        // Odd, so that the sample does not meet the same place of every segment.
        let stride = (weights.len() / (len * self.bytes()).max(1) / SAMPLE) | 1;
        let (mut steps, mut spill) = (0, Spill::default());
        for chain in chains.step_by(stride) {
            steps += chain.len() / self.bytes();
            spill_chain(&mut chain.to_vec(), self, 0, &mut spill);
        }
        spill.levels.len() as f32 / steps.max(1) as f32
    }

    /// Takes out of `weights` what does not fit; `segment_starts` are where the levels of segments are.
    pub(super) fn spill(
        &self,
        weights: &mut [i8],
        products: Products,
        segment_starts: &[usize],
    ) -> Spill {
        let Some((_, len)) = CHAINS.into_iter().find(|(way, _)| *way == products) else {
            return Spill::default();
        };
        let mut spill = Spill { starts: vec![0], ..Spill::default() };
        let mut sums = [Sums::new(self.bytes() / 2), Sums::new(self.bytes() / 2)];
        for part in weights.chunks_exact_mut(self.part_bytes().max(1)) {
            let segments = part.chunks_exact_mut(self.bytes() * self.of_segment);
            for (segment, &start) in segments.zip(segment_starts) {
                for (chain, steps) in segment.chunks_mut(len * self.bytes()).enumerate() {
                    let [whole, step] = &mut sums;
                    whole.clear();
                    for bytes in steps.chunks_exact(self.bytes()) {
                        step.set(bytes);
                        whole.add(step);
                    }
                    if !whole.fits() {
                        let at = start + self.kr * len * chain;
                        spill_chain(steps, self, at, &mut spill);
                    }
                }
            }
            let end = u32::try_from(spill.levels.len()).expect("fewer steps than weights");
            spill.starts.push(end);
        }
        if spill.levels.is_empty() { Spill::default() } else { spill }
    }
}

/// Sums of the positive and of the negative weights of each 16-bit lane, without their sign.
struct Sums {
    positive: Vec<u16>,
    negative: Vec<u16>,
}

impl Sums {
    fn new(lanes: usize) -> Self {
        Self { positive: vec![0; lanes], negative: vec![0; lanes] }
    }

    fn clear(&mut self) {
        self.positive.fill(0);
        self.negative.fill(0);
    }

    /// Those of one step.
    fn set(&mut self, step: &[i8]) {
        let lanes = self.positive.iter_mut().zip(&mut self.negative);
        for ((positive, negative), &[a, b]) in lanes.zip(step.as_chunks().0) {
            let [a, b] = [i16::from(a), i16::from(b)];
            *positive = (a.max(0) + b.max(0)).cast_unsigned();
            *negative = (-a.min(0) - b.min(0)).cast_unsigned();
        }
    }

    fn add(&mut self, other: &Self) {
        for (sum, &x) in self.positive.iter_mut().zip(&other.positive) {
            *sum += x;
        }
        for (sum, &x) in self.negative.iter_mut().zip(&other.negative) {
            *sum += x;
        }
    }

    fn fits(&self) -> bool {
        let largest = |sums: &[u16]| sums.iter().fold(0, |largest, &sum| largest.max(sum));
        largest(&self.positive).max(largest(&self.negative)) <= FITS
    }
}

/// Moves what is too much out of the steps of a chain, whose levels start at `at`, into as few steps as it finds.
fn spill_chain(chain: &mut [i8], steps: &Steps, at: usize, spill: &mut Spill) {
    let step_bytes = steps.bytes();
    // What is spilled of a step must itself fit, so a step whose weights are all large may spill more than once.
    while let Some(taken) = Taken::largest(chain, step_bytes) {
        let step = &mut chain[taken.step * step_bytes..][..step_bytes];
        let mut spilled = vec![0; step_bytes];
        for (lane, &[positive, negative]) in taken.excess.iter().enumerate() {
            let lane = 2 * lane..2 * lane + 2;
            take(&mut step[lane.clone()], &mut spilled[lane.clone()], positive, 1);
            take(&mut step[lane.clone()], &mut spilled[lane], negative, -1);
        }
        let level = u32::try_from(at + steps.kr * taken.step).expect("rows are shorter than 4 GiB");
        spill.levels.push(level);
        spill.weights.extend_from_slice(&spilled);
    }
}

/// The step of a chain to take from.
struct Taken {
    step: usize,
    /// What is too much in each lane: of positive weights, of negative ones.
    excess: Vec<[u16; 2]>,
}

impl Taken {
    /// The step that can give most of what is too much; none where all fits.
    fn largest(steps: &[i8], step_bytes: usize) -> Option<Self> {
        let lanes = step_bytes / 2;
        let of_step: Vec<Sums> = steps
            .chunks_exact(step_bytes)
            .map(|step| {
                let mut sums = Sums::new(lanes);
                sums.set(step);
                sums
            })
            .collect();
        let excess: Vec<[u16; 2]> = (0..lanes)
            .map(|lane| {
                let positive: u16 = of_step.iter().map(|sums| sums.positive[lane]).sum();
                let negative: u16 = of_step.iter().map(|sums| sums.negative[lane]).sum();
                [positive.saturating_sub(FITS), negative.saturating_sub(FITS)]
            })
            .collect();
        let gives = |sums: &Sums| -> u32 {
            let lanes = excess.iter().zip(sums.positive.iter().zip(&sums.negative));
            lanes.map(|([p, n], (&has, &lacks))| u32::from(*p.min(&has) + *n.min(&lacks))).sum()
        };
        let gifts = of_step.iter().map(gives).enumerate();
        let (step, most) = gifts.max_by_key(|&(_, gift)| gift)?;
        (most > 0).then_some(Self { step, excess })
    }
}

/// Moves `excess`, but no more than fits 16 bits, from two weights of the sign to `spilled`.
fn take(weights: &mut [i8], spilled: &mut [i8], excess: u16, sign: i16) {
    let mut left = excess.min(FITS).cast_signed();
    for (weight, spilled) in weights.iter_mut().zip(spilled) {
        let has = (sign * i16::from(*weight)).max(0);
        // -128 has no positive counterpart, but what is taken of it has its sign.
        let moved = left.min(has);
        let narrow = |x: i16| i8::try_from(x).expect("between zero and the weight");
        *weight = narrow(i16::from(*weight) - sign * moved);
        *spilled = narrow(i16::from(*spilled) + sign * moved);
        left -= moved;
    }
}

#[cfg(test)]
mod tests {
    use embdl_testkit::Random;

    use super::*;

    const COSTS: StepCosts = StepCosts {
        chained: [2.0, 1.5, 1.4],
        spilled: 2.5,
        words: 3.8,
        gemm: [4.0, 2.0, 1.5, 1.4],
        result: 0.0,
    };

    fn largest_sum(steps: &[i8], step_bytes: usize) -> u16 {
        let mut sum = Sums::new(step_bytes / 2);
        for step in steps.chunks_exact(step_bytes) {
            let mut one = Sums::new(step_bytes / 2);
            one.set(step);
            sum.add(&one);
        }
        sum.positive.into_iter().chain(sum.negative).max().unwrap_or(0)
    }

    #[test]
    fn what_is_left_and_what_is_spilled_fit_and_add_up() {
        let mut random = Random::new(7);
        let steps = Steps { channels: 8, kr: 4, of_segment: 6, segments: 3 };
        let starts = [0, 100, 300];
        for limit in [20, 64, 127, -128] {
            let original: Vec<i8> = if limit == -128 {
                vec![-128; 2 * steps.part_bytes()]
            } else {
                random.weights(2 * steps.part_bytes(), limit)
            };
            for (products, len) in CHAINS {
                let mut weights = original.clone();
                let spill = steps.spill(&mut weights, products, &starts);
                for segment in weights.chunks(steps.bytes() * steps.of_segment) {
                    for chain in segment.chunks(len * steps.bytes()) {
                        assert!(largest_sum(chain, steps.bytes()) <= FITS, "{limit} {products:?}");
                    }
                }
                for part in 0..2 {
                    let (levels, spilled) = spill.part(part, steps.bytes());
                    for (&level, spilled) in levels.iter().zip(spilled.chunks(steps.bytes())) {
                        assert!(largest_sum(spilled, steps.bytes()) <= FITS);
                        let level = level as usize;
                        let segment = starts.iter().rposition(|&start| start <= level).unwrap();
                        let step = segment * steps.of_segment + (level - starts[segment]) / 4;
                        let at = part * steps.part_bytes() + step * steps.bytes();
                        for (weight, &more) in weights[at..].iter_mut().zip(spilled) {
                            *weight = weight.checked_add(more).expect("the weight that was");
                        }
                    }
                }
                assert!(weights == original, "{limit} {products:?}");
            }
        }
    }

    #[test]
    fn small_weights_chain_long_and_large_ones_are_widened() {
        let steps = Steps { channels: 4, kr: 8, of_segment: 8, segments: 1 };
        let choose = |weights: &[i8]| steps.choose(weights, &COSTS);
        let mut random = Random::new(3);
        let len = 4 * steps.part_bytes();
        assert_eq!(choose(&random.weights(len, 16)), Some(Products::Octs));
        assert_eq!(choose(&random.weights(len, 127)), None);
        // A few outliers do not matter.
        let mut weights = random.weights(len, 16);
        weights[len / 2] = 127;
        weights[len / 2 + 1] = 127;
        assert_eq!(choose(&weights), Some(Products::Octs));
        assert_eq!(choose(&vec![64; len]), Some(Products::Pairs));
    }
}
