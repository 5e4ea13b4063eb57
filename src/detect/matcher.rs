//! The selections of a detection: which values of which fields.
//!
//! Text compares without upper and lower case, as Sigma has it; `*` and `?` are wildcards, `\` takes them literally.

use std::net::IpAddr;

use ipnet::IpNet;

use super::fields::{Fields, Holds, Value, holds};
use super::yaml::{Kind, Node};

/// Most items of a selection.
const MOST_ITEMS: usize = 1_000;
/// Longest pattern.
const LONGEST: usize = 512;

/// A selection: at least one of these sets of conditions.
#[derive(Debug, Clone)]
pub(super) struct Selection(Vec<Vec<Item>>);

/// A condition on one field.
#[derive(Debug, Clone)]
struct Item {
    field: String,
    all: Quantity,
    tests: Vec<Test>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Any,
    All,
}

#[derive(Debug, Clone)]
enum Test {
    Like(Vec<Piece>),
    Number(i64),
    Truth(bool),
    Absent,
    Exists(bool),
    Compare(Comparison, i64),
    Inside(IpNet),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// A piece of a pattern, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    One(char),
    AnyOne,
    Any,
}

/// What is wrong with a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The line.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) message: String,
    /// What to do.
    pub(super) remedy: String,
}

impl Selection {
    /// Reads a selection; what is wrong is added to `wrong`.
    pub(super) fn read(node: &Node, wrong: &mut Vec<Wrong>) -> Self {
        let mut sets = Vec::new();
        for set in node.items() {
            let Some(entries) = set.entries() else {
                wrong.push(Wrong {
                    line: set.line,
                    message: "a selection is a map of fields, or a list of such maps".to_owned(),
                    remedy: "Write `sel: {phase: admit, action: [Read, Print]}`; search words without a field are not supported.".to_owned(),
                });
                continue;
            };
            let mut items = Vec::new();
            for (key, value) in entries {
                match Item::read(key, value) {
                    Ok(item) => items.push(item),
                    Err(found) => wrong.push(found),
                }
            }
            if entries.is_empty() {
                wrong.push(Wrong {
                    line: set.line,
                    message: "this selection has no conditions, so every record would fit"
                        .to_owned(),
                    remedy: "Name at least one field.".to_owned(),
                });
            }
            sets.push(items);
        }
        Self(sets)
    }

    /// Whether a record fits.
    pub(super) fn fits(&self, fields: &Fields) -> bool {
        self.0
            .iter()
            .any(|set| !set.is_empty() && set.iter().all(|item| item.fits(fields)))
    }
}

impl Item {
    fn read(key: &Node, value: &Node) -> Result<Self, Wrong> {
        let at = |message: String, remedy: &str| Wrong {
            line: key.line,
            message,
            remedy: remedy.to_owned(),
        };
        let written = key.text().unwrap_or_default();
        let mut parts = written.split('|');
        let field = parts.next().unwrap_or_default().to_owned();
        let Some(kind) = holds(&field) else {
            let remedy =
                "Use a field of docs/detection.md, or `detail.NAME` for a particular of an event.";
            return Err(at(format!("the field `{field}` does not exist"), remedy));
        };
        let (mut all, mut how) = (Quantity::Any, "");
        for modifier in parts {
            match modifier {
                "all" => all = Quantity::All,
                "contains" | "startswith" | "endswith" | "gt" | "gte" | "lt" | "lte" | "exists"
                | "cidr"
                    if how.is_empty() =>
                {
                    how = modifier;
                }
                other => {
                    let remedy = "Supported are contains, startswith, endswith, all, gt, gte, lt, lte, exists and cidr, and one of them beside `all`.";
                    return Err(at(
                        format!("the modifier `{other}` cannot stand here"),
                        remedy,
                    ));
                }
            }
        }
        let items = value.items();
        if items.is_empty() || items.len() > MOST_ITEMS {
            let remedy = "List the values that fit.";
            return Err(at(
                format!("`{field}` has no values, or more than {MOST_ITEMS}"),
                remedy,
            ));
        }
        let tests = items
            .iter()
            .map(|item| test(&field, kind, how, item))
            .collect::<Result<_, _>>()?;
        Ok(Self { field, all, tests })
    }

    fn fits(&self, fields: &Fields) -> bool {
        let value = fields.find(&self.field);
        let fits = |test: &Test| test.fits(value);
        match self.all {
            Quantity::Any => self.tests.iter().any(fits),
            Quantity::All => self.tests.iter().all(fits),
        }
    }
}

