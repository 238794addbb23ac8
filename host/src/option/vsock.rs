//! Streams between programs of the guest and of the host:
//! `cid=N,socket=PATH`.

use std::path::PathBuf;
use std::str::FromStr;

use vmm::GuestCid;

use super::Invalid;
use super::list::OptionList;

/// A vsock device as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VsockOption {
    /// The guest's address.
    pub cid: GuestCid,
    /// The socket that host programs connect to; it is made.
    pub socket: PathBuf,
}

impl FromStr for VsockOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut list = OptionList::parse(text)?;
        let missing = |what| Invalid::new(format!("{what} is missing"));
        let cid = list
            .value("cid")?
            .ok_or_else(|| missing("cid=N, the guest's context id,"))?;
        let socket = list
            .value("socket")?
            .ok_or_else(|| missing("socket=PATH, where host programs connect,"))?;
        list.finish("cid=N and socket=PATH")?;
        Ok(Self {
            cid: cid.parse().map_err(Invalid::because)?,
            socket: socket.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<VsockOption>().unwrap_err().to_string()
    }

    #[test]
    fn both_items_are_needed_in_any_order() {
        let vsock: VsockOption = "socket=/run/a,,b.sock,cid=3".parse().unwrap();
        assert_eq!(vsock.cid.get(), 3);
        assert_eq!(vsock.socket, PathBuf::from("/run/a,b.sock"));
        assert!(error("cid=3").contains("socket=PATH"));
        assert!(error("socket=a").contains("cid=N"));
    }

    #[test]
    fn mistakes_are_explained() {
        for cid in ["0", "2", "4294967295", "x"] {
            assert!(error(&format!("cid={cid},socket=a")).contains("3 to 4294967294"));
        }
        assert!(error("cid=3,socket=a,port=1").contains("'port' is not known"));
        assert!(error("").contains("empty"));
    }
}
