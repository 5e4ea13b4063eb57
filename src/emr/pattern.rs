//! Path patterns: `/patients/{pid}/chart`, `*` for one segment, `**` for any rest.
//!
//! A pattern is matched against decoded segments, exactly and case by case: a spelling that the pattern does not
//! name is another route.

/// Why a path pattern cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    #[error("a path pattern starts with `/`")]
    NotAbsolute,
    #[error("a path pattern is written decoded, without `%`, `?`, `#` or control characters")]
    Encoded,
    #[error("a segment holds at most one `*` or one `{{name}}`")]
    Holes,
    #[error("a name in braces is lower case letters, digits and `_`, and occurs once")]
    Name,
    #[error("`**` stands alone between slashes, and not twice in a row")]
    Rest,
    #[error("an empty segment is allowed at the end only")]
    Empty,
}

/// The path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Hole(Hole),
    Rest,
}

/// One segment with a part that varies; the part is never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hole {
    name: Option<String>,
    before: String,
    after: String,
}

/// What the named holes of a pattern stood for.
pub(super) type Captures<'a> = Vec<(&'a str, &'a str)>;

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let inner = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        if text
            .chars()
            .any(|c| matches!(c, '%' | '?' | '#' | '\\') || c.is_control())
        {
            return Err(PatternError::Encoded);
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut segments = inner.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err(PatternError::Empty);
            }
            let part = Part::parse(segment)?;
            if part == Part::Rest && parts.last() == Some(&Part::Rest) {
                return Err(PatternError::Rest);
            }
            parts.push(part);
        }
        let pattern = Self { parts };
        let mut names: Vec<&str> = pattern.names().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(PatternError::Name);
        }
        Ok(pattern)
    }

    /// The names in braces.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(hole) => hole.name.as_deref(),
            Part::Literal(_) | Part::Rest => None,
        })
    }

    /// The first segment, if it does not vary.
    pub(super) fn first_literal(&self) -> Option<&str> {
        match self.parts.first()? {
            Part::Literal(text) => Some(text),
            Part::Hole(_) | Part::Rest => None,
        }
    }

    /// What the names stand for in `segments`; `None` if the pattern does not match them.
    ///
    /// Linear in segments times parts: only the last `**` is ever tried again.
    pub(super) fn captures<'a>(&'a self, segments: &[&'a str]) -> Option<Captures<'a>> {
        let mut found = Captures::new();
        let (mut part_at, mut segment_at) = (0_usize, 0_usize);
        let mut last_rest: Option<(usize, usize, usize)> = None;
        loop {
            match (self.parts.get(part_at), segments.get(segment_at)) {
                (Some(Part::Rest), _) => {
                    part_at = part_at.saturating_add(1);
                    if part_at == self.parts.len() {
                        return Some(found);
                    }
                    last_rest = Some((part_at, segment_at, found.len()));
                    continue;
                }
                (Some(part), Some(segment)) if part.takes(segment, &mut found) => {
                    part_at = part_at.saturating_add(1);
                    segment_at = segment_at.saturating_add(1);
                    continue;
                }
                (None, None) => return Some(found),
                (Some(_), _) | (None, Some(_)) => {}
            }
            let (after, started, kept) = last_rest?;
            if started >= segments.len() {
                return None;
            }
            let next = started.saturating_add(1);
            last_rest = Some((after, next, kept));
            (part_at, segment_at) = (after, next);
            found.truncate(kept);
        }
    }

    /// Whether every path that `other` matches is matched here too. May say no where yes would be right.
    pub(super) fn covers(&self, other: &Self) -> bool {
        covers(&self.parts, &other.parts)
    }

    /// Whether some path is matched by both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        meets(&self.parts, &other.parts)
    }
}

impl Part {
    fn parse(segment: &str) -> Result<Self, PatternError> {
        if segment == "**" {
            return Ok(Self::Rest);
        }
        let holes = segment.matches(['*', '{']).count();
        if holes == 0 {
            return if segment.contains('}') {
                Err(PatternError::Holes)
            } else {
                Ok(Self::Literal(segment.to_owned()))
            };
        }
        if segment.contains("**") {
            return Err(PatternError::Rest);
        }
        if holes > 1 {
            return Err(PatternError::Holes);
        }
        let (before, name, after) = if let Some((before, after)) = segment.split_once('*') {
            (before, None, after)
        } else {
            let (before, rest) = segment.split_once('{').ok_or(PatternError::Holes)?;
            let (name, after) = rest.split_once('}').ok_or(PatternError::Holes)?;
            if !is_name(name) {
                return Err(PatternError::Name);
            }
            (before, Some(name.to_owned()), after)
        };
        if before.contains('}') || after.contains('}') {
            return Err(PatternError::Holes);
        }
        Ok(Self::Hole(Hole {
            name,
            before: before.to_owned(),
            after: after.to_owned(),
        }))
    }

    fn takes<'a>(&'a self, segment: &'a str, found: &mut Captures<'a>) -> bool {
        match self {
            Self::Literal(text) => text == segment,
            Self::Hole(hole) => hole.part_of(segment).is_some_and(|part| {
                if let Some(name) = &hole.name {
                    found.push((name, part));
                }
                true
            }),
            Self::Rest => false,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(one), Self::Literal(two)) => one == two,
            (Self::Hole(hole), Self::Literal(text)) => hole.part_of(text).is_some(),
            (Self::Hole(one), Self::Hole(two)) => {
                two.before.starts_with(&one.before) && two.after.ends_with(&one.after)
            }
            (Self::Literal(_), Self::Hole(_)) | (Self::Rest, _) | (_, Self::Rest) => false,
        }
    }

    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hole(one), Self::Hole(two)) => {
                (one.before.starts_with(&two.before) || two.before.starts_with(&one.before))
                    && (one.after.ends_with(&two.after) || two.after.ends_with(&one.after))
            }
            (Self::Literal(_), Self::Hole(_)) => other.covers(self),
            (Self::Literal(_) | Self::Hole(_), _) => self.covers(other),
            (Self::Rest, _) => false,
        }
    }
}