fn test(field: &str, kind: Holds, how: &str, item: &Node) -> Result<Test, Wrong> {
    let at = |message: String, remedy: &str| Wrong {
        line: item.line,
        message,
        remedy: remedy.to_owned(),
    };
    let text = kind == Holds::Text || kind == Holds::Texts;
    match (how, &item.kind) {
        ("exists", Kind::Truth(exists)) => Ok(Test::Exists(*exists)),
        ("gt" | "gte" | "lt" | "lte", Kind::Number(number)) if kind == Holds::Number => {
            let comparison = match how {
                "gt" => Comparison::Above,
                "gte" => Comparison::AtLeast,
                "lt" => Comparison::Below,
                _ => Comparison::AtMost,
            };
            Ok(Test::Compare(comparison, *number))
        }
        ("cidr", Kind::Text(network)) if text => match network.parse() {
            Ok(network) => Ok(Test::Inside(network)),
            Err(_) => Err(at(
                format!("`{network}` is no network"),
                "Write an address with a prefix length, such as 10.20.0.0/16.",
            )),
        },
        ("", Kind::Null) => Ok(Test::Absent),
        ("", Kind::Truth(truth)) if kind == Holds::Truth => Ok(Test::Truth(*truth)),
        ("", Kind::Number(number)) if kind == Holds::Number => Ok(Test::Number(*number)),
        ("" | "contains" | "startswith" | "endswith", _) if text => {
            let written = match &item.kind {
                Kind::Text(written) => written.clone(),
                Kind::Number(number) => number.to_string(),
                Kind::Truth(truth) => truth.to_string(),
                Kind::Null | Kind::List(_) | Kind::Map(_) => {
                    return Err(at(
                        format!("`{field}` is compared with text"),
                        "Write a text.",
                    ));
                }
            };
            if written.len() > LONGEST {
                return Err(at("this pattern is too long".to_owned(), "Shorten it."));
            }
            Ok(Test::Like(pattern(&written, how)))
        }
        _ => Err(at(
            format!("this value cannot be compared with `{field}` in this way"),
            match kind {
                Holds::Text | Holds::Texts => "Write a text.",
                Holds::Number => "Write a whole number.",
                Holds::Truth => "Write true or false.",
            },
        )),
    }
}

fn pattern(written: &str, how: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if how == "contains" || how == "endswith" {
        pieces.push(Piece::Any);
    }
    let mut characters = written.chars().flat_map(char::to_lowercase);
    while let Some(character) = characters.next() {
        match character {
            '*' => {
                if pieces.last() != Some(&Piece::Any) {
                    pieces.push(Piece::Any);
                }
            }
            '?' => pieces.push(Piece::AnyOne),
            '\\' => pieces.push(Piece::One(characters.next().unwrap_or('\\'))),
            other => pieces.push(Piece::One(other)),
        }
    }
    if how == "contains" || how == "startswith" {
        pieces.push(Piece::Any);
    }
    pieces
}

/// Whether text fits a pattern, in time that grows with the product of their lengths at most.
fn like(pieces: &[Piece], text: &str) -> bool {
    let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let (mut at, mut piece) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    while let Some(character) = text.get(at) {
        match pieces.get(piece) {
            Some(Piece::Any) => {
                star = Some((piece, at));
                piece = piece.saturating_add(1);
                continue;
            }
            Some(Piece::AnyOne) => {}
            Some(Piece::One(one)) if one == character => {}
            Some(Piece::One(_)) | None => {
                let Some((back, from)) = star else {
                    return false;
                };
                let from = from.saturating_add(1);
                star = Some((back, from));
                piece = back.saturating_add(1);
                at = from;
                continue;
            }
        }
        piece = piece.saturating_add(1);
        at = at.saturating_add(1);
    }
    pieces
        .get(piece..)
        .unwrap_or_default()
        .iter()
        .all(|rest| *rest == Piece::Any)
}

impl Test {
    fn fits(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Absent | Self::Exists(false));
        };
        match (self, value) {
            (Self::Exists(exists), _) => *exists,
            (Self::Like(pieces), Value::Text(text)) => like(pieces, text),
            (Self::Like(pieces), Value::Texts(texts)) => {
                texts.iter().any(|text| like(pieces, text))
            }
            (Self::Number(wanted), Value::Number(number)) => wanted == number,
            (Self::Truth(wanted), Value::Truth(truth)) => wanted == truth,
            (Self::Compare(comparison, bound), Value::Number(number)) => match comparison {
                Comparison::Above => number > bound,
                Comparison::AtLeast => number >= bound,
                Comparison::Below => number < bound,
                Comparison::AtMost => number <= bound,
            },
            (Self::Inside(network), Value::Text(text)) => inside(network, text),
            (Self::Inside(network), Value::Texts(texts)) => {
                texts.iter().any(|text| inside(network, text))
            }
            (Self::Absent, _)
            | (
                Self::Like(_)
                | Self::Number(_)
                | Self::Truth(_)
                | Self::Compare(..)
                | Self::Inside(_),
                Value::Text(_) | Value::Texts(_) | Value::Number(_) | Value::Truth(_),
            ) => false,
        }
    }
}

