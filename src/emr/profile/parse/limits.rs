//! Sizes and durations as a profile writes them: `64KiB`, `30s`.

use std::time::Duration;

/// Reads `512`, `64KiB`, `8MiB`, `2GiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Reads `500ms`, `30s`, `5m`.
pub(in super::super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations() {
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("2 GiB"), Some(2 << 30));
        assert_eq!(bytes("7"), Some(7));
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Some(Duration::from_mins(5)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for bad in [
            "",
            "KiB",
            "-1B",
            "1.5MiB",
            "1kb",
            "99999999999999999999B",
            "20000000000GiB",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(duration("5"), None);
    }
}
