//! Ways of choosing among texts.

use leafresh_engine::Likelihood;

/// By what the best of several texts is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Meaning,
    Model,
    ModelPerToken,
    Corrected,
    CorrectedPerToken,
    Both,
}

impl Way {
    pub(super) const ALL: [Self; 6] = [
        Self::Meaning,
        Self::Model,
        Self::ModelPerToken,
        Self::Corrected,
        Self::CorrectedPerToken,
        Self::Both,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Meaning => "by_meaning",
            Self::Model => "by_model",
            Self::ModelPerToken => "by_model_per_token",
            Self::Corrected => "corrected",
            Self::CorrectedPerToken => "corrected_per_token",
            Self::Both => "by_both",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Meaning => "the one nearest to the request, by the embedding",
            Self::Model => "the one that the model finds likeliest behind the request",
            Self::Corrected => "the one whose likelihood gains most by the request",
            Self::ModelPerToken | Self::CorrectedPerToken => "the same, by the mean of its tokens",
            Self::Both => {
                "the best by nearness and by what its mean token gains, each in its standard deviations, added up"
            }
        }
    }
}

/// What is known of the texts of one question.
#[derive(Debug)]
pub(super) struct Scores {
    /// Behind the request, and behind the same prompt without it.
    pub(super) asked: Vec<Likelihood>,
    pub(super) unasked: Vec<Likelihood>,
    /// How near each is; `None` without an embedding model.
    pub(super) meaning: Option<Vec<f64>>,
}

impl Scores {
    /// The index of the best text; the first of equal ones.
    pub(super) fn best(&self, way: Way) -> Option<usize> {
        let scores = self.of(way)?;
        (0..scores.len()).reduce(|best, next| if scores[next] > scores[best] { next } else { best })
    }

    fn of(&self, way: Way) -> Option<Vec<f64>> {
        let gains = |of: fn(Likelihood) -> f64| -> Vec<f64> {
            self.asked.iter().zip(&self.unasked).map(|(asked, unasked)| of(*asked) - of(*unasked)).collect()
        };
        let whole = |likelihood: Likelihood| likelihood.log;
        Some(match way {
            Way::Meaning => self.meaning.clone()?,
            Way::Model => self.asked.iter().map(|likelihood| likelihood.log).collect(),
            Way::ModelPerToken => self.asked.iter().map(|likelihood| likelihood.per_token()).collect(),
            Way::Corrected => gains(whole),
            Way::CorrectedPerToken => gains(Likelihood::per_token),
            Way::Both => {
                let (meaning, model) =
                    (standardised(self.meaning.as_deref()?), standardised(&gains(Likelihood::per_token)));
                meaning.iter().zip(&model).map(|(meaning, model)| meaning + model).collect()
            }
        })
    }
}

/// With mean 0 and standard deviation 1; all 0 where they don't differ.
fn standardised(values: &[f64]) -> Vec<f64> {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    values.iter().map(|value| if deviation > 0.0 { (value - mean) / deviation } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likelihoods(logs: &[f64]) -> Vec<Likelihood> {
        // The second one is twice as long.
        logs.iter().zip([2, 4, 2]).map(|(&log, tokens)| Likelihood { log, tokens }).collect()
    }

    #[test]
    fn each_way_prefers_what_it_should() {
        let scores = Scores {
            asked: likelihoods(&[-6.0, -9.0, -8.0]),
            unasked: likelihoods(&[-6.0, -13.5, -12.0]),
            meaning: Some(vec![0.3, 0.1, 0.2]),
        };
        for (way, best) in [
            (Way::Meaning, 0),
            (Way::Model, 0),
            (Way::ModelPerToken, 1),
            (Way::Corrected, 1),
            (Way::CorrectedPerToken, 2),
            (Way::Both, 2),
        ] {
            assert_eq!(scores.best(way), Some(best), "{way:?}");
        }
        let without = Scores { meaning: None, ..scores };
        assert_eq!((without.best(Way::Meaning), without.best(Way::Both)), (None, None));
        assert_eq!(without.best(Way::Model), Some(0));
    }

    #[test]
    fn equal_values_are_no_further_from_their_mean_than_others() {
        assert_eq!(standardised(&[2.0, 2.0]), [0.0, 0.0]);
        assert_eq!(standardised(&[1.0, 3.0]), [-1.0, 1.0]);
        assert!(standardised(&[]).is_empty());
    }
}
