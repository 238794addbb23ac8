//! Text from elsewhere, fit for a terminal: what a VM process says may be
//! what its guest made it say.

/// `text` without control characters.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Lines of text without other control characters.
pub fn printable_lines(text: &str) -> String {
    text.chars()
        .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_meaning() {
        assert_eq!(printable("a\x1b[31mb\r\nc\u{9b}d"), "a[31mbcd");
        assert_eq!(printable_lines("a\x1b[2J\r\n\tb"), "a[2J\n\tb");
    }
}
