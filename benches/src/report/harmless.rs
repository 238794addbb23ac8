//! Text of others, consoles of guests among it, as it may be shown.

/// `text` whose lines end as files' do, and in which what else would control a terminal
/// is written out.
pub(super) fn harmless(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => harmless.push(character),
            other if other.is_control() => harmless.extend(other.escape_unicode()),
            other => harmless.push(other),
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_and_nothing_is_controlled() {
        let console = "panic:\r\n\tat\u{1b}[2J\u{9b}1m\u{7f}\0 é";
        let shown = "panic:\n\tat\\u{1b}[2J\\u{9b}1m\\u{7f}\\u{0} é";
        assert_eq!(harmless(console), shown);
    }
}
