//! QEMU out of Debian's source, with a mistake mended in how it emulates AMD's
//! SVM. Deterministic machines are measured in it where it was built: with the
//! mistake, one whose guest takes thousands of interrupts hung sooner or
//! later. Takes some minutes to build, so only an explicit request does.

use std::fs;
use std::path::{Path, PathBuf};

use super::suite::Suite;
use super::{DIRECTORY, PROGRAM, write_wrapper};
use crate::cache::Cache;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::tool::Tool;

/// A line of QEMU's that occurs once in its file, and what it becomes.
#[derive(Debug)]
struct Mend {
    file: &'static str,
    line: &'static str,
    mended: &'static str,
}

/// An interrupt that VMRUN injects stays noted as the processor's pending
/// exception (in 7.2 and in 10.0). When the emulator's loop is left before the
/// guest's next exit, as when a timer of the outer kernel is due, it is
/// delivered once more: in the midst of its own handler, and whatever the
/// interrupt flag says.
const MEND: Mend = Mend {
    file: "target/i386/tcg/sysemu/svm_helper.c",
    line: "            do_interrupt_x86_hardirq(env, vector, 1);\n",
    mended: "            do_interrupt_x86_hardirq(env, vector, 1);\n            \
             cs->exception_index = -1;\n",
};

const SUITE: &str = "bookworm";
/// What an outer machine uses, and nothing else.
const CONFIGURE: &[&str] = &[
    "--target-list=x86_64-softmmu",
    "--without-default-features",
    "--enable-tcg",
    "--enable-fdt",
    "--disable-werror",
];
/// The firmware is that of the installed package, whichever version it is.
const WRAPPER: &str = "#!/bin/sh\n\
    exec \"${0%/*}/qemu\" -L /usr/share/qemu -L /usr/share/seabios \"$@\"\n";

/// The mended emulator's program, built if the cache does not have it. Any
/// version of the suite's will do, so one that was built stays.
pub fn build(cache: &Cache) -> Result<PathBuf> {
    let dir = cache.entry(&key(), compile)?;
    Ok(dir.join(PROGRAM))
}

/// The program, if it was built before.
pub fn cached(cache: &Cache) -> Option<PathBuf> {
    let program = cache.root().join(key()).join(PROGRAM);
    program.exists().then_some(program)
}

fn key() -> String {
    let mend = [MEND.file, MEND.line, MEND.mended, WRAPPER];
    let parts = mend.into_iter().chain(CONFIGURE.iter().copied());
    format!("{DIRECTORY}/{SUITE}_{}", digest::name(parts))
}

fn compile(dir: &Path) -> Result<()> {
    let work = dir.join("work");
    let source = unpack_source(&work)?;
    MEND.apply(&source)?;
    let objects = work.join("objects");
    fs::create_dir(&objects).map_err(Error::file("creating", &objects))?;
    log::info!("configuring QEMU");
    Tool::new("sh", "dash")
        .arg(source.join("configure"))
        .args(CONFIGURE)
        .dir(&objects)
        .output()?;
    let jobs = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let mut progress = Progress::new(format!("building QEMU with {jobs} jobs"));
    Tool::new("ninja", "ninja-build")
        .args([format!("-j{jobs}"), PROGRAM.to_owned()])
        .dir(&objects)
        .follow(|line| progress.step(line))?;
    drop(progress);

    Tool::new("strip", "binutils")
        .arg("-o")
        .arg(dir.join("qemu"))
        .arg(objects.join(PROGRAM))
        .output()?;
    write_wrapper(dir, WRAPPER)?;
    fs::remove_dir_all(&work).map_err(Error::file("removing", &work))
}

fn unpack_source(work: &Path) -> Result<PathBuf> {
    log::info!("fetching QEMU's source");
    let suite = Suite::fetch(work, "deb-src", SUITE)?;
    suite.apt(&["source", "--download-only", "qemu"])?;
    let description = suite.files("dsc")?.into_iter().next();
    let description = description
        .ok_or_else(|| Error::new(ErrorKind::Package, "apt-get source left no description"))?;
    let source = work.join("source");
    Tool::new("dpkg-source", "dpkg-dev")
        .arg("-x")
        .args([&description, &source])
        .output()?;
    Ok(source)
}

impl Mend {
    fn apply(&self, source: &Path) -> Result<()> {
        let path = source.join(self.file);
        let text = fs::read_to_string(&path).map_err(Error::file("reading", &path))?;
        if text.matches(self.line).count() != 1 {
            let what = format!(
                "{} is not as it was: it has not once {:?}",
                self.file, self.line
            );
            return Err(Error::new(ErrorKind::Package, what));
        }
        fs::write(&path, text.replace(self.line, self.mended))
            .map_err(Error::file("writing", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mend_changes_its_line_alone_and_refuses_another_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MEND.file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for other in ["", &MEND.line.repeat(2)] {
            fs::write(&path, other).unwrap();
            let error = MEND.apply(dir.path()).unwrap_err();
            assert!(error.to_string().contains(MEND.file), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), other);
        }
        fs::write(&path, format!("before\n{}after\n", MEND.line)).unwrap();
        MEND.apply(dir.path()).unwrap();
        let mended = format!("before\n{}after\n", MEND.mended);
        assert_eq!(fs::read_to_string(&path).unwrap(), mended);
    }

    #[test]
    fn only_a_finished_emulator_is_taken_from_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        assert_eq!(cached(&cache), None);
        let entry = dir.path().join(key());
        fs::create_dir_all(&entry).unwrap();
        fs::write(entry.join(PROGRAM), WRAPPER).unwrap();
        assert_eq!(cached(&cache), Some(entry.join(PROGRAM)));
    }
}
