//! Words for a shell, so that a remedy can be pasted whatever a file is
//! called.

use std::path::Path;

/// `path` as one word of a shell's command: as it is where that is safe, and
/// in quotes where not (POSIX.1-2024, Shell Command Language §2.2.2, and
/// §2.2.4 for control characters).
pub fn quoted(path: &Path) -> String {
    word(&path.display().to_string())
}

/// `text` as one word, in the same way.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !text.is_empty() && !text.starts_with(['-', '=']) && text.chars().all(plain) {
        return text.to_owned();
    }
    // What begins with a dash would be taken for an option.
    let here = if text.starts_with('-') { "./" } else { "" };
    if text.chars().any(char::is_control) {
        return format!("$'{here}{}'", escaped(text));
    }
    format!("'{here}{}'", text.replace('\'', r"'\''"))
}

/// `text` between dollar-single-quotes: what a terminal would act on in octal.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '\'' | '\\' => format!("\\{c}"),
        c if c.is_control() => {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            bytes.map(|byte| format!("\\{byte:03o}")).collect()
        }
        c => c.into(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn a_harmless_path_is_left_alone() {
        for path in ["/a/b-c_d.img", "disk,x", "a+b@c%d:e=f"] {
            assert_eq!(quoted(Path::new(path)), path);
        }
        assert_eq!(quoted(Path::new("my disk")), "'my disk'");
        assert_eq!(quoted(Path::new("-rf")), "'./-rf'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
        assert_eq!(quoted(Path::new("a\x1b'\n")), r"$'a\033\'\012'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_shell_reads_back_the_same_word(path in "[^\\pC-][^\\pC]{0,20}") {
            let script = format!("printf %s {}", quoted(Path::new(&path)));
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
        }
    }
}
