//! Words for a shell, so that a remedy can be pasted whatever a file is
//! called.

use std::path::Path;

/// `path` as one word of a shell's command: as it is where that is safe, and
/// in quotes where not (POSIX.1-2017, Shell Command Language §2.2.2).
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !text.is_empty() && !text.starts_with(['-', '=']) && text.chars().all(plain) {
        return text;
    }
    // What begins with a dash would be taken for an option.
    let here = if text.starts_with('-') { "./" } else { "" };
    format!("'{here}{}'", text.replace('\'', r"'\''"))
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
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_shell_reads_back_the_same_word(path in "[^\0-]{1,20}") {
            let script = format!("printf %s {}", quoted(Path::new(&path)));
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
        }
    }
}
