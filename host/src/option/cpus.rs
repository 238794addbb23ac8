//! vCPUs: `N[,max=N]`.

use std::str::FromStr;

use vmm::CpuCount;

use super::Invalid;
use super::list::{OptionList, split_first};

/// How many vCPUs a guest has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpusOption {
    /// When it starts.
    pub count: CpuCount,
    /// In the end, if some are to be added while it runs.
    pub max: Option<CpuCount>,
}

impl FromStr for CpusOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (count, rest) = split_first(text);
        let count = number(&count)?;
        let max = match rest {
            Some(rest) => {
                let mut list = OptionList::parse(rest)?;
                let max = list.value("max")?;
                list.finish("N and max=N")?;
                max.map(|max| number(&max)).transpose()?
            }
            None => None,
        };
        if max.is_some_and(|max| max < count) {
            return Err(Invalid::new(
                "max is how many there may be in the end: as many as there are at first, or more",
            ));
        }
        Ok(Self { count, max })
    }
}

/// A number of vCPUs.
///
/// # Errors
/// It is none that a guest can have.
pub fn number(text: &str) -> Result<CpuCount, Invalid> {
    let count: u64 = text
        .parse()
        .map_err(|_| Invalid::new(format!("a number of vCPUs is from 1 to {}", CpuCount::MAX)))?;
    CpuCount::new(count).map_err(Invalid::because)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<CpusOption>().unwrap_err().to_string()
    }

    #[test]
    fn a_guest_has_1_to_64_vcpus() {
        for count in [1, 64] {
            let cpus: CpusOption = count.to_string().parse().unwrap();
            assert_eq!((cpus.count.get(), cpus.max), (count, None));
        }
        for text in ["0", "65", "1000", "-1", "two", "", "99999999999999999999"] {
            let error = error(text);
            assert!(error.contains("1 to 64"), "{text}: {error}");
        }
    }

    #[test]
    fn more_may_be_added_up_to_a_maximum() {
        for (text, count, max) in [("2,max=8", 2, 8), ("64,max=64", 64, 64)] {
            let cpus: CpusOption = text.parse().unwrap();
            assert_eq!((cpus.count.get(), cpus.max.unwrap().get()), (count, max));
        }
        assert!(error("4,max=3").contains("as many as there are at first"));
        assert!(error("4,max=65").contains("1 to 64"));
        assert!(error("4,max").contains("needs a value"));
        assert!(error("4,min=1").contains("'min' is not known"));
        assert!(error("4,").contains("empty"));
    }
}
