//! vhost-net: what of the host's kernel carries an interface's packets by itself.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::error::Error;

const DEVICE: &str = "/dev/vhost-net";

/// Opens it `count` times, once for each queue of a tap.
///
/// # Errors
/// This host does not have it, or not for this user.
pub(super) fn open(count: usize) -> Result<Vec<OwnedFd>, Error> {
    let open = |_| File::options().read(true).write(true).open(DEVICE);
    let files: io::Result<Vec<File>> = (0..count).map(open).collect();
    let files = files.map_err(refused)?;
    Ok(files.into_iter().map(OwnedFd::from).collect())
}

fn refused(source: io::Error) -> Error {
    let remedy = match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "leaving out vhost=on, or letting this user have it: \
             sudo setfacl --modify user:$USER:rw /dev/vhost-net"
        }
        _ => "sudo modprobe vhost_net, or leaving out vhost=on",
    };
    Error::host(format!("{DEVICE} cannot be opened for vhost=on"))
        .because(source)
        .remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitStatus;

    #[test]
    fn each_obstacle_has_its_way_out() {
        for (kind, way) in [
            (io::ErrorKind::NotFound, "modprobe vhost_net"),
            (io::ErrorKind::PermissionDenied, "setfacl"),
        ] {
            let error = refused(kind.into());
            assert_eq!(error.exit_status(), ExitStatus::Host);
            assert!(error.report().contains(way), "{}", error.report());
        }
    }
}