impl Hole {
    fn part_of<'a>(&self, segment: &'a str) -> Option<&'a str> {
        segment
            .strip_prefix(self.before.as_str())?
            .strip_suffix(self.after.as_str())
            .filter(|part| !part.is_empty())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn covers(one: &[Part], two: &[Part]) -> bool {
    match (one.split_first(), two.split_first()) {
        (None, None) => true,
        (Some((Part::Rest, after)), None) => covers(after, two),
        (Some((Part::Rest, after)), Some((_, rest))) => covers(after, two) || covers(one, rest),
        (None, Some(_)) | (Some(_), None) => false,
        (Some((part, after)), Some((other, rest))) => part.covers(other) && covers(after, rest),
    }
}

fn meets(one: &[Part], two: &[Part]) -> bool {
    match (one.split_first(), two.split_first()) {
        (None, None) => true,
        (Some((Part::Rest, after)), None) => meets(after, two),
        (None, Some((Part::Rest, rest))) => meets(one, rest),
        (None, Some(_)) | (Some(_), None) => false,
        (Some((Part::Rest, after)), Some((_, rest))) => meets(after, two) || meets(one, rest),
        (Some(_), Some((Part::Rest, _))) => meets(two, one),
        (Some((part, after)), Some((other, rest))) => part.meets(other) && meets(after, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    fn captures(pattern_text: &str, path: &str) -> Option<Vec<(String, String)>> {
        let segments: Vec<&str> = path.strip_prefix('/').unwrap().split('/').collect();
        pattern(pattern_text).captures(&segments).map(|found| {
            found
                .iter()
                .map(|(n, v)| ((*n).into(), (*v).into()))
                .collect()
        })
    }

    fn named(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.into(), value.into())]
    }

    #[test]
    fn segments_match_exactly() {
        assert_eq!(
            captures("/patients/{pid}/chart", "/patients/4/chart"),
            Some(named("pid", "4"))
        );
        for other in [
            "/patients/4",
            "/patients/4/chart/",
            "/Patients/4/chart",
            "/patients//chart",
            "/x/patients/4/chart",
        ] {
            assert_eq!(captures("/patients/{pid}/chart", other), None, "{other}");
        }
        assert_eq!(captures("/", "/"), Some(vec![]));
        assert_eq!(captures("/", "/a"), None);
        assert_eq!(
            captures("/record/{model}.html", "/record/notes.html"),
            Some(named("model", "notes"))
        );
        assert_eq!(captures("/record/{model}.html", "/record/.html"), None);
        assert_eq!(captures("/a/*/c", "/a/b/c"), Some(vec![]));
    }

    #[test]
    fn rest_matches_anywhere_and_backtracks() {
        assert!(captures("/static/**", "/static/a/b").is_some());
        assert!(captures("/static/**", "/static/").is_some());
        assert!(captures("/static/**", "/static").is_some());
        assert!(captures("/static/**", "/staticx").is_none());
        assert!(captures("/**/api/v1/**", "/assets/api/x/api/v1/patient/1").is_some());
        assert!(captures("/**/api/v1/**", "/assets/api/v2").is_none());
        assert_eq!(captures("/**/p/{id}", "/a/p/b/p/7"), Some(named("id", "7")));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for (text, error) in [
            ("chart", PatternError::NotAbsolute),
            ("/a%2fb", PatternError::Encoded),
            ("/a?b", PatternError::Encoded),
            ("/{a}{b}", PatternError::Holes),
            ("/{a", PatternError::Holes),
            ("/a}", PatternError::Holes),
            ("/{A}", PatternError::Name),
            ("/{}", PatternError::Name),
            ("/{a}/{a}", PatternError::Name),
            ("/x**", PatternError::Rest),
            ("/**/**", PatternError::Rest),
            ("/a//b", PatternError::Empty),
        ] {
            assert_eq!(PathPattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn coverage_and_meeting_are_known() {
        let covers = |one: &str, two: &str| pattern(one).covers(&pattern(two));
        let meets = |one: &str, two: &str| pattern(one).meets(&pattern(two));
        assert!(covers("/a/**", "/a/{x}/b"));
        assert!(covers("/a/*", "/a/b"));
        assert!(covers("/**/b", "/a/**/b"));
        assert!(!covers("/a/b", "/a/*"));
        assert!(!covers("/a/*.css", "/a/*"));
        assert!(covers("/a/*", "/a/*.css"));
        assert!(meets("/a/*/c", "/*/b/c"));
        assert!(meets("/**/x", "/a/**"));
        assert!(!meets("/a/*", "/b/*"));
        assert!(!meets("/a/*.css", "/a/*.js"));
    }

    proptest! {
        #[test]
        fn matching_never_panics_and_coverage_implies_matching(
            one in "(/([ab]|\\*|\\*\\*|\\{x\\})){1,4}",
            two in "(/([ab]|\\*|\\*\\*)){1,4}",
            path in "(/[abc]?){1,6}",
        ) {
            let segments: Vec<&str> = path.strip_prefix('/').unwrap().split('/').collect();
            if let (Ok(one), Ok(two)) = (PathPattern::parse(&one), PathPattern::parse(&two)) {
                let (by_one, by_two) = (one.captures(&segments).is_some(), two.captures(&segments).is_some());
                if by_two && one.covers(&two) {
                    prop_assert!(by_one);
                }
                if by_one && by_two {
                    prop_assert!(one.meets(&two));
                }
            }
        }
    }
}
