//! Runs the built `plinth` and looks at what it says.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// What a run of `plinth` left.
pub struct Run {
    /// The exit status.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Run {
    /// Asserts a refusal with this status whose message holds all of `parts`.
    #[track_caller]
    pub fn refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "no '{part}' in: {}", self.err);
        }
    }
}

/// Runs `plinth` with `arguments`.
pub fn plinth<S: AsRef<OsStr>>(arguments: &[S]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_plinth"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
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
pub struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let fixture = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fixture.file("kernel", 4096);
        fixture
    }

    /// The path of `name` in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file of `size` zero bytes and says its path as text.
    pub fn file(&self, name: &str, size: u64) -> String {
        let path = self.path(name);
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(size).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `plinth run` with the kernel and `arguments`.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let kernel = self.path("kernel");
        let kernel = kernel.to_str().unwrap();
        plinth(&[&["run", "--kernel", kernel, "--console", "none"], arguments].concat())
    }
}
