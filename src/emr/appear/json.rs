//! Hears JSON as it passes: a tokenizer that keeps the path to where it is, and one scalar.
//!
//! *Owns*: at most [`MAX_DEPTH`] levels and [`LONGEST`] bytes of a key or value that a rule may want; nothing of what no
//! rule leads into. Documents may follow one another (RFC 7464, NDJSON).
//! *Never*: strict where it need not be. What a lenient reader shows to a user is heard; only where the structure is
//! lost does it stop.

mod scalar;

use memchr::memchr2;

use self::scalar::Scalar;
use super::Rules;
use super::gathered::Gathered;
use super::rule::{LONGEST, Place, Rule};
use crate::emr::json::{Pointer, Step};
use crate::request::appeared::Unheard;

/// The deepest nesting that is followed.
const MAX_DEPTH: usize = 128;
/// A byte order mark, which some write before a document (RFC 8259 §8.1 forbids it).
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The rules that hold somewhere, a bit each: [`super::MOST_RULES`] are no more than fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Live(u32);

impl Live {
    const NONE: Self = Self(0);

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The positions of the rules.
    fn each(self) -> impl Iterator<Item = usize> {
        (0..32_usize).filter(move |at| self.0 & bit(*at) != 0)
    }

    /// Of these, the ones for which `holds`.
    fn only(self, holds: impl Fn(usize) -> bool) -> Self {
        let kept = self.each().filter(|at| holds(*at));
        Self(kept.fold(0, |live, at| live | bit(at)))
    }
}

fn bit(at: usize) -> u32 {
    u32::try_from(at)
        .ok()
        .and_then(|at| 1_u32.checked_shl(at))
        .unwrap_or_default()
}

/// An array or object that is open, and the rules whose pointers lead into it.
#[derive(Debug, Clone, Copy)]
enum Level {
    /// With the position of the element that is next or under way.
    Array(usize, Live),
    /// With the rules that the value of the newest key is for.
    Object(Live, Live),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value is due.
    Value,
    /// A value, or the end of the array that just began.
    FirstValue,
    /// A key, or the end of the object that just began.
    FirstKey,
    /// A key is due.
    Key,
    /// A colon is due.
    Colon,
    /// A value is over.
    After,
    /// In a string.
    Text(Purpose),
    /// Behind its backslash.
    Escape(Purpose),
    /// In `\uXXXX`: so many digits are due, and what they came to.
    Unicode(Purpose, u8, u16),
    /// In a number.
    Number,
    /// In `true`, `false` or `null`: what is due.
    Word(&'static [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Key,
    Value,
}

/// The reader of one answer.
pub(super) struct JsonReader {
    rules: Rules,
    all: Live,
    /// How much of a byte order mark was there; all of it, once something else was.
    bom: usize,
    levels: Vec<Level>,
    state: State,
    /// The rules that the value under way is for.
    wanted: Live,
    scalar: Scalar,
}

impl JsonReader {
    pub(super) fn by(rules: Rules) -> Self {
        let is_json = |rule: &Rule| matches!(rule.place, Place::Json(_));
        let all = (0..rules.len()).filter(|at| rules.get(*at).is_some_and(is_json));
        let all = Live(all.fold(0, |live, at| live | bit(at)));
        Self {
            rules,
            all,
            bom: 0,
            levels: Vec::new(),
            state: State::Value,
            wanted: Live::NONE,
            scalar: Scalar::default(),
        }
    }

    /// A piece of the answer.
    pub(super) fn hear(&mut self, piece: &[u8], gathered: &mut Gathered) -> Result<(), Unheard> {
        let mut rest = self.without_mark(piece)?;
        while let Some((&byte, after)) = rest.split_first() {
            if let State::Text(purpose) = self.state {
                let plain = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                let (run, special) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
                self.scalar.push_all(run);
                rest = special.get(1..).unwrap_or_default();
                match special.first() {
                    Some(b'"') => self.text_ends(purpose, gathered),
                    Some(_) => self.state = State::Escape(purpose),
                    None => {}
                }
            } else {
                rest = after;
                self.step(byte, gathered)?;
            }
        }
        Ok(())
    }

