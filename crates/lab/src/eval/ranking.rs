//! What lists of found documents are worth, against what is known to be relevant.

use std::collections::BTreeSet;

/// One question's ranks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranked {
    /// 1 / rank of the first relevant document; 0 when there is none.
    pub(super) reciprocal: f64,
    /// 1 when a relevant document is among the first `k`, else 0.
    pub(super) hit: f64,
    /// Relevant documents among the first `k`, of as many as could be there.
    pub(super) recall: f64,
}

/// `found`: ids, best first, none twice.
pub(super) fn rank(found: &[&str], relevant: &BTreeSet<&str>, k: usize) -> Ranked {
    let first = found.iter().position(|id| relevant.contains(id));
    let among = found.iter().take(k).filter(|id| relevant.contains(*id)).count();
    let possible = relevant.len().min(k);
    Ranked {
        reciprocal: first.map_or(0.0, |index| 1.0 / (index + 1) as f64),
        hit: if among > 0 { 1.0 } else { 0.0 },
        recall: if possible > 0 { among as f64 / possible as f64 } else { 0.0 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_count_from_the_first_relevant_document() {
        type Case = (&'static [&'static str], &'static [&'static str], f64, f64, f64);
        let cases: [Case; 6] = [
            (&["a", "b", "c"], &["a", "c"], 1.0, 1.0, 0.5),
            (&["x", "a", "c"], &["a", "c"], 0.5, 1.0, 0.5),
            (&["x", "y", "a"], &["a"], 1.0 / 3.0, 0.0, 0.0),
            (&["a", "c"], &["a", "c"], 1.0, 1.0, 1.0),
            (&["x"], &["a", "c", "d"], 0.0, 0.0, 0.0),
            (&[], &["a"], 0.0, 0.0, 0.0),
        ];
        for (found, relevant, reciprocal, hit, recall) in cases {
            let relevant = relevant.iter().copied().collect();
            assert_eq!(
                rank(found, &relevant, 2),
                Ranked { reciprocal, hit, recall },
                "{found:?} {relevant:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn moving_a_relevant_document_up_never_makes_it_worse(
            relevance in prop::collection::vec(prop::bool::ANY, 2..12), place in 1usize..11, k in 1usize..8,
        ) {
            let names: Vec<String> = (0..relevance.len()).map(|index| index.to_string()).collect();
            let relevant: BTreeSet<&str> =
                names.iter().zip(&relevance).filter(|(_, yes)| **yes).map(|(name, _)| name.as_str()).collect();
            let mut found: Vec<&str> = names.iter().map(String::as_str).collect();
            let place = place.min(found.len() - 1);
            prop_assume!(relevant.contains(found[place]));
            let before = rank(&found, &relevant, k);
            found.swap(place - 1, place);
            let after = rank(&found, &relevant, k);
            prop_assert!(after.reciprocal >= before.reciprocal && after.hit >= before.hit && after.recall >= before.recall);
            prop_assert!(after.recall <= 1.0 && after.reciprocal <= 1.0);
        }
    }
}
