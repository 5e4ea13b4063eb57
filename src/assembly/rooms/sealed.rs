//! Sealed emergency accounts, as the status sees them.

use crate::admin::health::{Check, Status};
use crate::identity::emergency::operators::OperatorError;
use crate::operate::emergency::Condition;

/// How they stand.
pub(super) fn check(condition: Result<Condition, OperatorError>) -> Check {
    let list = "see `chartgate emergency-account list`";
    let (status, detail) = match condition {
        Err(error) => (Status::Amber, format!("cannot be read: {error}")),
        Ok(Condition { accounts: 0, .. }) => (
            Status::Amber,
            "none is sealed; see `chartgate emergency-account seal --help`".to_owned(),
        ),
        Ok(condition) if !condition.used.is_empty() => (
            Status::Red,
            format!(
                "used and to be sealed anew: {}; {list}",
                condition.used.join(", ")
            ),
        ),
        Ok(condition) if !condition.test_due.is_empty() => (
            Status::Amber,
            format!("test is due: {}; {list}", condition.test_due.join(", ")),
        ),
        Ok(condition) => {
            let next = condition.next_test.map_or_else(String::new, |at| {
                format!(", next test by {}", at.strftime("%Y-%m-%d"))
            });
            (
                Status::Green,
                format!("{} sealed{next}", condition.accounts),
            )
        }
    };
    Check::advisory("emergency-accounts", status, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_account_is_red_and_a_test_that_is_due_amber() {
        let of = |used: &[&str], due: &[&str], accounts| {
            let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
            let condition = Condition {
                accounts,
                used: names(used),
                test_due: names(due),
                next_test: "2027-05-01T00:00:00Z".parse().ok(),
            };
            let check = check(Ok(condition));
            (check.status, check.detail)
        };
        assert_eq!(of(&[], &[], 2).0, Status::Green);
        assert!(of(&[], &[], 2).1.contains("next test by 2027-05-01"));
        assert_eq!(of(&[], &[], 0).0, Status::Amber);
        let (status, detail) = of(&[], &["er-1"], 1);
        assert!(status == Status::Amber && detail.contains("er-1"));
        let (status, detail) = of(&["er-2"], &["er-1"], 2);
        assert!(status == Status::Red && detail.contains("er-2"));
    }
}
