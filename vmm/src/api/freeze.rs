//! Volumes that are to keep what they hold, as it is asked for and answered.

use std::os::fd::OwnedFd;

use devices::block::mapped_disk::FreezeFiles;

use super::attach::passed;
use super::body::Body;
use super::call::unexpected;
use super::failure::Failure;
use super::response::{Response, Status};
use super::wire::{Freeze, Frozen};
use crate::command::Reply;
use crate::device_name::DeviceName;

/// Reads which volumes, with the files of their freezes.
pub(super) fn read(
    body: Body,
    descriptors: &mut Vec<OwnedFd>,
) -> Result<Vec<(DeviceName, FreezeFiles)>, Failure> {
    let Freeze { devices } = body.read()?;
    let twice = |at: usize| devices[..at].contains(&devices[at]);
    if let Some(at) = (0..devices.len()).find(|at| twice(*at)) {
        let message = format!("field 'devices': '{}' is there twice", devices[at]);
        return Err(Failure::in_field("devices", message));
    }
    let files = passed(descriptors, 2 * devices.len(), "freezes' files")?;
    let mut files = files.into_iter();
    let pairs = std::iter::from_fn(|| {
        Some(FreezeFiles {
            freeze: files.next()?.into(),
            kept: files.next()?.into(),
        })
    });
    Ok(devices.into_iter().zip(pairs).collect())
}

/// For how long requests were held back.
pub(super) fn frozen(reply: Reply) -> Result<Response, Failure> {
    match reply {
        Reply::Frozen(pause) => {
            let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
            Ok(Response::json(Status::OK, &Frozen { pause_us }))
        }
        reply => Err(unexpected(&reply)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: usize) -> Vec<OwnedFd> {
        let file = |_| tempfile::tempfile().unwrap().into();
        (0..count).map(file).collect()
    }

    fn parsed(text: &str, count: usize) -> Result<usize, Failure> {
        let body = Body::parse(text.as_bytes()).unwrap();
        read(body, &mut files(count)).map(|volumes| volumes.len())
    }

    #[test]
    fn each_volume_comes_with_two_files() {
        assert_eq!(parsed(r#"{"devices":["a","b"]}"#, 4), Ok(2));
        for count in [0, 1, 3, 5] {
            assert!(parsed(r#"{"devices":["a","b"]}"#, count).is_err());
        }
        assert!(parsed(r#"{"devices":["a","a"]}"#, 4).is_err());
        assert!(parsed(r#"{"device":["a"]}"#, 2).is_err());
    }
}
