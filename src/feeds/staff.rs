//! Who the doctors and wards of an ADT export are among the users: a CSV file (`kind,code,user`).
//!
//! *Never*: half a file.

use std::collections::HashMap;

/// The first line.
const HEAD: &str = "kind,code,user";
/// Most lines, and most bytes of a field.
const MOST: usize = 500_000;
const LONGEST: usize = 256;

/// Doctors and wards, with their users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Staff {
    doctors: HashMap<String, String>,
    wards: Vec<(String, String)>,
}

impl Staff {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong, with the line: nothing of what the line says.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, head)| head.trim() != HEAD) {
            return Err(format!("line 1: the first line must be `{HEAD}`"));
        }
        let mut staff = Self::default();
        for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let number = at.saturating_add(1);
            if number > MOST {
                return Err(format!("there are more than {MOST} lines"));
            }
            staff
                .row(line)
                .map_err(|problem| format!("line {number}: {problem}"))?;
        }
        Ok(staff)
    }

    fn row(&mut self, line: &str) -> Result<(), &'static str> {
        let mut fields = line.split(',').map(str::trim);
        let (Some(kind), Some(code), Some(user), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("there must be three fields");
        };
        let is_fit = |field: &str| {
            (1..=LONGEST).contains(&field.len())
                && !field.chars().any(|c| c.is_control() || c == '"')
        };
        if !is_fit(code) || !is_fit(user) {
            return Err("code or user is empty, too long or quoted");
        }
        match kind {
            "doctor" => {
                let known = self.doctors.insert(code.to_owned(), user.to_owned());
                if known.is_some_and(|known| known != user) {
                    return Err("this doctor is another user already");
                }
            }
            "ward" => self.wards.push((code.to_owned(), user.to_owned())),
            _ => return Err("the kind must be `doctor` or `ward`"),
        }
        Ok(())
    }

    /// The user who is the doctor of this number.
    pub(super) fn doctor(&self, number: &str) -> Option<&str> {
        self.doctors.get(number).map(String::as_str)
    }

    /// Wards with who works there.
    pub(super) fn wards(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.wards.iter();
        pairs.map(|(ward, user)| (ward.as_str(), user.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doctors_and_wards_have_users_and_what_is_wrong_is_named_by_its_line() {
        let staff =
            Staff::read("kind,code,user\r\ndoctor,0815,dr.grey\r\nward,icu,a\nward,icu,b\n")
                .unwrap();
        assert_eq!(staff.doctor("0815"), Some("dr.grey"));
        assert_eq!(staff.doctor("0816"), None);
        assert_eq!(staff.wards().count(), 2);
        for (text, problem) in [
            ("", "line 1"),
            ("kind,code,user\nnurse,1,secret\n", "line 2: the kind"),
            ("kind,code,user\ndoctor,1\n", "line 2: there must be three"),
            ("kind,code,user\ndoctor,,secret\n", "line 2: code or user"),
            (
                "kind,code,user\ndoctor,1,a\ndoctor,1,secret\n",
                "line 3: this doctor",
            ),
        ] {
            let said = Staff::read(text).unwrap_err();
            assert!(
                said.starts_with(problem) && !said.contains("secret"),
                "{said}"
            );
        }
    }
}
