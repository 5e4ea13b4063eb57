//! Comma-separated values (RFC 4180) that a spreadsheet cannot mistake for formulas.
//!
//! *Never*: a field that begins as a formula does, or a part of one behind `;` or a tab, which other spreadsheets take for the
//! end of a field. What would is led by an apostrophe, and so is what begins with one, so that taking one apostrophe away
//! from the beginning of the field and of each such part always gives the value back.

/// One line with its line end.
#[must_use]
pub fn line<T: AsRef<str>>(fields: impl IntoIterator<Item = T>) -> String {
    let mut line = String::new();
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        push(&mut line, field.as_ref());
    }
    line.push_str("\r\n");
    line
}

fn push(line: &mut String, field: &str) {
    let (guarded, is_guarded) = guarded(field);
    if !is_guarded && !field.contains([',', '"', '\r', '\n']) {
        line.push_str(field);
        return;
    }
    line.push('"');
    line.push_str(&guarded.replace('"', "\"\""));
    line.push('"');
}

/// The field with an apostrophe before what would run, and whether it has any.
fn guarded(field: &str) -> (String, bool) {
    // SECURITY: a user agent, path or user name that begins with `=` would run in the auditor's spreadsheet. Those of many
    // countries end a field at `;`, whatever the quotes say, and some at a tab.
    let mut text = String::with_capacity(field.len());
    let (mut begins, mut is_guarded) = (true, false);
    for c in field.chars() {
        if begins && matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\'') {
            text.push('\'');
            is_guarded = true;
        }
        text.push(c);
        begins = matches!(c, ';' | '\t');
    }
    (text, is_guarded)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads lines back, independent of how they are written.
    pub(crate) fn parse(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
        let mut chars = text.chars().peekable();
        let mut quoted = false;
        let bare = |field: &mut String| {
            let taken = std::mem::take(field);
            let parts = taken.split_inclusive([';', '\t']);
            let bare = parts.map(|part| part.strip_prefix('\'').unwrap_or(part));
            bare.collect::<String>()
        };
        while let Some(c) = chars.next() {
            match (quoted, c) {
                (true, '"') if chars.peek() == Some(&'"') => {
                    chars.next();
                    field.push('"');
                }
                (_, '"') => quoted = !quoted,
                (false, ',') => row.push(bare(&mut field)),
                (false, '\r') if chars.peek() == Some(&'\n') => {
                    chars.next();
                    row.push(bare(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                (_, c) => field.push(c),
            }
        }
        rows
    }

    #[test]
    fn formulas_are_disarmed() {
        let fields = [
            "=1+1",
            "+1",
            "-1",
            "@x",
            "'y",
            "\t=1",
            "/x;=1+1;",
            "a\t@b;'c",
            "4;5",
            "plain",
            "a,b",
            "say \"a\"",
        ];
        assert_eq!(
            line(fields),
            "\"'=1+1\",\"'+1\",\"'-1\",\"'@x\",\"''y\",\"'\t'=1\",\"/x;'=1+1;\",\"a\t'@b;''c\",4;5,plain,\"a,b\",\"say \"\"a\"\"\"\r\n"
        );
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(rows in prop::collection::vec(prop::collection::vec("(?s)[=+\\-@'\",;\r\n\ta-c]{0,6}|.{0,6}", 1..5), 1..5)) {
            let text: String = rows.iter().map(line).collect();
            prop_assert_eq!(parse(&text), rows.clone());
            for field in text.split([',', '\r', '\n']) {
                prop_assert!(!field.trim_start_matches('"').starts_with(['=', '@']) || text.contains('"'));
            }
        }
    }
}
