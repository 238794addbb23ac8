//! Huge pages: transparent ones, and the reserved pools of 2 MiB and 1 GiB.

use std::fs;

use super::finding::Finding;

const NAME: &str = "huge pages";

/// A pool of reserved huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Pages that nobody uses.
    pub free: u64,
    /// All pages.
    pub total: u64,
}

/// The pool of pages of `size` bytes; none if the host knows no such size.
pub fn pool(size: u64) -> Option<Pool> {
    let directory = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", size >> 10);
    let number = |name| -> Option<u64> {
        let text = fs::read_to_string(format!("{directory}/{name}")).ok()?;
        text.trim().parse().ok()
    };
    Some(Pool {
        free: number("free_hugepages")?,
        total: number("nr_hugepages")?,
    })
}

/// Probes huge pages.
pub fn probe() -> Finding {
    let enabled = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    judge(
        mode(&enabled.unwrap_or_default()),
        pool(2 << 20),
        pool(1 << 30),
    )
}

/// The mode in brackets, as in `always [madvise] never`.
fn mode(enabled: &str) -> Option<&str> {
    let (_, rest) = enabled.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode)
}

fn judge(mode: Option<&str>, small: Option<Pool>, large: Option<Pool>) -> Finding {
    let reserved = |pool: Option<Pool>| match pool {
        Some(pool) => format!("{} of {} free", pool.free, pool.total),
        None => "not supported".into(),
    };
    let detail = format!(
        "transparent: {}; reserved 2 MiB pages: {}, 1 GiB pages: {}",
        mode.unwrap_or("not supported"),
        reserved(small),
        reserved(large)
    );
    match mode {
        Some("always" | "madvise") => Finding::ok(NAME, detail),
        _ => Finding::warn(
            NAME,
            detail,
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn the_mode_is_the_one_in_brackets() {
        assert_eq!(mode("always [madvise] never\n"), Some("madvise"));
        assert_eq!(mode("always"), None);
        assert_eq!(mode(""), None);
    }

    #[test]
    fn transparent_huge_pages_decide_and_the_pools_are_named() {
        let pool = Some(Pool { free: 3, total: 8 });
        let finding = judge(Some("madvise"), pool, None);
        assert_eq!(finding.level, Level::Ok);
        assert!(finding.detail.contains("2 MiB pages: 3 of 8 free"));
        assert!(finding.detail.contains("1 GiB pages: not supported"));
        assert_eq!(judge(Some("never"), pool, pool).level, Level::Warn);
        assert_eq!(judge(None, None, None).level, Level::Warn);
    }
}
