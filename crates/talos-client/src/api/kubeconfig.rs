//! The kubeconfig of a cluster, out of a stream of a compressed archive.

use std::fmt;
use std::io::Read as _;

use secrecy::{ExposeSecret as _, SecretString};

use crate::client::{Client, call};
use crate::error::Error;

/// How long the archive may be.
const LARGEST_ARCHIVE: usize = 1 << 20;

/// How long the file may be.
const LARGEST_FILE: u64 = 1 << 20;

/// Length of an entry's header.
const HEADER: usize = 512;

/// A kubeconfig of an administrator. Secret.
#[derive(Clone)]
pub struct Kubeconfig(SecretString);

impl Kubeconfig {
    /// The YAML text, **with a key**.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kubeconfig({} bytes)", self.0.expose_secret().len())
    }
}

impl Client {
    /// A kubeconfig with a new certificate of an administrator; only control planes make one. It
    /// works before etcd is bootstrapped.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn kubeconfig(&self) -> Result<Kubeconfig, Error> {
        let call = &call::KUBECONFIG;
        let archive = self.bytes(call, (), LARGEST_ARCHIVE).await?;
        let bytes = unpack(&archive).map_err(|why| self.odd(call, why))?;
        match String::from_utf8(bytes) {
            Ok(text) if !text.trim().is_empty() => Ok(Kubeconfig(text.into())),
            _ => Err(self.odd(call, "the kubeconfig is empty or no text")),
        }
    }
}

/// The first file of a compressed archive. Nodes write neither padding nor an end behind it.
fn unpack(archive: &[u8]) -> Result<Vec<u8>, String> {
    let limit = LARGEST_FILE + 16 * HEADER as u64;
    let mut reader = flate2::read::GzDecoder::new(archive).take(limit);
    loop {
        let mut header = [0u8; HEADER];
        reader
            .read_exact(&mut header)
            .map_err(|error| format!("the archive of the kubeconfig is broken: {error}"))?;
        let size = size(&header).ok_or("the archive of the kubeconfig has no file")?;
        if size > LARGEST_FILE {
            return Err(format!("the kubeconfig is longer than {LARGEST_FILE} bytes"));
        }
        let mut data = Vec::new();
        let length = reader.by_ref().take(size).read_to_end(&mut data);
        match length {
            Ok(length) if length as u64 == size => {}
            Ok(_) => return Err("the archive of the kubeconfig ends in its file".to_owned()),
            Err(error) => return Err(format!("the archive of the kubeconfig is broken: {error}")),
        }
        match header.get(156) {
            Some(b'0' | 0) => return Ok(data),
            // Entries with more about the file come first.
            _ => {
                let padding = (HEADER as u64 - size % HEADER as u64) % HEADER as u64;
                std::io::copy(&mut reader.by_ref().take(padding), &mut std::io::sink())
                    .map_err(|error| format!("the archive of the kubeconfig is broken: {error}"))?;
            }
        }
    }
}

/// The size in an entry's header, in octal; none for the block of zeros at the end.
fn size(header: &[u8; HEADER]) -> Option<u64> {
    if header.first() == Some(&0) {
        return None;
    }
    let field = std::str::from_utf8(header.get(124..136)?).ok()?;
    u64::from_str_radix(field.trim_matches(['\0', ' ']), 8).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn entry(kind: u8, data: &[u8], padded: bool) -> Vec<u8> {
        let mut header = vec![0u8; HEADER];
        header[..4].copy_from_slice(b"name");
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[156] = kind;
        header.extend_from_slice(data);
        if padded {
            header.resize(header.len().next_multiple_of(HEADER), 0);
        }
        header
    }

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_first_file_is_read_without_the_end_of_an_archive() {
        assert_eq!(unpack(&zipped(&entry(b'0', b"a: b\n", false))).unwrap(), b"a: b\n");
        let mut two = entry(b'x', b"12 path=name\n", true);
        two.extend(entry(b'0', b"a: b\n", true));
        two.extend([0; 1024]);
        assert_eq!(unpack(&zipped(&two)).unwrap(), b"a: b\n");
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let whole = zipped(&entry(b'0', b"a: b\n", false));
        for (bytes, why) in [
            (b"no gzip".to_vec(), "broken"),
            (whole[..whole.len() / 2].to_vec(), "broken"),
            (zipped(&entry(b'0', b"a: b\n", false)[..514]), "ends in its file"),
            (zipped(&[0; 1024]), "no file"),
            (zipped(&entry(b'0', &vec![b'a'; 2 << 20], false)), "longer than"),
        ] {
            let error = unpack(&bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
