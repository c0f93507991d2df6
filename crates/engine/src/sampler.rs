//! Draws a slot's next token among those that its grammar allows.

use std::cmp::Ordering;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::model::Candidates;
use crate::vocab::{Token, Tokenizer};
use crate::{Error, Sampling};

/// Candidates that are looked at first for those that sum to top-p.
const FIRST_LOOK: usize = 64;

/// One request's way of drawing, and what it has drawn.
#[derive(Debug)]
pub(crate) struct Sampler {
    settings: Sampling,
    rng: StdRng,
    /// Tokens that slots have used, each once, in ascending order: the repetition penalty's.
    used: Vec<Token>,
    exempt: Vec<Token>,
    /// Logits that were NaN since the last look.
    pub(crate) nan: u64,
}

/// Working memory for one draw, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    candidates: Vec<Weighed>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Weighed {
    token: Token,
    /// The logit, later the probability.
    weight: f32,
}

impl Sampler {
    pub(crate) fn new(settings: Sampling, tokenizer: &dyn Tokenizer) -> Self {
        let rng = settings.seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        let exempt =
            settings.penalty_exempt.iter().flat_map(|text| tokenizer.tokenize(text, false)).collect();
        Self { settings, rng, used: Vec::new(), exempt, nan: 0 }
    }

    /// Notes a token that a slot holds, drawn or restored.
    pub(crate) fn note(&mut self, token: Token) {
        if !self.exempt.contains(&token)
            && let Err(place) = self.used.binary_search(&token)
        {
            self.used.insert(place, token);
        }
    }

    /// Draws among candidates. NaN counts as −∞.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a logit is +∞ or no finite one is left.
    pub(crate) fn sample(&mut self, among: &Candidates, scratch: &mut Scratch) -> Result<Token, Error> {
        self.gather(among, scratch)?;
        let candidates = &mut scratch.candidates;
        if self.settings.temperature <= 0.0 {
            return Ok(candidates[0].token);
        }
        softmax(candidates, self.settings.temperature);
        nucleus(candidates, self.settings.top_p);
        without_unlikely(candidates, self.settings.min_p);
        let total: f32 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut point = self.rng.random::<f32>() * total;
        for candidate in candidates.iter() {
            point -= candidate.weight;
            if point < 0.0 {
                return Ok(candidate.token);
            }
        }
        Ok(candidates[candidates.len() - 1].token) // Rounding left a crumb.
    }

    /// The likeliest `top_k` candidates, penalised, at least one: in descending order where not all are kept.
    fn gather(&mut self, among: &Candidates, scratch: &mut Scratch) -> Result<(), Error> {
        let keep = match self.settings.top_k {
            _ if self.settings.temperature <= 0.0 => 1,
            0 => usize::MAX,
            k => k,
        };
        let best = &mut scratch.candidates;
        best.clear();
        let penalty = self.settings.repetition_penalty;
        let penalised = (penalty - 1.0).abs() > f32::EPSILON;
        let mut floor = f32::NEG_INFINITY;
        for (&token, &logit) in among.tokens.iter().chain(&among.ends).zip(&among.logits) {
            // A penalty only lowers a logit, so what is below the floor already stays out.
            if logit <= floor {
                continue;
            }
            if !logit.is_finite() {
                if logit == f32::INFINITY {
                    return Err(Error::NonFinite);
                }
                self.nan += u64::from(logit.is_nan());
                continue;
            }
            let mut weight = logit;
            if penalised && self.used.binary_search(&token).is_ok() {
                weight = if logit > 0.0 { logit / penalty } else { logit * penalty };
                if weight <= floor {
                    continue;
                }
            }
            best.push(Weighed { token, weight });
            // Twice as many as wanted, then the better half: cheaper than an ordered list.
            if best.len() >= keep.saturating_mul(2) {
                floor = keep_best(best, keep);
            }
        }
        if best.is_empty() {
            return Err(Error::NonFinite);
        }
        // To sort a whole vocabulary takes longer than a small model's step.
        if keep < usize::MAX {
            keep_best(best, keep);
            best.sort_unstable_by(likelier);
        }
        Ok(())
    }
}

/// The likelier one comes first.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "sorting hands them on so")]
fn likelier(a: &Weighed, b: &Weighed) -> Ordering {
    b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token))
}

