//! META: keys of a node that survive a reset and a new installation.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use super::kinds;
use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::machine;

/// A key of META with its value, which may be a network's configuration with secrets.
#[derive(Clone)]
#[non_exhaustive]
pub struct MetaKey {
    /// Number of the key, such as 0x0a for the platform's network.
    pub key: u8,
    value: SecretString,
}

impl MetaKey {
    /// The value.
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }
}

impl fmt::Debug for MetaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MetaKey({:#04x}, {} bytes)", self.key, self.value.expose_secret().len())
    }
}

impl Client {
    /// The keys of META, ordered by number.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn meta_keys(&self) -> Result<Vec<MetaKey>, Error> {
        let (namespace, kind) = kinds::META_KEY;
        let mut keys = Vec::new();
        for resource in self.list(namespace, kind).await? {
            let number = resource.id.strip_prefix("0x").unwrap_or(&resource.id);
            let Ok(key) = u8::from_str_radix(number, 16) else {
                let text = format!("{:?} is no key of META", resource.id);
                return Err(self.odd(&call::LIST, text));
            };
            // Older nodes have the value itself as the content.
            let value = resource.text("/value").or_else(|| resource.text("")).unwrap_or_default();
            keys.push(MetaKey { key, value: value.to_owned().into() });
        }
        keys.sort_by_key(|one| one.key);
        Ok(keys)
    }

    /// Writes a key of META. Administrators only, and from 1.13 on those who may write META.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn meta_write(&self, key: u8, value: &[u8]) -> Result<(), Error> {
        let request = machine::MetaWriteRequest { key: key.into(), value: value.to_vec() };
        self.ask::<_, machine::MetaWriteResponse>(&call::META_WRITE, request).await?;
        Ok(())
    }

    /// Deletes a key of META; false if there was none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn meta_delete(&self, key: u8) -> Result<bool, Error> {
        let request = machine::MetaDeleteRequest { key: key.into() };
        match self.ask::<_, machine::MetaDeleteResponse>(&call::META_DELETE, request).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
