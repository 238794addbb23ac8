//! The taps that monitors' network interfaces are at, and the machine that has them.
//!
//! On this host that is a network namespace of the run's own, so that no tap, no
//! address and no rule of it is anybody else's, and all of it goes with the run. What
//! networks of plinth keep in `/run/netns` goes as well.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::report::Mode;
use crate::testbed::{BUSYBOX, Run, Testbed};

/// The tap of who has but one, and the MAC address of the interface at it.
pub(crate) const TAP: &str = "tap0";
pub(crate) const MAC: &str = "02:00:00:00:00:07";

/// A shell's words that make `taps` with `ip`, of iproute2, and go on if that
/// succeeded.
pub(crate) fn make(ip: &Path, taps: &[&str]) -> String {
    let ip = ip.display();
    let mut script = String::new();
    for tap in taps {
        write!(
            script,
            "{ip} tuntap add {tap} mode tap vnet_hdr && {ip} link set {tap} up && "
        )
        .expect("a String takes everything");
    }
    script
}

/// Has `run` be what `script` makes of it, in which it is `"$@"`, where there is `ip`,
/// and networks are its own.
pub(crate) fn among<'a>(
    testbed: &Testbed,
    run: &mut Run<'a>,
    ip: &'a Path,
    script: &str,
) -> Result<()> {
    let busybox = testbed.place(BUSYBOX, &testbed.busybox)?;
    let own = format!("mkdir -p /run/netns && {busybox} mount -t tmpfs none /run/netns || exit; ");
    let (before, own) = match testbed.mode {
        Mode::Deterministic => (&[][..], ""),
        Mode::WallClock => (&[busybox, "unshare", "-n", "-m"][..], own.as_str()),
    };
    let script = format!("{own}{script}");
    let words = [before, &[busybox, "sh", "-c", &script, "sh"]].concat();
    run.command
        .splice(..0, words.into_iter().map(str::to_owned));
    run.programs.push(ip);
    run.files
        .push((BUSYBOX.to_owned(), testbed.busybox.clone()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::nothing;

    fn among_taps(mode: Mode) -> Vec<String> {
        let testbed = Testbed {
            mode,
            busybox: "/somewhere/busybox".into(),
            ..nothing()
        };
        let mut run = Run {
            command: vec!["probe".to_owned()],
            ..Run::default()
        };
        among(&testbed, &mut run, Path::new("/sbin/ip"), "exec \"$@\"").unwrap();
        run.command
    }

    #[test]
    fn on_this_host_taps_are_in_a_namespace_of_the_run_s_own() {
        let machine = among_taps(Mode::Deterministic);
        let expected = [BUSYBOX, "sh", "-c", "exec \"$@\"", "sh", "probe"];
        assert_eq!(machine, expected);
        let here = among_taps(Mode::WallClock);
        let busybox = "/somewhere/busybox";
        assert_eq!(here[..6], [busybox, "unshare", "-n", "-m", busybox, "sh"]);
        assert!(here[7].ends_with(" || exit; exec \"$@\""), "{}", here[7]);
    }

    #[test]
    fn each_tap_is_made_before_what_follows() {
        let script = make(Path::new("ip"), &["a", "b"]);
        let expected = "ip tuntap add a mode tap vnet_hdr && ip link set a up && \
                        ip tuntap add b mode tap vnet_hdr && ip link set b up && ";
        assert_eq!(script, expected);
    }
}
