//! Packages of another of Debian's suites than the machine's own, through apt
//! with package lists of their own: the machine's are not ours to change.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::tool::Tool;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What apt knows of a suite.
#[derive(Debug)]
pub(super) struct Suite {
    work: PathBuf,
    kind: &'static str,
    name: &'static str,
}

impl Suite {
    /// Fetches the lists of `name`, of sources for the kind `deb-src` and of
    /// binaries for `deb`, into `work`, which gets the packages as well.
    pub(super) fn fetch(work: &Path, kind: &'static str, name: &'static str) -> Result<Self> {
        let suite = Self {
            work: work.to_owned(),
            kind,
            name,
        };
        let partial = suite.lists().join("partial");
        fs::create_dir_all(&partial).map_err(Error::file("creating", &partial))?;
        let sources = suite.sources();
        let line =
            format!("{kind} [signed-by={KEYRING}] http://deb.debian.org/debian {name} main\n");
        fs::write(&sources, line).map_err(Error::file("writing", &sources))?;
        suite.apt(&["update"])?;
        Ok(suite)
    }

    /// Runs apt-get in the directory of the packages.
    pub(super) fn apt(&self, words: &[&str]) -> Result<()> {
        Tool::new("apt-get", "apt")
            .args(["-q", "-o", "APT::Sandbox::User=root"])
            .args(["-o", "APT::Update::Error-Mode=any"])
            .args(["-o", "Dir::Cache::pkgcache="])
            .args(["-o", "Dir::Cache::srcpkgcache="])
            .args(["-o", "Dir::Etc::sourceparts=-", "-o"])
            .arg(format!("Dir::Etc::sourcelist={}", self.sources().display()))
            .arg("-o")
            .arg(format!("Dir::State::lists={}", self.lists().display()))
            .args(words)
            .dir(&self.work)
            .output()
            .map(drop)
            .map_err(|error| {
                let what = format!(
                    "cannot fetch {} {} from deb.debian.org",
                    self.kind, self.name
                );
                Error::caused(ErrorKind::Package, what, error)
            })
    }

    /// The files with this extension that apt left.
    pub(super) fn files(&self, extension: &str) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.work).map_err(Error::file("listing", &self.work))?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect();
        files.sort();
        Ok(files)
    }

    fn sources(&self) -> PathBuf {
        self.work.join("sources.list")
    }

    fn lists(&self) -> PathBuf {
        self.work.join("lists")
    }
}
