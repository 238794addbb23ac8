//! A kernel's module tree, and the order in which modules must be loaded.
//!
//! Reads what depmod wrote (`modules.dep`, see modules.dep(5)) next to the
//! modules. Soft dependencies are not followed: a caller that needs one (ext4
//! wants `crc32c_generic`) names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::tool::Tool;

/// The directory `lib/modules/VERSION` of one kernel.
#[derive(Debug)]
pub struct ModuleTree {
    root: PathBuf,
    /// By name: the file, and the files it needs, both relative to `root`.
    loadable: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
}

/// One module file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Name as the kernel spells it, with underscores.
    pub name: String,
    /// The file, possibly compressed.
    pub path: PathBuf,
}

impl ModuleTree {
    /// Reads the tree at `root`, a directory `lib/modules/VERSION`.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let read = |name| {
            let path = root.join(name);
            fs::read_to_string(&path).map_err(Error::file("reading", &path))
        };
        let mut loadable = BTreeMap::new();
        for line in read("modules.dep")?.lines() {
            if let Some((file, needs)) = line.split_once(':') {
                let needs = needs.split_whitespace().map(str::to_owned).collect();
                loadable.insert(module_name(file), (file.to_owned(), needs));
            }
        }
        let builtin = read("modules.builtin")?.lines().map(module_name).collect();
        Ok(Self {
            root,
            loadable,
            builtin,
        })
    }

    /// The modules to load, in this order, to have all of `names`.
    ///
    /// Dashes and underscores in names are the same; what is built into the
    /// kernel is left out. Fails on a name this kernel does not have.
    pub fn load_order(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            self.visit(&module_name(name), &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<Module>,
    ) -> Result<()> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let (file, needs) = self.loadable.get(name).ok_or_else(|| {
            Error::new(
                ErrorKind::Kernel,
                format!("{} has no module {name}", self.root.display()),
            )
        })?;
        for need in needs.iter().rev() {
            self.visit(&module_name(need), seen, order)?;
        }
        order.push(Module {
            name: name.to_owned(),
            path: self.root.join(file),
        });
        Ok(())
    }
}

impl Module {
    /// The module as the kernel loads it, decompressed if the file is not.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let (program, package) = match self.path.extension().and_then(|e| e.to_str()) {
            Some("xz") => ("xz", "xz-utils"),
            Some("zst") => ("zstd", "zstd"),
            _ => return fs::read(&self.path).map_err(Error::file("reading", &self.path)),
        };
        let file = File::open(&self.path).map_err(Error::file("opening", &self.path))?;
        Tool::new(program, package).arg("-dc").stdin(file).output()
    }
}

/// The module name in `kernel/…/kvm-amd.ko.xz` or `kvm-amd`: `kvm_amd`.
fn module_name(path: &str) -> String {
    let file = Path::new(path.trim()).file_name().unwrap_or_default();
    let file = file.to_string_lossy();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dir: &Path) -> ModuleTree {
        let dep = "kernel/kvm/kvm-amd.ko: kernel/kvm/kvm.ko kernel/virt/irqbypass.ko\n\
                   kernel/kvm/kvm.ko: kernel/virt/irqbypass.ko\n\
                   kernel/virt/irqbypass.ko:\n";
        fs::write(dir.join("modules.dep"), dep).unwrap();
        fs::write(dir.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\n").unwrap();
        ModuleTree::open(dir).unwrap()
    }

    #[test]
    fn what_a_module_needs_comes_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let order = tree(dir.path())
            .load_order(&["kvm-amd", "kvm", "ext4"])
            .unwrap();
        let names: Vec<&str> = order.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["irqbypass", "kvm", "kvm_amd"]);
        assert_eq!(order[2].path, dir.path().join("kernel/kvm/kvm-amd.ko"));
    }

    #[test]
    fn an_unknown_module_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = tree(dir.path()).load_order(&["floppy"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Kernel);
        assert!(error.to_string().contains("floppy"));
    }
}
