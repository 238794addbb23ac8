//! plinth on a virtual network of its own: the guest, and another one that serves
//! it, each at a port, with security groups in between.

use anyhow::{Context, Result};

use super::plinth::{self, busybox, environment, run, vmm};
use super::{Aspect, Guest, Launch, Peer, argv};

pub(super) const PEER: Peer = Peer {
    name: "plinth-vpc",
    aspects: &[Aspect::Network],
    settings: "plinth run --net VPC/SUBNET --on-reset stop; another guest serves, in a group with one rule",
    launch: |guest| launch(guest, 1),
    ..plinth::PEER
};

pub(super) const RULES: Peer = Peer {
    name: "plinth-vpc-60",
    settings: "the same; the group has 60 rules, as many as it may",
    launch: |guest| launch(guest, 60),
    ..PEER
};

/// What addresses the network has.
const CIDR: &str = "192.0.2.0/24";

/// Makes a network in whose group `server` are `rules` rules, one of which lets the
/// guest in, and runs in it the server, which goes with the guest, and the guest.
fn launch(guest: &Guest<'_>, rules: u32) -> Result<Launch> {
    let end = guest.other_end.as_ref();
    let end = end.context("a network is measured with another end")?;
    let [own, other] = end.addresses;
    let net = format!("bench/front,ip={other},security-group=server");
    let server = Guest {
        command_line: end.server.to_owned(),
        ..guest.clone()
    };
    let server = quoted(&run(&server, "pci", ["--net", &net]));
    let program = guest.program;
    let script = format!(
        "umask 077; g='{program} security-group'; \
         {program} vpc create bench --cidr {CIDR} >/dev/null && \
         {program} subnet create bench/front --cidr {CIDR} >/dev/null && \
         $g create bench/server >/dev/null && \
         $g authorize bench/server all --group default || exit; \
         n=1; while [ $n -lt {rules} ]; do \
         $g authorize bench/server tcp:$((6000+n)) --cidr 198.51.100.$n/32 || exit; n=$((n+1)); \
         done; {server} </dev/null >/dev/null & s=$!; \
         \"$@\"; e=$?; kill $s; wait; exit $e"
    );
    let net = format!("bench/front,ip={own}");
    let mut argv = argv([guest.busybox, "sh", "-c", &script, "sh"]);
    argv.extend(run(guest, "pci", ["--net", &net]));
    Ok(Launch {
        argv,
        files: vec![vmm(guest), busybox(guest)],
        environment: environment(guest),
    })
}

/// As a shell takes it for these words.
fn quoted(words: &[String]) -> String {
    let quoted = |word: &String| format!("'{}'", word.replace('\'', "'\\''"));
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_the_words_that_were_quoted() {
        let words = ["a b", "it's", "$HOME", "x;y"].map(str::to_owned);
        let script = format!("printf '%s|' {}", quoted(&words));
        let said = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(said.stdout, b"a b|it's|$HOME|x;y|");
    }
}
