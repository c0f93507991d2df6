use super::*;
use proptest::prelude::*;

/// An answer asked for at `due`, with text at `arrivals`.
fn record(due: f64, arrivals: &[f64], end: f64, outcome: Outcome) -> Record {
    let texts = arrivals.len();
    Record { due, sent: due, arrivals: arrivals.to_vec(), texts, end, text: String::new(), outcome }
}

fn value(figures: &[Figure], key: &str) -> Option<f64> {
    figures.iter().find(|figure| figure.key == key).unwrap_or_else(|| panic!("no figure {key}")).value
}

fn close(left: Option<f64>, right: f64) -> bool {
    left.is_some_and(|left| (left - right).abs() < 1e-6)
}

#[test]
fn quantiles_are_those_of_numpy() {
    let cases: [(&[f64], f64, f64); 7] = [
        (&[7.0], 0.99, 7.0),
        (&[1.0, 2.0], 0.5, 1.5),
        (&[1.0, 2.0, 3.0, 4.0], 0.5, 2.5),
        (&[1.0, 2.0, 3.0, 4.0], 0.95, 3.85),
        (&[1.0, 2.0, 3.0, 4.0], 0.0, 1.0),
        (&[1.0, 2.0, 3.0, 4.0], 1.0, 4.0),
        (&[0.0, 0.0, 10.0], 0.99, 9.8),
    ];
    for (values, share, expected) in cases {
        assert!(
            close(quantile(values, share), expected),
            "{values:?} {share}: {:?}",
            quantile(values, share)
        );
    }
    assert_eq!(quantile(&[], 0.5), None);
}

proptest! {
    /// The definition, by scanning: the straight lines through the points (i / (n - 1), value i).
    #[test]
    fn a_quantile_lies_on_the_line_between_its_neighbours(
        mut values in proptest::collection::vec(-1e3..1e3f64, 2..40),
        share in 0.0..=1.0f64,
    ) {
        values.sort_by(f64::total_cmp);
        let last = (values.len() - 1) as f64;
        let naive = values.windows(2).enumerate().find_map(|(index, pair)| {
            let (from, to) = (index as f64 / last, (index + 1) as f64 / last);
            (share <= to).then(|| pair[0] + (pair[1] - pair[0]) * (share - from) / (to - from))
        });
        let found = quantile(&values, share).unwrap();
        prop_assert!((found - naive.unwrap_or(values[values.len() - 1])).abs() < 1e-6);
    }
}

#[test]
fn times_count_from_when_a_request_was_due() {
    // (due, arrivals, end, length) -> (TTFT, TPOT) in milliseconds.
    type Case<'a> = ((f64, &'a [f64], f64, usize), (Option<f64>, Option<f64>));
    let cases: [Case; 5] = [
        ((1.0, &[1.5, 1.6, 1.7], 2.5, 11), (Some(500.0), Some(100.0))),
        ((0.0, &[0.2], 0.2, 5), (Some(200.0), Some(0.0))),
        ((0.0, &[0.2], 0.4, 1), (Some(200.0), None)),
        ((0.0, &[], 1.0, 0), (None, None)),
        ((3.0, &[3.25, 4.25], 4.25, 2), (Some(250.0), Some(1000.0))),
    ];
    for ((due, arrivals, end, length), (ttft, tpot)) in cases {
        let mut record = record(due, arrivals, end, Outcome::Valid);
        record.sent = due + 0.1; // A client that was late doesn't make the server look faster.
        assert_eq!(record.ttft_ms().map(f64::round), ttft, "{record:?}");
        assert_eq!(record.tpot_ms(length).map(f64::round), tpot, "{record:?}");
    }
}

/// Ten seconds in which two answers were valid, one was not, and one failed.
fn ten_seconds() -> Vec<Record> {
    vec![
        record(0.0, &[1.0, 2.0], 5.0, Outcome::Valid),
        record(0.0, &[3.0, 3.5], 7.0, Outcome::Valid),
        record(2.0, &[4.0, 4.5], 9.0, Outcome::Invalid("a title comes twice".into())),
        record(2.0, &[2.1], 10.0, Outcome::Failed("no end after 8 s".into())),
    ]
}

#[test]
fn rates_are_per_second_of_the_whole_run_and_times_are_of_answers_that_ended() {
    let figures = compute(&ten_seconds(), &[5, 9, 6, 1], Unit::Token, Slo::default());
    let expected = [
        ("requests", 4.0),
        ("errors", 1.0),
        ("valid", 50.0),
        ("seconds", 10.0),
        ("answers_per_s", 0.2),
        ("requests_per_s", 0.3),
        ("tokens_per_s", 2.1),
        ("length_p50", 6.0),
        ("ttft_p50", 2000.0),
        ("tpot_p50", 1000.0),
        ("gap_p50", 500.0),
        ("latency_p50", 7000.0),
    ];
    for (key, expected) in expected {
        assert!(close(value(&figures, key), expected), "{key}: {:?}", value(&figures, key));
    }
    assert!(figures.iter().all(|figure| figure.key != "goodput" && figure.key != "late_p99"));
    assert!(figures.iter().all(|figure| !figure.definition.is_empty()));
}

#[test]
fn goodput_counts_valid_answers_within_every_limit_that_is_set() {
    let goodput = |ttft_ms, tpot_ms| {
        value(&compute(&ten_seconds(), &[5, 9, 6, 1], Unit::Token, Slo { ttft_ms, tpot_ms }), "goodput")
    };
    // The two valid answers: TTFT 1000 and 3000, TPOT 1000 and 500.
    assert_eq!(goodput(Some(3000.0), None), Some(0.2));
    assert_eq!(goodput(Some(1000.0), None), Some(0.1));
    assert_eq!(goodput(None, Some(600.0)), Some(0.1));
    assert_eq!(goodput(Some(1000.0), Some(600.0)), Some(0.0));
}

#[test]
fn a_run_without_answers_has_figures_without_values() {
    let none = compute(&[], &[], Unit::Character, Slo::default());
    assert_eq!(value(&none, "requests"), Some(0.0));
    for key in ["valid", "answers_per_s", "characters_per_s", "ttft_p99", "tpot_p50"] {
        assert_eq!(value(&none, key), None, "{key}");
    }
}

#[test]
fn a_late_client_is_told_about_in_an_open_loop() {
    let mut late = record(0.0, &[1.0], 2.0, Outcome::Valid);
    late.sent = 0.25;
    assert_eq!(value(&compute(&[late], &[2], Unit::Token, Slo::default()), "late_p99"), Some(250.0));
}

#[test]
fn the_most_frequent_reason_comes_first() {
    let failed = |reason: &str| Outcome::Failed(reason.into());
    let outcomes = [failed("a"), Outcome::Valid, failed("b"), Outcome::Invalid("c".into()), failed("b")];
    assert_eq!(reasons(outcomes.iter(), true), [("b".into(), 2), ("a".into(), 1)]);
    assert_eq!(reasons(outcomes.iter(), false), [("c".into(), 1)]);
}
