//! Finds notes in what a syslog receiver wrote: each is one word of base64, whatever stands around it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A note in base64 is longer than any other word of such a line, and shorter than this.
const SHORTEST: usize = 128;
const LONGEST: usize = 24 * 1024;

/// The text, followed by the notes that stand in its lines.
#[must_use]
pub fn received(text: String) -> String {
    let mut found = String::new();
    for line in text.lines() {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
        for word in words.filter(|word| (SHORTEST..=LONGEST).contains(&word.len())) {
            let note = BASE64
                .decode(word)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .filter(|note| note.contains("\n\n\u{2014} "));
            if let Some(note) = note {
                found.extend(["\n\n", &note, "\n"]);
            }
        }
    }
    if found.is_empty() {
        text
    } else {
        text + &found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::{SigningKey, each_note};

    fn notes(text: &str) -> Vec<String> {
        let mut notes = Vec::new();
        each_note(text.as_bytes(), |note| notes.push(note.to_owned())).unwrap();
        notes
    }

    #[test]
    fn notes_are_found_among_whatever_a_receiver_writes() {
        let key = SigningKey::generate("hospital.example/gw").unwrap();
        let head = "A".repeat(44);
        let (one, two) = (
            key.sign(&format!("hospital.example/gw\n1\n{head}\n")),
            key.sign(&format!("hospital.example/gw\n2\n{head}\n")),
        );
        let log = format!(
            "<86>1 2026-03-01T10:00:00Z gw chartgate 7 checkpoint - {}\n\
             Mar  1 10:00:01 gw sshd[3]: something else\n\
             {{\"msgid\":\"checkpoint\",\"msg\":\"{}\"}}\n\
             Mar  1 10:00:02 gw chartgate: {}\n",
            BASE64.encode(&one),
            BASE64.encode(&two),
            "QUJD".repeat(60),
        );
        let found = notes(&received(log));
        assert!(found.contains(&one) && found.contains(&two), "{found:?}");
        // A file of checkpoints stays as it is.
        let file = format!("{one}\n{two}");
        assert_eq!(received(file.clone()), file);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_gone_through(text: String) {
            let _total = received(text);
        }
    }
}
