//! Files of a node.

use uuid::Uuid;

use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::machine;

/// How long a file may be that is read as a whole.
const LARGEST: usize = 16 << 20;

impl Client {
    /// The content of a file of the node, up to 16 MiB. Administrators only.
    ///
    /// # Errors
    /// See [`Error`]; [`ErrorKind::NotFound`] if there is no such file.
    pub async fn read_file(&self, path: &str) -> Result<Vec<u8>, Error> {
        let request = machine::ReadRequest { path: path.to_owned() };
        self.bytes(&call::READ, request, LARGEST).await
    }

    /// The identity of the current boot: another one after every reboot. Administrators only, but
    /// from 1.14 on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn boot_id(&self) -> Result<Uuid, Error> {
        let bytes = match self.read_file("/proc/sys/kernel/random/boot_id").await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return self.boot_id_resource().await.map_err(|_| error);
            }
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&bytes);
        let wrong = |_| self.odd(&call::READ, "the identity of the boot is no UUID");
        Uuid::parse_str(text.trim()).map_err(wrong)
    }

    /// The same as a resource, which readers may read: it has one text that is a UUID.
    async fn boot_id_resource(&self) -> Result<Uuid, Error> {
        let kind = super::kinds::BOOT_ID;
        for resource in self.list(kind.0, kind.1).await? {
            let texts: Vec<&str> = match &resource.spec {
                serde_json::Value::String(text) => vec![text],
                serde_json::Value::Object(map) => map.values().filter_map(|v| v.as_str()).collect(),
                _ => Vec::new(),
            };
            if let Some(id) = texts.into_iter().find_map(|text| Uuid::parse_str(text).ok()) {
                return Ok(id);
            }
        }
        Err(self.odd(&call::LIST, "the node has no identity of its boot"))
    }
}