/// Keeps the `keep` likeliest and says how likely the last of them is.
fn keep_best(candidates: &mut Vec<Weighed>, keep: usize) -> f32 {
    if candidates.len() <= keep {
        return f32::NEG_INFINITY;
    }
    candidates.select_nth_unstable_by(keep - 1, likelier);
    candidates.truncate(keep);
    candidates[keep - 1].weight
}

/// Logits to probabilities.
fn softmax(candidates: &mut [Weighed], temperature: f32) {
    let top = most(candidates);
    let mut sum = 0.0;
    for candidate in candidates.iter_mut() {
        candidate.weight = ((candidate.weight - top) / temperature).exp();
        sum += candidate.weight;
    }
    for candidate in candidates {
        candidate.weight /= sum;
    }
}

fn most(candidates: &[Weighed]) -> f32 {
    candidates.iter().map(|candidate| candidate.weight).fold(f32::NEG_INFINITY, f32::max)
}

/// Top-p: the likeliest, in descending order, until their probabilities sum to it; at least one.
fn nucleus(candidates: &mut Vec<Weighed>, top_p: f32) {
    if top_p >= 1.0 {
        return;
    }
    // Most often a few do; of those that are looked at at once there are more each time.
    let mut looked_at = FIRST_LOOK.min(candidates.len());
    loop {
        if looked_at < candidates.len() {
            candidates.select_nth_unstable_by(looked_at, likelier);
        }
        candidates[..looked_at].sort_unstable_by(likelier);
        let mut sum = 0.0;
        let reached = candidates[..looked_at].iter().position(|candidate| {
            sum += candidate.weight;
            sum >= top_p
        });
        if let Some(last) = reached {
            candidates.truncate(last + 1);
            return;
        }
        if looked_at == candidates.len() {
            return;
        }
        looked_at = (looked_at * 4).min(candidates.len());
    }
}

