//! What kind of file system a directory is on.

use std::fs;
use std::path::Path;

/// Its name, as mount(8) has it; `None` where that cannot be told.
pub(crate) fn kind(directory: &Path) -> Option<String> {
    let directory = fs::canonicalize(directory).ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    nearest(&mounts, &directory).map(str::to_owned)
}

/// Of the mount that `path` is below, the last of them that covers the others
/// (proc_pid_mountinfo(5)).
fn nearest<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mut nearest = None;
    for line in mounts.lines() {
        let point = Path::new(line.split(' ').nth(4)?);
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        let depth = point.components().count();
        if path.starts_with(point) && nearest.is_none_or(|(deepest, _)| depth >= deepest) {
            nearest = Some((depth, kind));
        }
    }
    nearest.map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
22 21 0:5 / /dev rw - devtmpfs udev rw
23 21 254:2 / /srv rw,noatime shared:5 master:2 - btrfs /dev/vdb rw
24 23 0:44 / /srv rw - xfs /dev/vdc rw
";

    #[test]
    fn the_nearest_mount_and_of_those_the_last_is_meant() {
        let kind = |path: &str| nearest(MOUNTS, Path::new(path));
        assert_eq!(kind("/tmp/x"), Some("ext4"));
        assert_eq!(kind("/srv/images"), Some("xfs"));
        assert_eq!(kind("/srvs"), Some("ext4"));
    }
}