    /// There is no more.
    pub(super) fn end(&mut self, gathered: &mut Gathered) -> Result<(), Unheard> {
        if self.state == State::Number && self.levels.is_empty() {
            self.value_ends(gathered);
        }
        let is_whole = self.levels.is_empty()
            && matches!(self.state, State::Value | State::After)
            && matches!(self.bom, 0 | 3);
        is_whole.then_some(()).ok_or(Unheard::Malformed)
    }

    /// What follows a byte order mark.
    fn without_mark<'p>(&mut self, piece: &'p [u8]) -> Result<&'p [u8], Unheard> {
        let mut rest = piece;
        while let Some((first, after)) = rest.split_first()
            && BOM.get(self.bom) == Some(first)
        {
            self.bom = self.bom.saturating_add(1);
            rest = after;
        }
        match (rest.is_empty(), self.bom) {
            (true, _) => Ok(rest),
            (false, 0 | 3) => {
                self.bom = BOM.len();
                Ok(rest)
            }
            (false, _) => Err(Unheard::Malformed),
        }
    }

    /// A byte that is not plain text of a string.
    fn step(&mut self, byte: u8, gathered: &mut Gathered) -> Result<(), Unheard> {
        let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
            || (byte == 0x1e && self.levels.is_empty());
        match self.state {
            State::Text(purpose) | State::Escape(purpose) => return self.escaped(byte, purpose),
            State::Unicode(purpose, due, unit) => return self.unicode(byte, purpose, due, unit),
            State::Number if matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') => {
                self.scalar.push_all(&[byte]);
            }
            State::Number => {
                self.value_ends(gathered);
                return self.step(byte, gathered);
            }
            State::Word(due) => return self.word(byte, due),
            State::Value
            | State::FirstValue
            | State::FirstKey
            | State::Key
            | State::Colon
            | State::After
                if is_space => {}
            State::FirstValue if byte == b']' => self.close(),
            State::FirstKey if byte == b'}' => self.close(),
            State::FirstKey | State::Key => return self.key_begins(byte),
            State::Colon if byte == b':' => self.state = State::Value,
            State::Colon => return Err(Unheard::Malformed),
            State::Value | State::FirstValue => return self.value_begins(byte),
            State::After => return self.after(byte),
        }
        Ok(())
    }

    fn word(&mut self, byte: u8, due: &'static [u8]) -> Result<(), Unheard> {
        match due.split_first() {
            Some((next, due)) if *next == byte => {
                self.state = if due.is_empty() {
                    State::After
                } else {
                    State::Word(due)
                };
                Ok(())
            }
            Some(_) | None => Err(Unheard::Malformed),
        }
    }

    fn key_begins(&mut self, byte: u8) -> Result<(), Unheard> {
        if byte != b'"' {
            return Err(Unheard::Malformed);
        }
        let leads = match self.levels.last() {
            Some(Level::Object(live, _)) => !live.is_empty(),
            Some(Level::Array(..)) | None => false,
        };
        self.scalar.begin(leads);
        self.state = State::Text(Purpose::Key);
        Ok(())
    }

    fn value_begins(&mut self, byte: u8) -> Result<(), Unheard> {
        let depth = self.levels.len();
        let live = match self.levels.last() {
            None => self.all,
            Some(Level::Array(at, live)) => self.leading(*live, Step::Index(*at)),
            Some(Level::Object(_, due)) => *due,
        };
        self.wanted = live.only(|at| depth_of(&self.rules, at) == depth);
        let within = live.only(|at| depth_of(&self.rules, at) > depth);
        match byte {
            b'{' => {
                self.open(Level::Object(within, Live::NONE))?;
                self.state = State::FirstKey;
            }
            b'[' => {
                self.open(Level::Array(0, within))?;
                self.state = State::FirstValue;
            }
            b'"' => {
                self.scalar.begin(!self.wanted.is_empty());
                self.state = State::Text(Purpose::Value);
            }
            b'-' | b'0'..=b'9' => {
                self.scalar.begin(!self.wanted.is_empty());
                self.scalar.push_all(&[byte]);
                self.state = State::Number;
            }
            b't' => self.state = State::Word(b"rue"),
            b'f' => self.state = State::Word(b"alse"),
            b'n' => self.state = State::Word(b"ull"),
            _ => return Err(Unheard::Malformed),
        }
        Ok(())
    }

    fn open(&mut self, level: Level) -> Result<(), Unheard> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(Unheard::Memory);
        }
        self.levels.push(level);
        Ok(())
    }

    fn close(&mut self) {
        self.levels.pop();
        self.state = State::After;
    }

    fn after(&mut self, byte: u8) -> Result<(), Unheard> {
        match (self.levels.last_mut(), byte) {
            // Another document.
            (None, _) => return self.value_begins(byte),
            (Some(Level::Array(at, _)), b',') => {
                *at = at.saturating_add(1);
                self.state = State::Value;
            }
            (Some(Level::Object(..)), b',') => self.state = State::Key,
            (Some(Level::Array(..)), b']') | (Some(Level::Object(..)), b'}') => self.close(),
            (Some(_), _) => return Err(Unheard::Malformed),
        }
        Ok(())
    }

    fn text_ends(&mut self, purpose: Purpose, gathered: &mut Gathered) {
        match purpose {
            Purpose::Value => self.value_ends(gathered),
            Purpose::Key => {
                self.scalar.settle();
                let key = self.scalar.text().map_or(Step::Other, Step::Key);
                let due = match self.levels.last() {
                    Some(Level::Object(live, _)) if !live.is_empty() => self.leading(*live, key),
                    Some(_) | None => Live::NONE,
                };
                if let Some(Level::Object(_, newest)) = self.levels.last_mut() {
                    *newest = due;
                }
                self.state = State::Colon;
            }
        }
    }

    /// A string or a number is over.
    fn value_ends(&mut self, gathered: &mut Gathered) {
        self.state = State::After;
        if self.wanted.is_empty() {
            return;
        }
        self.scalar.settle();
        for at in self.wanted.each() {
            match self.scalar.text() {
                Some(text) => gathered.take(at, text),
                None => gathered.too_long(),
            }
        }
    }

    /// The rules among `live` that go on with this step from the level that is open.
    fn leading(&self, live: Live, step: Step<'_>) -> Live {
        let depth = self.levels.len().saturating_sub(1);
        live.only(|at| pointer(&self.rules, at).is_some_and(|pointer| pointer.leads(depth, step)))
    }

    fn escaped(&mut self, byte: u8, purpose: Purpose) -> Result<(), Unheard> {
        let plain: u8 = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.state = State::Unicode(purpose, 4, 0);
                return Ok(());
            }
            _ => return Err(Unheard::Malformed),
        };
        self.scalar.push_all(&[plain]);
        self.state = State::Text(purpose);
        Ok(())
    }

    fn unicode(&mut self, byte: u8, purpose: Purpose, due: u8, unit: u16) -> Result<(), Unheard> {
        let digit = char::from(byte).to_digit(16).ok_or(Unheard::Malformed)?;
        let unit = (unit << 4) | u16::try_from(digit).unwrap_or_default();
        self.state = match due {
            0 | 1 => {
                self.scalar.push_unit(unit);
                State::Text(purpose)
            }
            more => State::Unicode(purpose, more.saturating_sub(1), unit),
        };
        Ok(())
    }
}

fn pointer(rules: &[Rule], at: usize) -> Option<&Pointer> {
    match &rules.get(at)?.place {
        Place::Json(pointer) => Some(pointer),
        Place::Html(_) | Place::Csv(_) => None,
    }
}

fn depth_of(rules: &[Rule], at: usize) -> usize {
    pointer(rules, at).map_or(0, Pointer::depth)
}

#[cfg(test)]
mod tests;
