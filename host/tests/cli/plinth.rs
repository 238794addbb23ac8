//! Runs the built `plinth` and looks at what it says.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::machine::{DATA, RUNTIME};

/// What a run of `plinth` left.
pub(crate) struct Run {
    /// The exit status.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Run {
    /// Asserts a refusal with this status whose message holds all of `parts`.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "no '{part}' in: {}", self.err);
        }
    }
}

/// Runs `plinth` with `arguments`, and with a VM process that does nothing.
pub(crate) fn plinth<S: AsRef<OsStr>>(arguments: &[S]) -> Run {
    let machines = tempfile::tempdir().unwrap();
    plinth_in(machines.path(), arguments)
}

/// The same, with the runtime directories of machines, and volumes, below
/// `machines`.
pub(crate) fn plinth_in<S: AsRef<OsStr>>(machines: &Path, arguments: &[S]) -> Run {
    plinth_with(machines, arguments, b"")
}

/// The same, with `input` in a pipe.
pub(crate) fn plinth_with<S: AsRef<OsStr>>(machines: &Path, arguments: &[S], input: &[u8]) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_plinth"))
        .args(arguments)
        .env("PLINTH_VMM", "/bin/true")
        .env("PLINTH_RUNTIME_DIR", machines.join(RUNTIME))
        .env("PLINTH_DATA_DIR", machines.join(DATA))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Few commands read any, and those that do not may have ended.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    Run {
        code: status.code().expect("plinth was killed by a signal"),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// A directory of the test's own, with a file that passes for a kernel.
pub(crate) struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let fixture = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::write(fixture.path("kernel"), kernel()).unwrap();
        fixture
    }

    /// The path of `name` in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file of `size` zero bytes and says its path as text.
    pub(crate) fn file(&self, name: &str, size: u64) -> String {
        let path = self.path(name);
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(size).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `plinth run` with the kernel and `arguments`, without a console.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.run_on("none", arguments)
    }

    /// `plinth run` with the kernel, `console` and `arguments`.
    pub(crate) fn run_on(&self, console: &str, arguments: &[&str]) -> Run {
        let kernel = self.path("kernel");
        let kernel = kernel.to_str().unwrap();
        let common = ["run", "--kernel", kernel, "--console", console];
        plinth(&[&common, arguments].concat())
    }
}

/// The smallest file that can be booted: an x86_64 ELF with one segment at
/// 16 MiB (ELF-64 Object File Format 1.5, headers and program headers).
fn kernel() -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    const ADDRESS: u64 = 16 << 20;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);

    for half in [2u16, 62, 1, 0] {
        file.extend(half.to_le_bytes()); // executable, x86_64, version 1
    }
    for word in [ADDRESS, 64, 0] {
        file.extend(word.to_le_bytes()); // entry, program headers, no sections
    }
    file.extend([0; 4]); // flags
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes()); // header sizes and counts
    }
    for word in [1u32, 5] {
        file.extend(word.to_le_bytes()); // loadable, readable and executable
    }
    for word in [HEADERS, ADDRESS, ADDRESS, 4096, 4096, 4096] {
        file.extend(word.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    file.resize(file.len() + 4096, 0xf4); // hlt
    file
}