fn inside(network: &IpNet, address: &str) -> bool {
    address
        .parse::<IpAddr>()
        .is_ok_and(|address| network.contains(&address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::yaml;
    use super::*;

    fn selection(text: &str) -> (Selection, Vec<Wrong>) {
        let mut wrong = Vec::new();
        let node = yaml::read(text).unwrap().remove(0);
        let selection = Selection::read(&node, &mut wrong);
        (selection, wrong)
    }

    fn fits(text: &str, fields: &Fields) -> bool {
        let (selection, wrong) = selection(text);
        assert!(wrong.is_empty(), "{text}: {wrong:?}");
        selection.fits(fields)
    }

    fn fields() -> Fields {
        let mut fields = Fields::default();
        fields.set("phase", Value::Text("admit".to_owned()));
        fields.set("client", Value::Text("10.20.3.4".to_owned()));
        fields.set("path", Value::Text("/chart/Notes".to_owned()));
        fields.set(
            "roles",
            Value::Texts(vec!["nurse".to_owned(), "auditor".to_owned()]),
        );
        fields.set("hour", Value::Number(22));
        fields.set("mfa", Value::Truth(true));
        fields
    }

    #[test]
    fn conditions_are_joined_values_are_alternatives() {
        let fields = fields();
        assert!(fits("{phase: [refuse, ADMIT], mfa: true}", &fields));
        assert!(!fits("{phase: admit, mfa: false}", &fields));
        assert!(fits("[{phase: refuse}, {hour: 22}]", &fields));
        assert!(fits("{roles: auditor}", &fields));
        assert!(fits("{roles|all: [auditor, nurse]}", &fields));
        assert!(!fits("{roles|all: [auditor, billing]}", &fields));
        assert!(fits("{user: null, event|exists: false}", &fields));
        assert!(!fits("{phase: null}", &fields));
    }

    #[test]
    fn modifiers_and_wildcards() {
        let fields = fields();
        assert!(fits(
            "{path|startswith: /chart, path|endswith: notes}",
            &fields
        ));
        assert!(fits(
            "{path|contains: 't/n', client|cidr: 10.20.0.0/16}",
            &fields
        ));
        assert!(!fits("{client|cidr: 10.21.0.0/16}", &fields));
        assert!(fits("{hour|gte: 22, hour|lt: 23}", &fields));
        assert!(!fits("{hour|gt: 22}", &fields));
        assert!(fits("{path: '/*/no?es'}", &fields));
        assert!(!fits("{path: '/\\*/notes'}", &fields));
    }

    #[test]
    fn what_is_wrong_is_found_with_its_line() {
        for (text, word) in [
            ("{patient_name: x}", "does not exist"),
            ("{phase|re: x}", "modifier"),
            ("{phase|contains|endswith: x}", "modifier"),
            ("{hour: late}", "cannot be compared"),
            ("{mfa: 1}", "cannot be compared"),
            ("{client|cidr: here}", "no network"),
            ("{phase: []}", "no values"),
            ("[word]", "map of fields"),
            ("{}", "no conditions"),
        ] {
            let (_, wrong) = selection(text);
            assert_eq!(wrong.len(), 1, "{text}");
            assert!(wrong[0].message.contains(word), "{text}: {wrong:?}");
            assert_eq!(wrong[0].line, 1);
        }
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_their_definition(pattern_text in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn defined(pattern: &[char], text: &[char]) -> bool {
                match (pattern.first(), text.first()) {
                    (None, None) => true,
                    (Some('*'), _) => {
                        defined(&pattern[1..], text) || (!text.is_empty() && defined(pattern, &text[1..]))
                    }
                    (Some('?'), Some(_)) => defined(&pattern[1..], &text[1..]),
                    (Some(a), Some(b)) if a == b => defined(&pattern[1..], &text[1..]),
                    _ => false,
                }
            }
            let letters: (Vec<char>, Vec<char>) = (pattern_text.chars().collect(), text.chars().collect());
            prop_assert_eq!(like(&pattern(&pattern_text, ""), &text), defined(&letters.0, &letters.1));
        }
    }
}
