//! A Debian binary package, found through apt and unpacked without being
//! installed. Callers: the kernel recipes. apt brings trust (its signed lists
//! name the SHA-256 of every package); nothing is unpacked that differs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result};
use crate::tool::Tool;

/// One version of one package, as apt's lists describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Name, such as `linux-image-cloud-amd64`.
    pub name: String,
    /// Debian version, such as `6.1.192-2`.
    pub version: String,
    /// Names of the packages it depends on, versions left out.
    pub depends: Vec<String>,
    /// Download size in bytes.
    pub size: u64,
    sha256: String,
}

impl Package {
    /// The version of `name` that apt would install.
    ///
    /// Fills apt's lists when they know nothing of `name`, which takes root.
    pub fn candidate(name: &str) -> Result<Self> {
        if let Some(package) = Self::listed(name)? {
            return Ok(package);
        }
        log::info!("apt has no list with {name}: running apt-get update");
        Tool::new("apt-get", "apt")
            .args(["-q", "update"])
            .output()
            .map_err(|source| {
                Error::caused(
                    ErrorKind::Package,
                    "cannot fill apt's package lists (run as root: apt-get update)",
                    source,
                )
            })?;
        Self::listed(name)?.ok_or_else(|| {
            Error::new(
                ErrorKind::Package,
                format!("apt knows no package {name}: see /etc/apt/sources.list"),
            )
        })
    }

    fn listed(name: &str) -> Result<Option<Self>> {
        let shown = Tool::new("apt-cache", "apt")
            .args(["show", "--no-all-versions", name])
            .output();
        // A failure is a name apt does not know; were apt itself missing, the
        // caller's next step would say so.
        match shown {
            Ok(text) => Self::parse(&String::from_utf8_lossy(&text)).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Parses one stanza of `apt-cache show` (deb822, see deb822(5)).
    fn parse(stanza: &str) -> Result<Self> {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let needed = |name| {
            field(name).ok_or_else(|| {
                Error::new(
                    ErrorKind::Package,
                    format!("apt's description of a package lacks the field {name}"),
                )
            })
        };
        Ok(Self {
            name: needed("Package")?.to_owned(),
            version: needed("Version")?.to_owned(),
            depends: field("Depends")
                .unwrap_or_default()
                .split(',')
                .filter_map(|entry| entry.split_whitespace().next())
                .map(str::to_owned)
                .collect(),
            size: needed("Size")?.parse().map_err(|source| {
                Error::caused(ErrorKind::Package, "reading a package's size", source)
            })?,
            sha256: needed("SHA256")?.to_owned(),
        })
    }

    /// A cache key that names this version, such as `linux-doc_6.1-1`.
    pub fn key(&self) -> String {
        format!("{}_{}", self.name, self.version)
    }

    /// Downloads, checks and unpacks into `dir`, which must not exist.
    pub fn unpack_into(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(Error::file("creating", dir))?;
        let file = self.download_into(dir)?;
        log::info!("unpacking {}", self.key());
        Tool::new("dpkg-deb", "dpkg")
            .arg("-x")
            .arg(&file)
            .arg(dir)
            .output()?;
        fs::remove_file(&file).map_err(Error::file("removing", &file))
    }

    /// The package's tree, unpacked once and then kept in `cache`.
    pub fn unpacked(&self, cache: &Cache) -> Result<PathBuf> {
        cache.entry(&format!("packages/{}", self.key()), |dir| {
            self.unpack_into(dir)
        })
    }

    fn download_into(&self, dir: &Path) -> Result<PathBuf> {
        log::info!("downloading {} ({} MiB)", self.key(), self.size >> 20);
        Tool::new("apt-get", "apt")
            // apt's own sandbox user cannot write to a private directory.
            .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
            .arg(format!("{}={}", self.name, self.version))
            .dir(dir)
            .output()
            .map_err(|source| {
                let what = format!("downloading package {}", self.key());
                Error::caused(ErrorKind::Package, what, source)
            })?;
        let file = only_file(dir)?;
        let sum = Tool::new("sha256sum", "coreutils")
            .arg("--")
            .arg(&file)
            .output()?;
        if !sum.starts_with(self.sha256.as_bytes()) {
            return Err(Error::new(
                ErrorKind::Package,
                format!(
                    "{} is damaged: its SHA-256 is not apt's {}",
                    self.key(),
                    self.sha256
                ),
            ));
        }
        Ok(file)
    }
}

/// The one file in `dir`, whose name apt derives from the version.
fn only_file(dir: &Path) -> Result<PathBuf> {
    fs::read_dir(dir)
        .and_then(|mut entries| entries.next().transpose())
        .map_err(Error::file("listing", dir))?
        .map(|entry| entry.path())
        .ok_or_else(|| Error::new(ErrorKind::Package, "apt-get download left no file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZA: &str = "\
Package: linux-image-amd64
Source: linux-signed-amd64 (6.1.192+2)
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2), kmod | module-init-tools
Size: 1480
SHA256: 45457bcf
Description: Linux
";

    #[test]
    fn reads_a_stanza() {
        let package = Package::parse(STANZA).unwrap();
        assert_eq!(package.key(), "linux-image-amd64_6.1.192-2");
        assert_eq!(package.depends, ["linux-image-6.1.0-56-amd64", "kmod"]);
        assert_eq!((package.size, package.sha256.as_str()), (1480, "45457bcf"));
    }

    #[test]
    fn refuses_a_stanza_without_a_checksum() {
        let stanza = STANZA.replace("SHA256", "MD5sum");
        let error = Package::parse(&stanza).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Package);
        assert!(error.to_string().contains("SHA256"));
    }
}
