//! YAML of rule files as a tree that knows its lines.
//!
//! *Never*: anchors, aliases, tags or a key twice; more depth or nodes than a rule could need.

use granit_parser::{Event, Parser, ScalarStyle, Span};

/// Longest rule file.
pub(super) const LONGEST: usize = 256 * 1024;
const DEEPEST: usize = 16;
const MOST_NODES: usize = 20_000;

/// Why a file is no YAML that rules are written in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct YamlError {
    /// The line, from 1.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) message: String,
}

/// A value with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// A plain `true` or `false`.
    Truth(bool),
    /// A plain whole number.
    Number(i64),
    /// Any other text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in the order of the file.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Null | Kind::Truth(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// Keys and values, if it is a map.
    pub(super) fn entries(&self) -> Option<&[(Self, Self)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Null | Kind::Truth(_) | Kind::Number(_) | Kind::List(_) | Kind::Text(_) => None,
        }
    }

    /// The items of a list; a value that is none is a list of itself.
    pub(super) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Null | Kind::Truth(_) | Kind::Number(_) | Kind::Map(_) | Kind::Text(_) => {
                std::slice::from_ref(self)
            }
        }
    }

    /// The value under a key.
    pub(super) fn at(&self, key: &str) -> Option<&Self> {
        let found = self
            .entries()?
            .iter()
            .find(|(name, _)| name.text() == Some(key));
        found.map(|(_, value)| value)
    }
}

/// A collection that is still open.
struct Open {
    line: usize,
    key: Option<Node>,
    kind: Building,
}

enum Building {
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Reads every document of a file.
pub(super) fn read(text: &str) -> Result<Vec<Node>, YamlError> {
    if text.len() > LONGEST {
        let message = format!("the file is longer than {LONGEST} bytes");
        return Err(YamlError { line: 1, message });
    }
    let mut reading = Reading::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line().max(1),
            message: format!("this is no YAML: {}", error.info()),
        })?;
        reading.take(event, span)?;
    }
    Ok(reading.documents)
}

#[derive(Default)]
struct Reading {
    documents: Vec<Node>,
    open: Vec<Open>,
    nodes: usize,
}

impl Reading {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let line = span.start.line().max(1);
        let failed = |message: &str| YamlError {
            line,
            message: message.to_owned(),
        };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    return Err(failed("anchors and tags have no place in a rule"));
                }
                let kind = match style {
                    ScalarStyle::Plain => plain(&text),
                    ScalarStyle::SingleQuoted
                    | ScalarStyle::DoubleQuoted
                    | ScalarStyle::Literal
                    | ScalarStyle::Folded => Kind::Text(text.into_owned()),
                };
                self.place(Node { line, kind })
            }
            Event::SequenceStart(_, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    return Err(failed("anchors and tags have no place in a rule"));
                }
                self.begin(line, Building::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    return Err(failed("anchors and tags have no place in a rule"));
                }
                self.begin(line, Building::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Err(failed("something ends that was not begun"));
                };
                let kind = match open.kind {
                    Building::List(items) => Kind::List(items),
                    Building::Map(entries) => Kind::Map(entries),
                };
                self.place(Node {
                    line: open.line,
                    kind,
                })
            }
            Event::Alias(_) | Event::Anchor(..) | Event::UnresolvedAlias(_) => {
                Err(failed("aliases have no place in a rule"))
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd => Ok(()),
            // What a later parser may tell of besides is nothing that a rule is written in.
            _ => Err(failed("this has no place in a rule")),
        }
    }

    fn begin(&mut self, line: usize, kind: Building) -> Result<(), YamlError> {
        if self.open.len() >= DEEPEST {
            let message = format!("this is nested more than {DEEPEST} deep");
            return Err(YamlError { line, message });
        }
        self.open.push(Open {
            line,
            key: None,
            kind,
        });
        Ok(())
    }

    fn place(&mut self, node: Node) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(1);
        let line = node.line;
        if self.nodes > MOST_NODES {
            let message = format!("the file has more than {MOST_NODES} values");
            return Err(YamlError { line, message });
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut open.kind, open.key.take()) {
            (Building::List(items), _) => items.push(node),
            (Building::Map(entries), None) => {
                if entries.iter().any(|(known, _)| known.kind == node.kind) {
                    let message = format!("the key `{}` is here twice", shown(&node));
                    return Err(YamlError { line, message });
                }
                open.key = Some(node);
            }
            (Building::Map(entries), Some(key)) => entries.push((key, node)),
        }
        Ok(())
    }
}

fn shown(node: &Node) -> &str {
    node.text().unwrap_or("…")
}

fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" => Kind::Null,
        "true" => Kind::Truth(true),
        "false" => Kind::Truth(false),
        _ => text
            .parse()
            .map_or_else(|_| Kind::Text(text.to_owned()), Kind::Number),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_know_their_kind_and_line() {
        let read = read("a: 1\nb: [x, 'true', true, ~]\n---\nc:\n  d: text\n").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].at("a").unwrap().kind, Kind::Number(1));
        let b = read[0].at("b").unwrap();
        assert_eq!(b.line, 2);
        let kinds: Vec<&Kind> = b.items().iter().map(|node| &node.kind).collect();
        assert_eq!(
            kinds,
            [
                &Kind::Text("x".to_owned()),
                &Kind::Text("true".to_owned()),
                &Kind::Truth(true),
                &Kind::Null
            ]
        );
        let d = read[1].at("c").unwrap().at("d").unwrap();
        assert_eq!((d.line, d.text()), (5, Some("text")));
    }

    #[test]
    fn what_rules_do_not_need_is_refused() {
        let deep = format!("{}{}", "[".repeat(DEEPEST + 1), "]".repeat(DEEPEST + 1));
        for (text, word) in [
            ("a: &x 1\nb: *x", "anchors"),
            ("a: !!str 1", "tags"),
            ("a: 1\na: 2", "twice"),
            ("a: [1", "no YAML"),
            (deep.as_str(), "deep"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(word), "{text}: {error}");
            assert!(error.line > 0);
        }
        let many = "- 1\n".repeat(MOST_NODES + 1);
        assert!(read(&many).unwrap_err().message.contains("more than"));
        assert!(read(&" ".repeat(LONGEST + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-a-c:\\[\\]{},'\"&*!|>#? \n\t0-9]{0,80}") {
            drop(read(&text));
        }
    }
}
