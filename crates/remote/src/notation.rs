//! An expression as servers read it: a regular expression that the engines of all of them understand alike, or GBNF,
//! llama.cpp's form of grammars (its `grammars/README.md`).

use std::fmt::Write;

use crate::expression::Expression;

/// As a regular expression, without anything that Python's, Rust's and xgrammar's dialects read differently.
pub(crate) fn regex(expression: &Expression) -> String {
    let mut text = String::new();
    write(expression, Form::Regex, &mut text);
    text
}

/// As a grammar of one rule, `root`.
pub(crate) fn gbnf(expression: &Expression) -> String {
    let mut text = String::from("root ::= ");
    write(expression, Form::Gbnf, &mut text);
    text
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Regex,
    Gbnf,
}

impl Form {
    fn open(self) -> &'static str {
        match self {
            Self::Regex => "(?:",
            Self::Gbnf => "(",
        }
    }

    fn between(self) -> &'static str {
        match self {
            Self::Regex => "",
            Self::Gbnf => " ",
        }
    }

    fn empty(self) -> &'static str {
        match self {
            Self::Regex => "",
            Self::Gbnf => "\"\"",
        }
    }
}

fn write(expression: &Expression, form: Form, to: &mut String) {
    match expression {
        Expression::Empty => to.push_str(form.empty()),
        Expression::One(ranges) => one(ranges, form, to),
        Expression::All(parts) => {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    to.push_str(form.between());
                }
                if matches!(part, Expression::Any(_)) { group(part, form, to) } else { write(part, form, to) }
            }
        }
        Expression::Any(parts) => {
            for (index, part) in parts.iter().enumerate() {
                to.push_str(if index > 0 { "|" } else { "" });
                write(part, form, to);
            }
        }
        Expression::Times { of, least, most } => {
            if matches!(**of, Expression::One(_)) {
                write(of, form, to)
            } else {
                group(of, form, to)
            }
            let _ = match (least, most) {
                (0, None) => write!(to, "*"),
                (1, None) => write!(to, "+"),
                (0, Some(1)) => write!(to, "?"),
                (least, None) => write!(to, "{{{least},}}"),
                (least, Some(most)) if least == most => write!(to, "{{{least}}}"),
                (least, Some(most)) => write!(to, "{{{least},{most}}}"),
            };
        }
    }
}

fn group(expression: &Expression, form: Form, to: &mut String) {
    to.push_str(form.open());
    write(expression, form, to);
    to.push(')');
}

fn one(ranges: &[(char, char)], form: Form, to: &mut String) {
    if let &[(start, end)] = ranges
        && start == end
    {
        match form {
            Form::Regex => character(start, r"\.+*?()|[]{}^$", form, to),
            Form::Gbnf => {
                to.push('"');
                character(start, "\"\\", form, to);
                to.push('"');
            }
        }
        return;
    }
    // What is all but a few is written as these few.
    let negated = ranges.last().is_some_and(|&(_, end)| end == char::MAX);
    let ranges = if negated { others(ranges) } else { ranges.to_vec() };
    to.push_str(if negated { "[^" } else { "[" });
    for (start, end) in ranges {
        character(start, r"\]^-[", form, to);
        if end > start {
            to.push('-');
            character(end, r"\]^-[", form, to);
        }
    }
    to.push(']');
}

/// What is between the ranges, and before the first.
fn others(ranges: &[(char, char)]) -> Vec<(char, char)> {
    let mut others = Vec::new();
    let mut from = Some('\0');
    for &(start, end) in ranges {
        if let Some(from) = from
            && let Some(before) = (from..start).next_back()
        {
            others.push((from, before));
        }
        from = (end..=char::MAX).nth(1);
    }
    others
}

fn character(character: char, escaped: &str, form: Form, to: &mut String) {
    let _ = match character {
        '\n' => write!(to, "\\n"),
        '\r' => write!(to, "\\r"),
        '\t' => write!(to, "\\t"),
        control if control.is_ascii_control() => write!(to, "\\x{:02x}", u32::from(control)),
        // In a class of GBNF only these are.
        '[' | '^' | '-' if form == Form::Gbnf && escaped.contains('[') => {
            write!(to, "\\x{:02x}", u32::from(character))
        }
        special if escaped.contains(special) => write!(to, "\\{special}"),
        plain => write!(to, "{plain}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let cases = [
            ("a.b\n", "\"a\" [^\\n] \"b\" \"\\n\"", "a[^\\n]b\\n"),
            ("[가-힣]{2,5}", "[가-힣]{2,5}", "[가-힣]{2,5}"),
            ("(?:,? |[·~])?x%?", "(\",\"? \" \"|[~·])? \"x\" \"%\"?", "(?:,? |[~·])?x%?"),
            ("(?:a|bc|d)", "\"b\" \"c\"|[ad]", "bc|[ad]"),
            ("\"\\\\\\.\\[\\]", "\"\\\"\" \"\\\\\" \".\" \"[\" \"]\"", "\"\\\\\\.\\[\\]"),
            ("[\\]\\-^]", "[\\x2d\\]-\\x5e]", "[\\-\\]-\\^]"),
            ("(?:ab){3}(?:c)*d+e{4,}", "(\"a\" \"b\"){3} \"c\"* \"d\"+ \"e\"{4,}", "(?:ab){3}c*d+e{4,}"),
            ("(?:|b|cd)e", "(\"c\" \"d\"|\"b\")? \"e\"", "(?:cd|b)?e"),
        ];
        for (regex_, gbnf_, plain) in cases {
            let expression = Expression::parse(regex_).unwrap();
            assert_eq!(regex(&expression), plain, "{regex_}");
            let grammar = gbnf(&expression);
            assert_eq!(grammar.strip_prefix("root ::= "), Some(gbnf_), "{regex_}");
            assert_eq!(Expression::parse(&regex(&expression)), Ok(expression), "{regex_}");
        }
    }
}
