//! The condition of a detection: `sel and not (office or night)`, `1 of sel_*`, `all of them`.

/// Deepest nesting of a condition.
const DEEPEST: usize = 16;
/// Most words of a condition.
const MOST_WORDS: usize = 256;

/// How selections combine. Names are positions in the list of selections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// A selection holds.
    Holds(usize),
    /// Not.
    Not(Box<Self>),
    /// Every one.
    All(Vec<Self>),
    /// At least one.
    Any(Vec<Self>),
}

impl Condition {
    /// Reads a condition over selections of these names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &str, names: &[&str]) -> Result<Self, String> {
        let words = words(text)?;
        let mut parser = Parser {
            words: &words,
            next: 0,
            names,
        };
        let condition = parser.any(0)?;
        match parser.peek() {
            None => Ok(condition),
            Some(word) => Err(format!("`{word}` is not expected there")),
        }
    }

    /// Whether it holds, where `holds` says so of each selection.
    pub(super) fn evaluate(&self, holds: &dyn Fn(usize) -> bool) -> bool {
        match self {
            Self::Holds(selection) => holds(*selection),
            Self::Not(inner) => !inner.evaluate(holds),
            Self::All(inner) => inner.iter().all(|one| one.evaluate(holds)),
            Self::Any(inner) => inner.iter().any(|one| one.evaluate(holds)),
        }
    }

    /// The selections it speaks of.
    pub(super) fn selections(&self, found: &mut Vec<usize>) {
        match self {
            Self::Holds(selection) => found.push(*selection),
            Self::Not(inner) => inner.selections(found),
            Self::All(inner) | Self::Any(inner) => {
                for one in inner {
                    one.selections(found);
                }
            }
        }
    }
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    for word in spaced.split_whitespace() {
        if words.len() >= MOST_WORDS {
            return Err(format!("the condition has more than {MOST_WORDS} words"));
        }
        words.push(word.to_owned());
    }
    Ok(words)
}

struct Parser<'w> {
    words: &'w [String],
    next: usize,
    names: &'w [&'w str],
}

impl<'w> Parser<'w> {
    fn peek(&self) -> Option<&'w str> {
        self.words.get(self.next).map(String::as_str)
    }

    fn take(&mut self) -> Option<&'w str> {
        let word = self.peek();
        self.next = self.next.saturating_add(1);
        word
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.next = self.next.saturating_add(1);
        }
        found
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.all(depth)?];
        while self.accept("or") {
            parts.push(self.all(depth)?);
        }
        Ok(single(parts, Condition::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.one(depth)?];
        while self.accept("and") {
            parts.push(self.one(depth)?);
        }
        Ok(single(parts, Condition::All))
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        let deeper = depth.saturating_add(1);
        match self.take() {
            None => Err("it ends where the name of a selection is expected".to_owned()),
            Some("not") => Ok(Condition::Not(Box::new(self.one(deeper)?))),
            Some("(") => {
                let inner = self.any(deeper)?;
                if self.accept(")") {
                    Ok(inner)
                } else {
                    Err("a `)` is missing".to_owned())
                }
            }
            Some(quantity @ ("1" | "any" | "all")) if self.accept("of") => {
                let which = self.take().ok_or("`of` what?")?;
                let found = self.matching(which)?;
                Ok(single(
                    found,
                    if quantity == "all" {
                        Condition::All
                    } else {
                        Condition::Any
                    },
                ))
            }
            Some(name) => {
                let found = self.names.iter().position(|known| *known == name);
                found
                    .map(Condition::Holds)
                    .ok_or_else(|| format!("there is no selection `{name}`"))
            }
        }
    }

    fn matching(&self, pattern: &str) -> Result<Vec<Condition>, String> {
        let fits = |name: &str| match (pattern, pattern.strip_suffix('*')) {
            ("them", _) => true,
            (_, Some(prefix)) => name.starts_with(prefix),
            (_, None) => name == pattern,
        };
        let found: Vec<Condition> = self
            .names
            .iter()
            .enumerate()
            .filter(|(_, name)| fits(name))
            .map(|(position, _)| Condition::Holds(position))
            .collect();
        if found.is_empty() {
            return Err(format!("no selection is called `{pattern}`"));
        }
        Ok(found)
    }
}

fn single(mut parts: Vec<Condition>, wrap: fn(Vec<Condition>) -> Condition) -> Condition {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            parts.push(last);
            wrap(parts)
        }
        (None, _) => wrap(parts),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["sel", "sel_b", "office"];

    fn holds(text: &str, true_ones: &[usize]) -> bool {
        Condition::read(text, &NAMES)
            .unwrap()
            .evaluate(&|position| true_ones.contains(&position))
    }

    #[test]
    fn not_binds_tighter_than_and_than_or() {
        assert!(holds("sel and not office", &[0]));
        assert!(!holds("sel and not office", &[0, 2]));
        assert!(holds("office or sel and sel_b", &[2]));
        assert!(!holds("(office or sel) and sel_b", &[2]));
        assert!(holds("not not sel", &[0]));
    }

    #[test]
    fn quantities_go_over_names_and_patterns() {
        assert!(holds("1 of sel*", &[1]));
        assert!(!holds("all of sel*", &[1]));
        assert!(holds("all of sel* and not office", &[0, 1]));
        assert!(holds("any of them", &[2]));
        assert!(holds("all of them", &[0, 1, 2]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("", "ends"),
            ("sel and", "ends"),
            ("(sel", "missing"),
            ("sel sel_b", "not expected"),
            ("sell", "no selection `sell`"),
            ("1 of night*", "no selection is called"),
        ] {
            let error = Condition::read(text, &NAMES).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let deep = format!("{}sel", "not ".repeat(200));
        assert!(Condition::read(&deep, &NAMES).unwrap_err().contains("deep"));
        assert!(Condition::read(&"sel or ".repeat(300), &NAMES).is_err());
    }

    proptest! {
        #[test]
        fn any_condition_is_read_or_refused(text in "(sel|sel_b|not|and|or|1 of|all of|them|sel\\*|[()]| ){0,40}") {
            if let Ok(condition) = Condition::read(&text, &NAMES) {
                let mut found = Vec::new();
                condition.selections(&mut found);
                prop_assert!(found.iter().all(|position| *position < NAMES.len()));
                condition.evaluate(&|position| position == 0);
            }
        }
    }
}
