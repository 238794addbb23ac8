//! nftables of a namespace, through the JSON interface of the program `nft`
//! (libnftables-json(5)).
//!
//! What is applied at once is one transaction: all of it comes into force at
//! the same moment, or none. The program is started as it is, without a shell,
//! by a thread that is in the namespace.

use std::io::{self, ErrorKind, Write};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::error::{KernelError, Refusal};
use super::namespace::Namespace;

/// By the search path, and where Debian has it: an ordinary user's path lacks
/// that.
const PROGRAMS: &[&str] = &["nft", "/usr/sbin/nft"];

/// What is kept of the program's message, in bytes.
const MOST_WORDS: usize = 1000;

/// What `nft` says where the kernel has no nftables.
const NO_NFTABLES: [&str; 2] = [
    "cache initialization failed",
    "Unable to initialize Netlink socket",
];

/// The packets that a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
    /// Those that go over a bridge.
    Bridge,
    /// Those that come in or go out by a certain link.
    Netdev,
}

impl TableFamily {
    /// The word for it in a ruleset.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }
}

/// Applies `ruleset`, an object whose `nftables` is a list of commands, in
/// `namespace`.
///
/// # Errors
/// [`KernelError::Refused`]: a command in it is wrong, or the kernel lacks what
/// a rule needs; nothing has changed. `nft`, nftables or the privilege is
/// missing.
pub fn apply(namespace: &Namespace, ruleset: &Value) -> Result<(), KernelError> {
    let task = || format!("{namespace}: nftables cannot be changed");
    if !ruleset["nftables"].is_array() {
        // The program takes some of these for nothing to do.
        return Err(KernelError::Refused {
            task: task(),
            says: "a ruleset is an object whose nftables is a list".into(),
        });
    }
    let input = ruleset.to_string().into_bytes();
    run(namespace, PROGRAMS, &["-j", "-f", "-"], &input, task).map(drop)
}

/// All tables of `namespace` and what is in them: an object whose `nftables` is a
/// list of objects, the first of which describes the program.
///
/// # Errors
/// `nft`, nftables or the privilege is missing.
pub fn ruleset(namespace: &Namespace) -> Result<Value, KernelError> {
    let task = || format!("{namespace}: nftables cannot be listed");
    let listed = run(namespace, PROGRAMS, &["-j", "list", "ruleset"], &[], task)?;
    serde_json::from_slice(&listed).map_err(|error| KernelError::Other {
        task: task(),
        source: error.into(),
    })
}

/// Deletes a table of `namespace` with all that is in it, if it is there.
///
/// # Errors
/// As [`apply`].
pub fn delete_table(
    namespace: &Namespace,
    family: TableFamily,
    name: &str,
) -> Result<(), KernelError> {
    let table = json!({"table": {"family": family.as_str(), "name": name}});
    // Adding what is there is no mistake; deleting what is not there is one.
    let commands = json!({"nftables": [{"add": &table}, {"delete": &table}]});
    apply(namespace, &commands)
}

/// What the first of `programs` that is there writes, when given `input`.
fn run(
    namespace: &Namespace,
    programs: &[&str],
    arguments: &[&str],
    input: &[u8],
    task: impl Fn() -> String,
) -> Result<Vec<u8>, KernelError> {
    let output = namespace.within(|| {
        let mut outputs = programs
            .iter()
            .map(|program| start(program, arguments, input));
        outputs.find(|output| !matches!(output, Err(e) if e.kind() == ErrorKind::NotFound))
    })?;
    match output {
        None => Err(KernelError::NoNft { task: task() }),
        Some(Err(error)) => Err(Refusal::from(error).at(task())),
        Some(Ok(output)) if output.status.success() => Ok(output.stdout),
        Some(Ok(output)) => Err(explain(&output, task())),
    }
}

