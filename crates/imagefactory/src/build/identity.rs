//! What an ISO that was built here tells of itself.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result, io};
use crate::name::Architecture;

/// Where the primary volume descriptor lies, and in it the room for applications (ECMA-119 8.4).
const DESCRIPTOR: u64 = 16 * 2048;
const ROOM: usize = 883;

/// What an ISO is, written into its volume descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsoIdentity {
    /// The version of Talos, with its `v`.
    pub talos: String,
    /// The platform that it is for.
    pub platform: String,
    /// The architecture that it is for.
    pub architecture: Architecture,
    /// The id of the schematic, if it was built with one.
    pub schematic: Option<String>,
    /// The content address of everything that it was built from.
    pub address: Digest,
}

impl IsoIdentity {
    pub(super) fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what an ISO tells of itself; `None` if it was not built here.
    ///
    /// # Errors
    /// It cannot be read, or is no ISO 9660 image.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let mut file = fs_err::File::open(path).map_err(io("open an ISO"))?;
        let mut descriptor = Vec::new();
        file.seek(SeekFrom::Start(DESCRIPTOR)).map_err(io("read an ISO"))?;
        file.take(2048).read_to_end(&mut descriptor).map_err(io("read an ISO"))?;
        if descriptor.get(..6) != Some(b"\x01CD001") {
            let text = format!("{} is no ISO 9660 image", path.display());
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let room = descriptor.get(ROOM..ROOM + 512).unwrap_or_default();
        let text = room.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(serde_json::from_slice(text).ok())
    }
}
