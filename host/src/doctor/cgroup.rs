//! Control groups, version 2: can a machine's CPU, memory and I/O be limited?

use std::fs;

use super::finding::Finding;

const NAME: &str = "cgroup v2";

/// Limits are set through these.
const WANTED: [&str; 3] = ["cpu", "memory", "io"];

/// Probes control groups.
pub fn probe() -> Finding {
    // Only the root of a version 2 hierarchy has this file
    // (Documentation/admin-guide/cgroup-v2.rst).
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    judge(controllers.ok().as_deref())
}

fn judge(controllers: Option<&str>) -> Finding {
    let Some(controllers) = controllers else {
        return Finding::warn(
            NAME,
            "not mounted at /sys/fs/cgroup: machines cannot be limited",
            "booting this host with systemd.unified_cgroup_hierarchy=1",
        );
    };
    let has = |name: &&str| controllers.split_ascii_whitespace().any(|c| c == *name);
    let lacking: Vec<&str> = WANTED.into_iter().filter(|name| !has(name)).collect();
    if lacking.is_empty() {
        return Finding::ok(NAME, format!("controllers {}", WANTED.join(", ")));
    }
    Finding::warn(
        NAME,
        format!("controllers missing: {}", lacking.join(", ")),
        "freeing them from version 1: cgroup_no_v1=all on this host's kernel command line",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn all_three_controllers_are_wanted() {
        assert_eq!(judge(Some("cpuset cpu io memory\n")).level, Level::Ok);
        let finding = judge(Some("cpuset memory"));
        assert_eq!(finding.level, Level::Warn);
        assert!(finding.detail.ends_with("cpu, io"));
        assert_eq!(judge(None).level, Level::Warn);
    }
}