/// Runs a program that is in this thread's namespace, to its end.
fn start(program: &str, arguments: &[&str], input: &[u8]) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        // Its messages are told apart below.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it is a pipe");
    thread::scope(|scope| {
        // One that ends before it has read all says why by itself.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    })
}

fn explain(output: &Output, task: String) -> KernelError {
    let says = String::from_utf8_lossy(&output.stderr);
    if says.contains("Operation not permitted") {
        return KernelError::NoPrivilege { task };
    }
    if NO_NFTABLES.iter().any(|words| says.contains(words)) {
        let feature = "nf_tables".into();
        return KernelError::NoSupport { task, feature };
    }
    let mut says = says.trim().to_owned();
    if says.is_empty() {
        says = format!("{} without a word", output.status);
    }
    if says.len() > MOST_WORDS {
        says.truncate(says.floor_char_boundary(MOST_WORDS));
        says += " ...";
    }
    KernelError::Refused { task, says }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Scratch;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const NOBODY: u32 = 65534;

    fn table(name: &str) -> Value {
        json!({"table": {"family": "inet", "name": name}})
    }

    fn chain(table: &str, name: &str) -> Value {
        json!({"chain": {"family": "inet", "table": table, "name": name}})
    }

    /// A rule that jumps to the chain `target`.
    fn jump(table: &str, chain: &str, target: &str) -> Value {
        json!({"rule": {
            "family": "inet", "table": table, "chain": chain,
            "expr": [{"jump": {"target": target}}],
        }})
    }

    fn commands(added: &[Value]) -> Value {
        let commands: Vec<Value> = added.iter().map(|what| json!({"add": what})).collect();
        json!({"nftables": commands})
    }

    /// Of each object of the ruleset its kind and name.
    fn names(namespace: &Namespace) -> Vec<(String, String)> {
        let ruleset = ruleset(namespace).unwrap();
        let objects = ruleset["nftables"].as_array().unwrap();
        let kinds = objects
            .iter()
            .flat_map(|object| object.as_object().unwrap());
        kinds
            .filter(|(kind, _)| *kind != "metainfo")
            .map(|(kind, object)| {
                let name = object["name"].as_str().unwrap_or_default();
                (kind.clone(), name.to_owned())
            })
            .collect()
    }

    #[test]
    fn a_transaction_with_one_wrong_rule_changes_nothing() {
        let scratch = Scratch::new();
        let right = [table("a"), chain("a", "one"), chain("a", "two")];
        apply(&scratch, &commands(&right)).unwrap();
        let before = ruleset(&scratch).unwrap();
        let wrong = [
            table("b"),
            chain("a", "three"),
            jump("a", "one", "three"),
            jump("a", "one", "no-such-chain"),
            chain("a", "four"),
        ];
        let refused = apply(&scratch, &commands(&wrong)).unwrap_err();
        let KernelError::Refused { says, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert!(says.contains("Error"), "{says}");
        assert_eq!(ruleset(&scratch).unwrap(), before);
        // Without it, all of the rest is done.
        let rest: Vec<Value> = wrong
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != 3)
            .map(|(_, w)| w.clone())
            .collect();
        apply(&scratch, &commands(&rest)).unwrap();
        let after = names(&scratch);
        for (kind, name) in [("table", "b"), ("chain", "four"), ("rule", "")] {
            assert!(after.contains(&(kind.into(), name.into())), "{after:?}");
        }
    }

    #[test]
    fn a_table_is_deleted_whether_or_not_it_is_there() {
        let scratch = Scratch::new();
        apply(
            &scratch,
            &commands(&[table("a"), table("b"), chain("a", "c")]),
        )
        .unwrap();
        for _ in 0..2 {
            delete_table(&scratch, TableFamily::Inet, "a").unwrap();
            assert_eq!(names(&scratch), [("table".into(), "b".into())]);
        }
        // Other namespaces are none of its business.
        assert_eq!(names(&Scratch::new()), []);
    }

    #[test]
    fn what_is_no_ruleset_is_refused_in_few_words() {
        let scratch = Scratch::new();
        let long = "x".repeat(100_000);
        for wrong in [
            json!(7),
            json!({}),
            json!({"nftables": 7}),
            json!({"nftables": [{"add": {"table": {}}}]}),
            json!({"nftables": [{ long: 1 }]}),
        ] {
            let refused = apply(&scratch, &wrong).unwrap_err();
            let KernelError::Refused { says, .. } = &refused else {
                panic!("{refused:?}");
            };
            assert!(says.len() < MOST_WORDS + 10, "{} bytes", says.len());
        }
        assert_eq!(names(&scratch), []);
    }

    #[test]
    fn a_large_ruleset_goes_through() {
        let scratch = Scratch::new();
        let mut large = vec![table("a")];
        large.extend((0..3000).map(|number| chain("a", &format!("chain-{number}"))));
        apply(&scratch, &commands(&large)).unwrap();
        assert_eq!(names(&scratch).len(), large.len());
    }

    #[test]
    fn a_missing_program_is_said_to_be_missing() {
        let scratch = Scratch::new();
        let task = || "a ruleset".to_owned();
        let missing = run(&scratch, &["/no/nft", "no-nft"], &[], &[], task).unwrap_err();
        assert!(
            missing.to_string().contains("package nftables"),
            "{missing}"
        );
    }

    #[test]
    fn a_user_without_privilege_is_told_so() {
        let mut command = Command::new("/usr/sbin/nft");
        let refused = command.args(["list", "ruleset"]).uid(NOBODY).output();
        let refused = refused.expect("this test runs nft, from the package nftables");
        let error = explain(&refused, "a ruleset".into());
        assert!(
            matches!(error, KernelError::NoPrivilege { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn a_kernel_without_nftables_is_told_from_a_wrong_rule() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("nft");
        let says = |words: &str| {
            let script = format!("#!/bin/sh\necho '{words}' >&2\nexit 1\n");
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let output = start(program.to_str().unwrap(), &[], &[0; 100_000]).unwrap();
            explain(&output, "a ruleset".into())
        };
        let error =
            says("../src/mnl.c:60: Unable to initialize Netlink socket: Protocol not supported");
        assert!(error.to_string().contains("no nf_tables"), "{error}");
        let error = says("netlink: Error: cache initialization failed: Operation not permitted");
        assert!(
            matches!(error, KernelError::NoPrivilege { .. }),
            "{error:?}"
        );
        let error = says("Error: syntax error");
        assert!(matches!(error, KernelError::Refused { .. }), "{error:?}");
        assert!(says("").to_string().contains("without a word"));
    }
}
