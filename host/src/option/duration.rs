//! How long to wait, as in `30s`, `500ms` or `2m`.

use std::time::Duration;

use super::Invalid;

/// Longest time that a command waits for a guest.
const MAX: Duration = Duration::from_secs(3600);

/// A time to wait: a whole number and ms, s, m or h, from 1 ms to 1 hour.
///
/// # Errors
/// It is no time, or out of these bounds.
pub fn deadline(text: &str) -> Result<Duration, Invalid> {
    let wrong = || Invalid::new("a time is a whole number and a unit, such as 500ms, 30s or 2m");
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.ok_or_else(wrong)?);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let time = Duration::from_millis(number.saturating_mul(unit));
    if time.is_zero() || time > MAX {
        return Err(Invalid::new("a time to wait is from 1ms to 1h"));
    }
    Ok(time)
}

/// A time as whole milliseconds, as the control socket has it.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A span of time for a person, in its two largest units.
pub fn for_a_person(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d {}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m {}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_unit_is_understood() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(deadline(text).unwrap(), Duration::from_millis(millis));
        }
    }

    #[test]
    fn what_is_no_time_is_explained() {
        for text in ["", "s", "30", "-1s", "1.5s", "30 s", "1d"] {
            let error = deadline(text).unwrap_err().to_string();
            assert!(error.contains("500ms, 30s or 2m"), "{text}: {error}");
        }
        for text in ["0s", "61m", "99999999999999999h"] {
            let error = deadline(text).unwrap_err().to_string();
            assert!(error.contains("1ms to 1h"), "{text}: {error}");
        }
    }

    #[test]
    fn spans_read_well() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 1s"),
            (7260, "2h 1m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(for_a_person(Duration::from_secs(seconds)), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9]{0,22}.{0,3}") {
            let _ = deadline(&text);
        }
    }
}
