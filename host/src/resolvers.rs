//! Who resolves names for this host (resolv.conf(5)).

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Who this host's programs ask.
const OWN: &str = "/etc/resolv.conf";
/// Who is asked in the end, where that is a program of this host
/// (systemd-resolved.service(8)).
const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

/// No more of them are asked (MAXNS).
const MOST: usize = 3;
/// Bytes of a file that are read.
const LONGEST: u64 = 64 << 10;

/// The resolvers of this host's programs.
pub fn of_this_host() -> Vec<IpAddr> {
    let found = named(Path::new(OWN));
    match found.is_empty() {
        // What resolv.conf(5) says holds then.
        true => vec![Ipv4Addr::LOCALHOST.into()],
        false => found,
    }
}

/// Those that others than this host's programs can ask, as far as is known.
pub fn of_others() -> Vec<IpAddr> {
    let reached = |path: &str| -> Vec<IpAddr> {
        let mut found = named(Path::new(path));
        found.retain(|address| !address.is_loopback());
        found
    };
    let own = reached(OWN);
    match own.is_empty() {
        true => reached(UPSTREAM),
        false => own,
    }
}

fn named(path: &Path) -> Vec<IpAddr> {
    let mut bytes = Vec::new();
    // A file that is not there names nobody.
    let _ = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    listed(&String::from_utf8_lossy(&bytes))
}

fn listed(text: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(str::split_whitespace);
    let servers = lines.filter_map(|mut words| match (words.next(), words.next()) {
        (Some("nameserver"), Some(address)) => address.parse().ok(),
        _ => None,
    });
    servers.take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_that_the_file_names() {
        let text = "# a comment\nsearch example.org\nnameserver 192.0.2.1\n\
                    nameserver\tfd00::1\noptions edns0\nnameserver x\nnameserver 192.0.2.2\n\
                    nameserver 192.0.2.3\n";
        let expected = ["192.0.2.1", "fd00::1", "192.0.2.2"];
        assert_eq!(
            listed(text),
            expected.map(|one| one.parse::<IpAddr>().unwrap())
        );
        assert!(listed("").is_empty());
    }
}