/// Min-p: the likeliest one stays.
fn without_unlikely(candidates: &mut Vec<Weighed>, min_p: f32) {
    if min_p > 0.0 {
        let floor = most(candidates) * min_p.min(1.0);
        candidates.retain(|candidate| candidate.weight >= floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Letters;
    impl Tokenizer for Letters {
        fn tokenize(&self, text: &str, _special: bool) -> Vec<Token> {
            text.bytes().map(Token::from).collect()
        }
    }

    fn sampler(settings: Sampling) -> Sampler {
        Sampler::new(Sampling { seed: Some(7), ..settings }, &Letters)
    }

    fn among(logits: &[f32], tokens: &[Token], ends: &[Token]) -> Candidates {
        let mut candidates =
            Candidates { tokens: tokens.into(), ends: ends.to_vec(), ..Candidates::default() };
        candidates.pick(logits);
        candidates
    }

    fn draws(settings: Sampling, logits: &[f32]) -> std::collections::BTreeSet<Token> {
        let mut sampler = sampler(settings);
        let all: Vec<Token> = (0..logits.len() as Token).collect();
        (0..500)
            .map(|_| sampler.sample(&among(logits, &all, &[]), &mut Scratch::default()).expect("finite"))
            .collect()
    }

    fn plain() -> Sampling {
        Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, repetition_penalty: 1.0, ..Sampling::default() }
    }

    #[test]
    fn each_setting_keeps_the_tokens_it_should() {
        let logits = [3.0, 2.9, 2.8, 1.0, -1.0, 2.0];
        let cases: [(&str, Sampling, &[Token]); 6] = [
            ("greedy", Sampling { temperature: 0.0, ..plain() }, &[0]),
            ("top-k 2", Sampling { top_k: 2, ..plain() }, &[0, 1]),
            ("top-k 3", Sampling { top_k: 3, ..plain() }, &[0, 1, 2]),
            ("top-p", Sampling { top_p: 0.5, ..plain() }, &[0, 1]),
            ("min-p", Sampling { min_p: 0.5, ..plain() }, &[0, 1, 2]),
            ("all", Sampling { temperature: 3.0, ..plain() }, &[0, 1, 2, 3, 4, 5]),
        ];
        for (name, settings, expected) in cases {
            assert_eq!(draws(settings, &logits), expected.iter().copied().collect(), "{name}");
        }
    }

    #[test]
    fn top_k_finds_the_likeliest_wherever_they_stand() {
        let mut logits: Vec<f32> = (0..1000).map(|i| ((i * 7919) % 1000) as f32 / 100.0).collect();
        logits[613] = 50.0;
        logits[614] = 49.9;
        assert_eq!(draws(Sampling { top_k: 2, ..plain() }, &logits), [613, 614].into());
    }

    /// In one look or in several, of a sorted list or of any.
    #[test]
    fn the_nucleus_of_many_is_that_of_a_sorted_list() {
        let logits: Vec<f32> = (0..5000).map(|i| ((i * 7919) % 5000) as f32 / 900.0).collect();
        for top_p in [0.0, 0.001, 0.05, 0.4, 0.97, 1.0] {
            let of = |top_k| {
                let mut scratch = Scratch::default();
                let all: Vec<Token> = (0..5000).collect();
                let settings = Sampling { top_k, ..plain() };
                sampler(settings).gather(&among(&logits, &all, &[]), &mut scratch).expect("finite");
                let mut candidates = scratch.candidates;
                softmax(&mut candidates, 1.0);
                nucleus(&mut candidates, top_p);
                candidates
                    .into_iter()
                    .map(|candidate| candidate.token)
                    .collect::<std::collections::BTreeSet<_>>()
            };
            let (sorted, any) = (of(5000), of(0));
            let differ = sorted.symmetric_difference(&any).count();
            // The sum's last bits depend on the order in which weights were summed up.
            assert!(
                differ <= 1 && (1..=5000).contains(&any.len()),
                "{top_p}: {} {}",
                sorted.len(),
                any.len()
            );
        }
    }

    #[test]
    fn only_allowed_tokens_and_ends_are_drawn() {
        let mut sampler = sampler(plain());
        let logits = [9.0, 1.0, 1.0, 9.0, 1.0];
        for _ in 0..200 {
            let token =
                sampler.sample(&among(&logits, &[1, 2], &[4]), &mut Scratch::default()).expect("finite");
            assert!([1, 2, 4].contains(&token));
        }
    }

    #[test]
    fn case_29_nan_is_never_drawn_and_infinity_is_an_error() {
        let mut sampler = sampler(plain());
        let scratch = &mut Scratch::default();
        let all = [0, 1, 2];
        for _ in 0..100 {
            let token = sampler.sample(&among(&[f32::NAN, 1.0, f32::NEG_INFINITY], &all, &[]), scratch);
            assert!(matches!(token, Ok(1)));
        }
        assert_eq!(sampler.nan, 100);
        for logits in [[f32::INFINITY, 1.0, 1.0], [f32::NAN; 3], [f32::NEG_INFINITY; 3]] {
            assert!(matches!(sampler.sample(&among(&logits, &all, &[]), scratch), Err(Error::NonFinite)));
        }
        assert!(
            matches!(sampler.sample(&among(&[1.0], &[5], &[]), scratch), Err(Error::NonFinite)),
            "ids without a logit"
        );
    }

    #[test]
    fn the_penalty_turns_to_another_token_but_leaves_exempt_ones_alone() {
        let settings = Sampling {
            temperature: 0.0,
            repetition_penalty: 1.5,
            penalty_exempt: vec!["\u{3}".into()],
            ..Sampling::default()
        };
        let mut sampler = sampler(settings);
        let scratch = &mut Scratch::default();
        sampler.note(0);
        sampler.note(3);
        assert!(matches!(sampler.sample(&among(&[1.2, 1.0, 0.0, 0.5], &[0, 1, 2, 3], &[]), scratch), Ok(1)));
        assert!(matches!(
            sampler.sample(&among(&[-1.0, -1.2, -9.0, -9.0], &[0, 1, 2, 3], &[]), scratch),
            Ok(1)
        ));
        assert!(matches!(sampler.sample(&among(&[0.0, 0.0, 0.0, 1.0], &[0, 1, 2, 3], &[]), scratch), Ok(3)));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let all: Vec<Token> = (0..50).collect();
        let draw = || {
            let mut sampler = sampler(plain());
            (0..50)
                .map(|_| sampler.sample(&among(&logits, &all, &[]), &mut Scratch::default()).expect("finite"))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }
}
