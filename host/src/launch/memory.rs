//! Can the host give a guest the memory it is to have, and does the guest use
//! what it gets?

use vmm::{Backing, CommandLine, MemoryConfig, MemoryLayout};

use crate::doctor::huge_pages::{self, Pool};
use crate::doctor::memory;
use crate::error::Error;
use crate::option::size::Amount;

/// Refuses memory that the host does not have.
///
/// # Errors
/// More is asked for than the host has, or its pool of huge pages is too
/// small.
pub fn check(wanted: &MemoryConfig) -> Result<(), Error> {
    let pool = match wanted.backing {
        Backing::Anonymous | Backing::Shared => None,
        Backing::Huge2M | Backing::Huge1G => {
            let size = wanted.backing.page_size();
            Some((size, huge_pages::pool(size)))
        }
    };
    judge(wanted.layout.bytes(), memory::total(), pool)?;
    judge_growth(wanted, memory::total())
}

/// Refuses room to grow that is of no use.
fn judge_growth(wanted: &MemoryConfig, host: u64) -> Result<(), Error> {
    if wanted.layout.growth().is_none() {
        return Ok(());
    }
    let most = wanted.layout.most();
    if most > host {
        return Err(Error::configuration(format!(
            "the guest is to grow to {} of memory, and this host has {} MiB",
            Amount(most),
            host >> 20
        ))
        .remedy("a smaller max= with --memory"));
    }
    if matches!(wanted.backing, Backing::Huge2M | Backing::Huge1G) {
        return Err(Error::configuration(
            "memory out of the pool of huge pages cannot grow: it is set aside as a whole",
        )
        .remedy("--memory without max=, or another --memory-backing"));
    }
    Ok(())
}

/// Refuses a balloon that could not give anything back.
///
/// # Errors
/// The memory is out of the pool of huge pages.
pub fn check_balloon(memory: &MemoryConfig) -> Result<(), Error> {
    match memory.backing {
        Backing::Anonymous | Backing::Shared => Ok(()),
        Backing::Huge2M | Backing::Huge1G => Err(Error::configuration(
            "a balloon cannot give memory back to the pool of huge pages",
        )
        .remedy("leaving out --balloon, or another --memory-backing")),
    }
}

/// What has Linux use memory that comes while it runs, since Debian's kernels
/// leave that to nobody: as much of it as possible in such a way that it can go
/// again (Documentation/admin-guide/mm/memory-hotplug.rst).
const USE_NEW_MEMORY: &str = "memhp_default_state=online memory_hotplug.online_policy=auto-movable";

/// The kernel's command line for a machine with this memory: the user's, and
/// if memory can grow and the user says nothing of it, that it is to be used.
///
/// # Errors
/// It is too long.
pub fn command_line(line: CommandLine, layout: &MemoryLayout) -> Result<CommandLine, Error> {
    let told = line.as_str().contains("memhp_default_state=");
    if layout.growth().is_none() || told {
        return Ok(line);
    }
    CommandLine::new(format!("{line} {USE_NEW_MEMORY}")).map_err(|error| {
        Error::configuration("the kernel cannot be told to use memory that it gets later")
            .because(error)
            .remedy("a shorter --cmdline")
    })
}

/// `pool` is the size of the huge pages that are asked for, and how many there
/// are.
fn judge(size: u64, host: u64, pool: Option<(u64, Option<Pool>)>) -> Result<(), Error> {
    if size > host {
        return Err(Error::configuration(format!(
            "the guest is to have {} of memory, and this host has {} MiB",
            Amount(size),
            host >> 20
        ))
        .remedy("a smaller --memory"));
    }
    let Some((page, pool)) = pool else {
        return Ok(());
    };
    if !size.is_multiple_of(page) {
        return Err(Error::configuration(format!(
            "{} of memory cannot be made of pages of {}",
            Amount(size),
            Amount(page)
        ))
        .remedy(format!("a --memory that is a multiple of {}", Amount(page))));
    }
    let pages = size / page;
    let free = pool.map_or(0, |pool| pool.free);
    if pages > free {
        return Err(Error::host(format!(
            "the guest needs {pages} huge pages of {}, and {free} are free",
            Amount(page)
        ))
        .remedy(format!(
            "echo {pages} | sudo tee /sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
            page >> 10
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitStatus;

    const HOST: u64 = 8 << 30;
    const MIB: u64 = 1 << 20;

    #[test]
    fn more_than_the_host_has_is_refused() {
        assert!(judge(HOST, HOST, None).is_ok());
        let error = judge(HOST + MIB, HOST, None).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Configuration);
        assert!(
            error
                .report()
                .contains("8193 MiB of memory, and this host has 8192 MiB")
        );
    }

    #[test]
    fn huge_pages_must_fit_and_be_free() {
        let huge = |size, free| judge(size, HOST, Some((2 * MIB, Some(Pool { free, total: 512 }))));
        assert!(huge(128 * MIB, 64).is_ok());
        let error = huge(128 * MIB, 63).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Host);
        assert!(
            error
                .report()
                .contains("64 huge pages of 2 MiB, and 63 are free")
        );
        assert!(error.report().contains("hugepages-2048kB/nr_hugepages"));
        let error = huge(129 * MIB, 512).unwrap_err();
        assert_eq!(error.exit_status(), ExitStatus::Configuration);
    }

    fn growing(backing: Backing, most: u64) -> MemoryConfig {
        let layout = MemoryLayout::new(512 * MIB).unwrap();
        MemoryConfig {
            layout: layout.growing_to(most).unwrap(),
            backing,
            transparent_huge_pages: None,
            prefault: false,
        }
    }

    #[test]
    fn room_to_grow_is_what_the_host_has_in_ordinary_pages() {
        for backing in [Backing::Anonymous, Backing::Shared] {
            let ordinary = growing(backing, HOST);
            assert!(judge_growth(&ordinary, HOST).is_ok());
            assert!(check_balloon(&ordinary).is_ok());
            let error = judge_growth(&growing(backing, 2 * HOST), HOST).unwrap_err();
            assert!(
                error.report().contains("grow to 16 GiB"),
                "{}",
                error.report()
            );
        }
        for backing in [Backing::Huge2M, Backing::Huge1G] {
            assert!(judge_growth(&growing(backing, 512 * MIB), HOST).is_ok());
            let error = judge_growth(&growing(backing, HOST), HOST).unwrap_err();
            assert!(
                error.report().contains("without max="),
                "{}",
                error.report()
            );
            let error = check_balloon(&growing(backing, HOST)).unwrap_err();
            assert!(error.report().contains("--balloon"), "{}", error.report());
        }
    }

    #[test]
    fn a_kernel_is_told_of_growth_unless_the_user_does() {
        let told = |text: &str, most| {
            let layout = growing(Backing::Anonymous, most).layout;
            let line = command_line(CommandLine::new(text).unwrap(), &layout);
            line.map(|line| line.to_string())
        };
        assert_eq!(told("quiet", 512 * MIB).unwrap(), "quiet");
        let line = told("quiet", HOST).unwrap();
        assert!(
            line.starts_with("quiet memhp_default_state=online "),
            "{line}"
        );
        let own = "memhp_default_state=offline quiet";
        assert_eq!(told(own, HOST).unwrap(), own);
        let error = told(&"x".repeat(CommandLine::MAX), HOST).unwrap_err();
        assert!(error.report().contains("--cmdline"), "{}", error.report());
    }

    #[test]
    fn a_host_without_such_pages_has_none_free() {
        let error = judge(1 << 30, HOST, Some((1 << 30, None))).unwrap_err();
        assert!(error.report().contains("and 0 are free"));
    }
}
