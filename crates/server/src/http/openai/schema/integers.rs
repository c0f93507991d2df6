//! Whole numbers between two bounds, digit by digit.

use serde_json::{Map, Value};

use super::super::error::Refusal;

/// Numbers of up to so many digits: every language reads them as they are.
const DIGITS: u32 = 15;
const MOST: i64 = 10i64.pow(DIGITS) - 1;

pub(super) fn of(keys: &Map<String, Value>, path: &str) -> Result<String, Refusal> {
    let bound = |name: &str| match keys.get(name) {
        None => Ok(None),
        // `10.0` is a whole number too.
        Some(value) => {
            match value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= MOST as f64) {
                Some(number) => Ok(Some(number as i64)),
                None => {
                    let message = format!("expected a whole number of at most {DIGITS} digits");
                    Err(Refusal::invalid(&format!("{path}.{name}"), message))
                }
            }
        }
    };
    let above = bound("exclusiveMinimum")?.map(|least| least + 1);
    let below = bound("exclusiveMaximum")?.map(|most| most - 1);
    let least = bound("minimum")?.max(above).unwrap_or(-MOST);
    let most = [bound("maximum")?, below].into_iter().flatten().min().unwrap_or(MOST);
    if least > most {
        return Err(Refusal::invalid(path, format!("no whole number is from {least} to {most}")));
    }
    Ok(between(least, most))
}

/// All of them, without zeros before them.
fn between(least: i64, most: i64) -> String {
    let mut parts = Vec::new();
    if least < 0 {
        let nearest = if most < 0 { most.unsigned_abs() } else { 1 };
        parts.push(format!("-(?:{})", not_negative(nearest, least.unsigned_abs())));
    }
    if most >= 0 {
        parts.push(not_negative(least.max(0).unsigned_abs(), most.unsigned_abs()));
    }
    parts.join("|")
}

fn not_negative(least: u64, most: u64) -> String {
    let length = |number: u64| number.to_string().len();
    let of_length = |digits: usize| {
        let first = if digits == 1 { 0 } else { 10u64.pow(digits as u32 - 1) };
        let last = 10u64.pow(digits as u32) - 1;
        from_to(first.max(least).to_string().as_bytes(), last.min(most).to_string().as_bytes())
    };
    (length(least)..=length(most)).map(of_length).collect::<Vec<_>>().join("|")
}

/// Digits that are as many, and neither less than the first nor more than the last.
fn from_to(first: &[u8], last: &[u8]) -> String {
    let ([a, from @ ..], [b, to @ ..]) = (first, last) else { return String::new() };
    if a == b {
        return format!("{}(?:{})", char::from(*a), from_to(from, to));
    }
    let rest = from.len();
    let (zeros, nines) = (vec![b'0'; rest], vec![b'9'; rest]);
    let (mut low, mut high) = (*a, *b);
    let mut parts = Vec::new();
    // A whole decade needs no look at its digits.
    if from != zeros {
        parts.push(format!("{}(?:{})", char::from(low), from_to(from, &nines)));
        low += 1;
    }
    let mut last_part = None;
    if to != nines {
        last_part = Some(format!("{}(?:{})", char::from(high), from_to(&zeros, to)));
        high -= 1;
    }
    if low <= high {
        let any = if rest == 0 { String::new() } else { format!("[0-9]{{{rest}}}") };
        parts.push(format!("[{}-{}]{any}", char::from(low), char::from(high)));
    }
    parts.extend(last_part);
    parts.join("|")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(least: i64, most: i64, text: &str) -> bool {
        regex::Regex::new(&format!("^(?:{})$", between(least, most))).unwrap().is_match(text)
    }

    #[test]
    fn small_ranges_hold_exactly_their_numbers() {
        for (least, most) in [(0, 0), (0, 9), (1, 10), (-5, 5), (-120, -7), (8, 1234), (99, 101), (-1, 0)] {
            let regex = regex::Regex::new(&format!("^(?:{})$", between(least, most))).unwrap();
            for number in -2000..2000i64 {
                assert_eq!(regex.is_match(&number.to_string()), (least..=most).contains(&number), "{number}");
            }
            for wrong in ["", "-", "-0", "00", "01", "1.0", "+1"] {
                assert!(!regex.is_match(wrong), "{least}..{most}: {wrong}");
            }
        }
    }

    proptest! {
        #[test]
        fn fuzz_any_range_holds_exactly_its_numbers(
            bounds in (-MOST..=MOST, -MOST..=MOST), number in -MOST..=MOST, near in -3i64..=3,
        ) {
            let (least, most) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            for number in [number, least.saturating_add(near), most.saturating_add(near)] {
                prop_assert_eq!(matches(least, most, &number.to_string()), (least..=most).contains(&number));
            }
        }
    }
}
