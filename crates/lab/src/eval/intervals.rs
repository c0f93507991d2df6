//! How far a figure may be off because only so much was asked.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::figure::quantile;

/// Samples drawn with replacement. 2,000 make the bounds of a 95 % interval steady to about a hundredth of its width.
const RESAMPLES: usize = 2000;

/// Fixed, so that the same answers give the same interval.
const SEED: u64 = 1;

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_964;

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A 95 % confidence interval of the mean: the percentile bootstrap (Efron & Tibshirani 1993, chapter 13).
pub(super) fn bootstrap(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let mut rng = StdRng::seed_from_u64(SEED);
    let count = values.len();
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..count).map(|_| values[rng.random_range(0..count)]).sum::<f64>() / count as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    quantile(&means, 0.025).zip(quantile(&means, 0.975))
}

/// A 95 % confidence interval of a share (0 to 1): Wilson's score interval (Brown, Cai & DasGupta 2001), which also holds
/// where the share is 0 or 1.
pub(super) fn wilson(yes: usize, all: usize) -> Option<(f64, f64)> {
    if all == 0 {
        return None;
    }
    let (yes, all) = (yes as f64, all as f64);
    let share = yes / all;
    let scale = 1.0 + Z * Z / all;
    let middle = (share + Z * Z / (2.0 * all)) / scale;
    let half = Z / scale * (share * (1.0 - share) / all + Z * Z / (4.0 * all * all)).sqrt();
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wilson_gives_the_published_intervals() {
        // Newcombe 1998, Statistics in Medicine 17, table I, method 3.
        for (yes, all, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (from, to) = wilson(yes, all).unwrap();
            assert!((from - low).abs() < 5e-5 && (to - high).abs() < 5e-5, "{yes}/{all}: {from} {to}");
        }
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn a_bootstrap_of_equal_values_has_no_width() {
        assert_eq!(bootstrap(&[0.5; 7]), Some((0.5, 0.5)));
        assert_eq!(bootstrap(&[]), None);
    }

    #[test]
    fn a_bootstrap_is_about_two_standard_errors_on_either_side() {
        // 400 values of standard deviation 0.5: a standard error of 0.025.
        let values: Vec<f64> = (0..400).map(|index| f64::from(index % 2)).collect();
        let (low, high) = bootstrap(&values).unwrap();
        assert!((low - 0.451).abs() < 0.006 && (high - 0.549).abs() < 0.006, "{low} {high}");
    }

    proptest! {
        #[test]
        fn intervals_hold_what_was_measured(values in prop::collection::vec(prop::bool::ANY, 1..60)) {
            let yes = values.iter().filter(|value| **value).count();
            let share = yes as f64 / values.len() as f64;
            let (low, high) = wilson(yes, values.len()).unwrap();
            prop_assert!(0.0 <= low && low <= share + 1e-12 && share <= high + 1e-12 && high <= 1.0);
            let numbers: Vec<f64> = values.iter().map(|value| f64::from(u8::from(*value))).collect();
            let (low, high) = bootstrap(&numbers).unwrap();
            prop_assert!(low <= share + 1e-9 && share <= high + 1e-9);
        }
    }
}
