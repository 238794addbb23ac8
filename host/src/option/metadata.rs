//! How the metadata service of a network treats a guest:
//! `[tokens=optional|required][,hop-limit=N][,endpoint=on|off]`, after EC2's
//! MetadataOptions.

use metadata::Options;
use metadata::options::{HopLimit, Tokens};

use super::Invalid;
use super::list::OptionList;

/// The options that `text` gives; what it leaves out is as on EC2.
///
/// # Errors
/// An item is not known or cannot be.
pub fn metadata(text: &str) -> Result<Options, Invalid> {
    let mut options = Options::default();
    let mut list = OptionList::parse(text)?;
    match list.value("tokens")?.as_deref() {
        None | Some("optional") => {}
        Some("required") => options.tokens = Tokens::Required,
        Some(other) => {
            let why = format!("'{other}' does not do: tokens are optional or required");
            return Err(Invalid::new(why));
        }
    }
    match list.value("endpoint")?.as_deref() {
        None | Some("on") => {}
        Some("off") => options.endpoint = false,
        Some(other) => {
            let why = format!("'{other}' does not do: endpoint is on or off");
            return Err(Invalid::new(why));
        }
    }
    if let Some(text) = list.value("hop-limit")? {
        let hops = text.parse().ok().and_then(|hops| HopLimit::new(hops).ok());
        options.hop_limit = hops
            .ok_or_else(|| Invalid::new(format!("'{text}' does not do: a hop limit is 1 to 64")))?;
    }
    list.finish("tokens=optional|required, hop-limit=N and endpoint=on|off")?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_on_ec2() {
        let options = metadata("tokens=required,hop-limit=2").unwrap();
        assert_eq!(options.tokens, Tokens::Required);
        assert_eq!(options.hop_limit, HopLimit::new(2).unwrap());
        assert!(options.endpoint);
        assert!(!metadata("endpoint=off").unwrap().endpoint);
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, why) in [
            ("tokens=no", "optional or required"),
            ("hop-limit=65", "1 to 64"),
            ("hop-limit=x", "1 to 64"),
            ("endpoint=maybe", "on or off"),
            ("version=2", "'version' is not known"),
        ] {
            let error = metadata(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
