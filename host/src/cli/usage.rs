//! Wrong usage: clap's messages, with what the user typed cut to what a
//! terminal can show.
//!
//! They say the value before the reason, so that a value of a thousand
//! characters, or one that clears the screen, would hide it.

use clap::error::{ContextKind, ContextValue, Error};

/// Most characters of a value that are repeated.
const MAX: usize = 60;

/// Where clap keeps what was typed.
const TYPED: [ContextKind; 3] = [
    ContextKind::InvalidValue,
    ContextKind::InvalidArg,
    ContextKind::InvalidSubcommand,
];

/// The same error with a readable message.
pub(super) fn readable(mut error: Error) -> Error {
    for kind in TYPED {
        if let Some(ContextValue::String(typed)) = error.get(kind) {
            let short = shortened(typed);
            error.insert(kind, ContextValue::String(short));
        }
    }
    error
}

fn shortened(typed: &str) -> String {
    let mut shown = String::new();
    for (number, c) in typed.chars().enumerate() {
        if number == MAX {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_and_is_harmless_stays() {
        assert_eq!(shortened("512MB ü"), "512MB ü");
        assert_eq!(shortened("a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        let long = shortened(&"x".repeat(1000));
        assert_eq!(long, format!("{}…", "x".repeat(MAX)));
    }
}
