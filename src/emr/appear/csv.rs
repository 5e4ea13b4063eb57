//! Hears CSV (RFC 4180) as it passes: the columns that a heading names.
//!
//! *Owns*: one field of at most [`LONGEST`] bytes, and where the columns are.
//! Fields are separated by commas, semicolons or tabs, whichever comes first in the heading.

use super::Rules;
use super::gathered::Gathered;
use super::rule::{LONGEST, Place};
use crate::request::appeared::Unheard;

/// A byte order mark, which spreadsheets want before a file in UTF-8.
const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of the field has come.
    Begins,
    /// In a field without quotes, or behind them.
    Plain,
    /// Within quotes.
    Quoted,
    /// At a quote within quotes: the first of two, or the last.
    Quote,
}

/// The reader of one answer.
pub(super) struct CsvReader {
    rules: Rules,
    bom: usize,
    state: State,
    field: Vec<u8>,
    too_long: bool,
    /// The position of the field in its row.
    column: usize,
    /// What separates fields, once it is known.
    separator: Option<u8>,
    /// By column and rule; none before the heading is over.
    columns: Option<Vec<(usize, usize)>>,
    heading: Vec<(usize, usize)>,
}

impl CsvReader {
    pub(super) const fn by(rules: Rules) -> Self {
        Self {
            rules,
            bom: 0,
            state: State::Begins,
            field: Vec::new(),
            too_long: false,
            column: 0,
            separator: None,
            columns: None,
            heading: Vec::new(),
        }
    }

    /// A piece of the answer.
    pub(super) fn hear(&mut self, piece: &[u8], gathered: &mut Gathered) -> Result<(), Unheard> {
        for byte in piece {
            if BOM.get(self.bom) == Some(byte) {
                self.bom = self.bom.saturating_add(1);
                continue;
            }
            self.bom = BOM.len();
            self.step(*byte, gathered)?;
        }
        Ok(())
    }

    /// There is no more.
    pub(super) fn end(&mut self, gathered: &mut Gathered) -> Result<(), Unheard> {
        if self.state == State::Quoted {
            return Err(Unheard::Malformed);
        }
        if self.state != State::Begins || self.column > 0 {
            self.row_ends(gathered)?;
        }
        Ok(())
    }

    fn step(&mut self, byte: u8, gathered: &mut Gathered) -> Result<(), Unheard> {
        match (self.state, byte) {
            (State::Quoted, b'"') => self.state = State::Quote,
            (State::Quoted, _) => self.push(byte),
            (State::Quote, b'"') => {
                self.push(byte);
                self.state = State::Quoted;
            }
            (State::Begins, b'"') => self.state = State::Quoted,
            (State::Begins | State::Plain | State::Quote, b'\r' | b'\n') => {
                return self.row_ends(gathered);
            }
            (State::Begins | State::Plain | State::Quote, _) if self.separates(byte) => {
                self.field_ends(gathered);
            }
            (State::Begins | State::Plain | State::Quote, _) => {
                self.push(byte);
                self.state = State::Plain;
            }
        }
        Ok(())
    }

    fn separates(&mut self, byte: u8) -> bool {
        if self.separator.is_none() && matches!(byte, b',' | b';' | b'\t') {
            self.separator = Some(byte);
        }
        self.separator == Some(byte)
    }

    fn push(&mut self, byte: u8) {
        let is_wanted = self
            .columns
            .as_ref()
            .is_none_or(|columns| columns.iter().any(|(column, _)| *column == self.column));
        if !is_wanted {
            return;
        }
        if self.field.len() < LONGEST {
            self.field.push(byte);
        } else {
            self.too_long = true;
        }
    }

    fn field_ends(&mut self, gathered: &mut Gathered) {
        let text = std::str::from_utf8(&self.field)
            .ok()
            .filter(|_| !self.too_long);
        if let Some(columns) = &self.columns {
            for (_, rule) in columns.iter().filter(|(column, _)| *column == self.column) {
                match text {
                    Some(text) => gathered.take(*rule, text),
                    None => gathered.too_long(),
                }
            }
        } else {
            let named = |place: &Place| match place {
                Place::Csv(name) => text.is_some_and(|text| text.trim() == name),
                Place::Json(_) | Place::Html(_) => false,
            };
            let here = self.rules.iter().enumerate();
            let here = here.filter(|(_, rule)| named(&rule.place));
            self.heading
                .extend(here.map(|(rule, _)| (self.column, rule)));
        }
        self.field.clear();
        self.too_long = false;
        self.column = self.column.saturating_add(1);
        self.state = State::Begins;
    }

