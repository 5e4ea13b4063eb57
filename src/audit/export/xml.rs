//! A little XML: elements, attributes and text, on one line.
//!
//! *Never*: a character that XML 1.0 does not allow, or markup out of a value.

/// An element.
#[derive(Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: String,
    children: Vec<Self>,
}

impl Element {
    /// An empty element. Names are ours: they are not escaped.
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            attributes: Vec::new(),
            text: String::new(),
            children: Vec::new(),
        }
    }

    /// With an attribute.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// With text.
    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// With elements in it.
    pub(super) fn holding(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    fn write(&self, line: &mut String) {
        line.extend(["<", self.name]);
        for (name, value) in &self.attributes {
            line.extend([" ", name, "=\""]);
            escape(value, line);
            line.push('"');
        }
        if self.text.is_empty() && self.children.is_empty() {
            line.push_str("/>");
            return;
        }
        line.push('>');
        escape(&self.text, line);
        for child in &self.children {
            child.write(line);
        }
        line.extend(["</", self.name, ">"]);
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut line = String::new();
        self.write(&mut line);
        f.write_str(&line)
    }
}

fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        match c {
            '&' => line.push_str("&amp;"),
            '<' => line.push_str("&lt;"),
            '>' => line.push_str("&gt;"),
            '"' => line.push_str("&quot;"),
            // As they are, a reader would make spaces of them, and a message would not be a line.
            '\t' => line.push_str("&#9;"),
            '\n' => line.push_str("&#10;"),
            '\r' => line.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => line.push('\u{fffd}'),
            // Some readers take these for line ends.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                line.extend(["&#", &u32::from(c).to_string(), ";"]);
            }
            plain => line.push(plain),
        }
    }
}

#[cfg(test)]
pub(in crate::audit::export) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An element as it was read.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub(in crate::audit::export) struct Read {
        pub(in crate::audit::export) name: String,
        pub(in crate::audit::export) attributes: Vec<(String, String)>,
        pub(in crate::audit::export) text: String,
        pub(in crate::audit::export) children: Vec<Self>,
    }

    impl Read {
        pub(in crate::audit::export) fn attribute(&self, name: &str) -> &str {
            let found = self.attributes.iter().find(|(known, _)| known == name);
            found.map_or("", |(_, value)| value)
        }

        pub(in crate::audit::export) fn all(&self, name: &str) -> Vec<&Self> {
            self.children.iter().filter(|c| c.name == name).collect()
        }
    }

    /// Reads one element back, independent of how it is written; what is not well-formed panics.
    pub(in crate::audit::export) fn read(text: &str) -> Read {
        let (element, rest) = element(text);
        assert_eq!(rest, "", "something follows the element");
        element
    }

    fn element(text: &str) -> (Read, &str) {
        let rest = text.strip_prefix('<').unwrap();
        let end = rest.find([' ', '/', '>']).unwrap();
        let (name, mut rest) = rest.split_at(end);
        let mut read = Read {
            name: name.to_owned(),
            ..Read::default()
        };
        while let Some(attribute) = rest.strip_prefix(' ') {
            let (name, value) = attribute.split_once("=\"").unwrap();
            let (value, after) = value.split_once('"').unwrap();
            assert!(!value.contains(['<', '>']));
            assert!(!read.attributes.iter().any(|(known, _)| known == name));
            read.attributes.push((name.to_owned(), unescape(value)));
            rest = after;
        }
        if let Some(rest) = rest.strip_prefix("/>") {
            return (read, rest);
        }
        rest = rest.strip_prefix('>').unwrap();
        let close = format!("</{}>", read.name);
        loop {
            let (text, markup) = rest.split_at(rest.find('<').unwrap());
            read.text.push_str(&unescape(text));
            if let Some(rest) = markup.strip_prefix(&close) {
                return (read, rest);
            }
            let (child, after) = element(markup);
            read.children.push(child);
            rest = after;
        }
    }

    fn unescape(text: &str) -> String {
        let mut parts = text.split('&');
        let mut plain = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once(';').unwrap();
            plain.push(match name {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                number => {
                    let number = number.strip_prefix('#').unwrap();
                    char::from_u32(number.parse().unwrap()).unwrap()
                }
            });
            plain.push_str(rest);
        }
        plain
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_on_one_line(value in "(?s).{0,80}", text in "(?s).{0,80}") {
            let written = Element::new("Outer")
                .with("value", &value)
                .holding([Element::new("Inner").text(&text), Element::new("Empty")])
                .to_string();
            prop_assert!(!written.contains(['\n', '\r', '\0']));
            let allowed = |text: &str| -> String {
                let forbidden = |c: char| {
                    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
                };
                text.chars().map(|c| if forbidden(c) { '\u{fffd}' } else { c }).collect()
            };
            let outer = read(&written);
            prop_assert_eq!(outer.attribute("value"), allowed(&value));
            prop_assert_eq!(&outer.children[0].text, &allowed(&text));
            prop_assert_eq!(outer.children.len(), 2);
        }
    }
}
