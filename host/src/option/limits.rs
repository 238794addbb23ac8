//! Rate limits among the items of a disk or network interface:
//! `iops=N,iops-burst=N,bandwidth=SIZE,bandwidth-burst=SIZE`.

use vmm::{Limit, Limits};

use super::list::OptionList;
use super::{Invalid, rate};

/// Takes the limits out of `list`; their keys begin with `prefix`.
///
/// # Errors
/// One is no rate, or a burst has no rate that it belongs to.
pub fn limits(list: &mut OptionList, prefix: &str) -> Result<Option<Limits>, Invalid> {
    let operations = limit(list, &format!("{prefix}iops"), rate::operations)?;
    let bytes = limit(list, &format!("{prefix}bandwidth"), rate::bytes)?;
    Ok(Limits::new(operations, bytes))
}

type Parse = fn(&str) -> Result<u64, Invalid>;

fn limit(list: &mut OptionList, key: &str, parse: Parse) -> Result<Option<Limit>, Invalid> {
    let burst_key = format!("{key}-burst");
    let rate = number(list, key, parse)?;
    let burst = number(list, &burst_key, parse)?;
    let Some(rate) = rate else {
        return match burst {
            None => Ok(None),
            Some(_) => Err(Invalid::new(format!(
                "'{burst_key}' limits nothing without {key}=…"
            ))),
        };
    };
    let limit = Limit::per_second(rate).and_then(|limit| match burst {
        None => Ok(limit),
        Some(burst) => limit.with_burst(burst),
    });
    limit
        .map(Some)
        .map_err(|error| Invalid::new(format!("{key}: {error}")))
}

fn number(list: &mut OptionList, key: &str, parse: Parse) -> Result<Option<u64>, Invalid> {
    let value = list.value(key)?.map(|text| parse(&text));
    value
        .transpose()
        .map_err(|error| Invalid::new(format!("{key}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Limits>, String> {
        let mut list = OptionList::parse(text).unwrap();
        limits(&mut list, "rx-").map_err(|error| error.to_string())
    }

    #[test]
    fn a_burst_may_be_left_out_and_so_may_either_limit() {
        let all = "rx-iops=3000,rx-iops-burst=5,rx-bandwidth=100M,rx-bandwidth-burst=1M";
        let operations = Limit::per_second(3000).unwrap();
        let bytes = Limit::per_second(100 << 20).unwrap();
        assert_eq!(
            parsed(all).unwrap(),
            Limits::new(
                operations.with_burst(5).ok(),
                bytes.with_burst(1 << 20).ok()
            )
        );
        let alone = Limits::new(Some(operations), None);
        assert_eq!(parsed("rx-iops=3000").unwrap(), alone);
        assert_eq!(parsed("iops=3000").unwrap(), None);
    }

    #[test]
    fn mistakes_name_the_item() {
        for (text, why) in [
            ("rx-iops=0", "rx-iops: operations are a whole number from 1"),
            (
                "rx-iops=-3",
                "rx-iops: operations are a whole number from 1",
            ),
            ("rx-bandwidth=65G", "rx-bandwidth: a bandwidth is"),
            ("rx-iops=1,rx-iops-burst=0", "rx-iops-burst: operations are"),
            (
                "rx-bandwidth-burst=1M",
                "limits nothing without rx-bandwidth=",
            ),
            ("rx-iops", "'rx-iops' needs a value"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
