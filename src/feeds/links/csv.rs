//! The link feed as a CSV file: one line for two identifiers of one patient.
//!
//! *Never*: half a file. One line that cannot be read, and nothing of it counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::told::Pair;

/// Most lines.
const MOST: usize = 1_000_000;
/// Longest field, in bytes.
const LONGEST: usize = 256;

/// Reads a feed: `patient,same_as`. An identifier without numbering system is one of `system`.
///
/// # Errors
/// What is wrong, with the line: nothing of what the line says.
pub(super) fn read(text: &str, system: &str) -> Result<BTreeSet<Pair>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines();
    let head: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .collect();
    if head != ["patient", "same_as"] {
        return Err("line 1: the first line must be `patient,same_as`".to_owned());
    }
    let mut pairs = BTreeSet::new();
    for (at, line) in lines.enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let told = |problem: &str| format!("line {}: {problem}", at.saturating_add(2));
        if pairs.len() >= MOST {
            return Err(told("there are more than 1,000,000 pairs of identifiers"));
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [one, other] = fields.as_slice() else {
            return Err(told("there must be two fields"));
        };
        let one = name(one, system).map_err(told)?;
        let other = name(other, system).map_err(told)?;
        if one == other {
            return Err(told("both identifiers are the same"));
        }
        pairs.insert(if one < other {
            (one, other)
        } else {
            (other, one)
        });
    }
    Ok(pairs)
}

fn name(field: &str, system: &str) -> Result<Arc<str>, &'static str> {
    if field.is_empty()
        || field.len() > LONGEST
        || field.chars().any(|c| c.is_control() || c == '"')
    {
        return Err("a field is empty, too long or quoted");
    }
    Ok(match field.rsplit_once('|') {
        Some(("", _) | (_, "")) => return Err("an identifier or its system is empty"),
        Some(_) => field.into(),
        None => format!("{system}|{field}").into(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_pairs_in_whatever_order() {
        let text = "\u{feff}patient,same_as\r\n4,9\r\n\r\nlab|77 , 9\n9,4\n";
        let pairs = read(text, "mrn").unwrap();
        let shown: Vec<String> = pairs.iter().map(|(a, b)| format!("{a}={b}")).collect();
        assert_eq!(shown, ["lab|77=mrn|9", "mrn|4=mrn|9"]);
    }

    #[test]
    fn one_wrong_line_and_nothing_counts() {
        for (text, says) in [
            ("a,b\n", "line 1: the first line"),
            (
                "patient,same_as\n4,9\nsecret\n",
                "line 3: there must be two",
            ),
            ("patient,same_as\n4,4\n", "line 2: both"),
            ("patient,same_as\n4,\"secret\"\n", "line 2: a field"),
            ("patient,same_as\n|4,9\n", "line 2: an identifier"),
        ] {
            let problem = read(text, "mrn").unwrap_err();
            assert!(
                problem.starts_with(says) && !problem.contains("secret"),
                "{problem}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(patient,same_as\n)?([0-9a-z|,\" \r\n]){0,60}") {
            for (one, other) in read(&text, "mrn").unwrap_or_default() {
                prop_assert!(one < other && one.contains('|') && other.contains('|'));
            }
        }
    }
}