    /// A row is over. Empty ones, as between the two bytes of a line end, name nobody.
    fn row_ends(&mut self, gathered: &mut Gathered) -> Result<(), Unheard> {
        let is_empty = self.state == State::Begins && self.column == 0;
        if is_empty {
            return Ok(());
        }
        self.field_ends(gathered);
        self.column = 0;
        if self.columns.is_none() {
            if self.heading.is_empty() {
                return Err(Unheard::Heading);
            }
            self.columns = Some(std::mem::take(&mut self.heading));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::rule;
    use super::*;
    use proptest::prelude::*;

    fn heard(columns: &[&str], pieces: &[&[u8]]) -> (Vec<String>, Option<Unheard>) {
        let rules = columns.iter().map(|name| rule(Place::Csv((*name).into())));
        let rules: Rules = rules.collect();
        let mut gathered = Gathered::by(rules.clone());
        let mut reader = CsvReader::by(rules);
        let heard = pieces
            .iter()
            .try_for_each(|piece| reader.hear(piece, &mut gathered));
        let ended = heard.and_then(|()| reader.end(&mut gathered));
        let appeared = gathered.appeared(ended.err());
        let ids = appeared.patients.into_iter().map(|p| p.id).collect();
        (ids, appeared.unknown)
    }

    fn whole(text: &str) -> (Vec<String>, Option<Unheard>) {
        heard(&["MRN"], &[text.as_bytes()])
    }

    #[test]
    fn the_column_is_found_by_its_name_in_every_style() {
        for text in [
            "name,MRN,born\r\nA,1,x\r\nB,2,y\r\n",
            "\u{feff}MRN\n1\n2",
            "MRN;name\r1;\"A,B\"\r2;\"C\"\"D\"\"\r\nE\"",
            "\"name\"\t\"MRN\"\n\"A\t\r\n3\"\t\"1\"\n\n\nB\t 2 \n",
            "name, MRN \nA,1\nB,2,3\nC\n",
        ] {
            assert_eq!(whole(text), (vec!["1".into(), "2".into()], None), "{text}");
        }
        let both = heard(&["MRN", "mother"], &[b"mother,MRN\n1,2\n,3\n"]);
        assert_eq!(both.0, ["1", "2", "3"]);
    }

    #[test]
    fn what_is_no_such_file_is_said() {
        assert_eq!(whole("a,b\n1,2\n"), (vec![], Some(Unheard::Heading)));
        assert_eq!(whole("mrn\n1\n"), (vec![], Some(Unheard::Heading)));
        assert_eq!(
            whole("MRN\n1\n\"2"),
            (vec!["1".into()], Some(Unheard::Malformed))
        );
        assert_eq!(whole("MRN\n\n"), (vec![], None));
        let long = format!("MRN\n{}\n7\n", "1".repeat(LONGEST + 1));
        assert_eq!(whole(&long), (vec!["7".into()], Some(Unheard::Misfit)));
    }

    proptest! {
        #[test]
        fn it_is_the_same_in_any_pieces(
            rows in prop::collection::vec(("[a-z\",;\r\n]{0,6}", 0_u32..1000), 0..12),
            cut in 1_usize..9,
        ) {
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let lines = rows.iter().map(|(name, id)| format!("{},{id}\r\n", quoted(name)));
            let text = format!("name,MRN\r\n{}", lines.collect::<String>());
            let mut expected: Vec<String> = Vec::new();
            for (_, id) in &rows {
                if !expected.contains(&id.to_string()) {
                    expected.push(id.to_string());
                }
            }
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            prop_assert_eq!(heard(&["MRN"], &pieces), (expected, None));
        }

        #[test]
        fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 1_usize..9) {
            let mut text = b"x,MRN\n".to_vec();
            text.extend(bytes);
            let pieces: Vec<&[u8]> = text.chunks(cut).collect();
            prop_assert_eq!(heard(&["MRN"], &pieces), heard(&["MRN"], &[&text]));
        }
    }
}
