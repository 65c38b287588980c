//! Certificates of clients, issued again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::FromDer as _;

use crate::pki::{Pem, PkiError};
use crate::secrets::Bundle;
use crate::talosconfig::{ClientOptions, TalosConfig};

impl TalosConfig {
    /// Issues the certificate of a context again, out of the bundle of its cluster: for as long as is
    /// said, in seconds, with the roles that it had (an administrator's where none can be read).
    /// Endpoints and nodes stay; the authority is that of the bundle.
    ///
    /// # Errors
    /// There is no such context, or the bundle's authority is missing or cannot sign.
    pub fn renew(
        &mut self,
        context: &str,
        bundle: &Bundle,
        now: i64,
        lifetime: i64,
    ) -> Result<(), PkiError> {
        let found = self.contexts.get_mut(context);
        let found = found.ok_or(PkiError::new("there is no such context"))?;
        let authority = bundle.certs.as_ref().and_then(|certs| certs.os.as_ref());
        let authority = authority.and_then(|pair| Some((pair.crt.text()?, pair.key.text()?)));
        let (ca, ca_key) = authority.ok_or(PkiError::new("the bundle has no certs.os"))?;
        let options = ClientOptions {
            endpoints: Vec::new(),
            nodes: Vec::new(),
            roles: roles(&found.crt).unwrap_or_else(|| vec!["os:admin".to_owned()]),
            now,
            lifetime,
        };
        let mut made = Self::generate(context, ca, ca_key, &options)?;
        let Some(made) = made.contexts.get_mut(context) else { return Ok(()) };
        found.ca = std::mem::take(&mut made.ca);
        found.crt = std::mem::take(&mut made.crt);
        found.key = std::mem::take(&mut made.key);
        Ok(())
    }
}

/// The roles in a certificate; none when it cannot be read.
fn roles(encoded: &str) -> Option<Vec<String>> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let pem = Pem::parse(&text).ok()?;
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(pem.der()).ok()?;
    let organizations = parsed.subject().iter_organization();
    Some(organizations.filter_map(|one| one.as_str().ok()).map(str::to_owned).collect())
}
