//! What a client is made of: the node's address, whom to trust, how to dial, how long to wait.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::dial::Dialer;
use super::tls::Fingerprint;
use crate::error::Error;
use crate::pki::{Authority, Pem, issue_client};
use crate::secrets::Bundle;
use crate::talosconfig::Context;

const OPERATION: &str = "prepare the client";

/// Port of the machine API.
pub const PORT: u16 = 50000;

/// Credentials of mutual TLS, as PEM texts.
#[derive(Clone)]
pub struct Identity {
    /// Certificate of the machine API's authority: the only one that is trusted.
    pub ca_pem: String,
    /// Certificate of the client.
    pub cert_pem: String,
    /// Key of the client.
    pub key_pem: SecretString,
}

impl Identity {
    /// Takes the credentials of a context of a `talosconfig`.
    ///
    /// # Errors
    /// The context lacks one of them, or one is not base64 of text.
    pub fn from_context(context: &Context) -> Result<Self, Error> {
        let text = |name: &str, value: &str| -> Result<String, Error> {
            let wrong =
                |what: &str| Error::config(OPERATION, format!("the context's {name} {what}"));
            if value.is_empty() {
                return Err(wrong("is empty"));
            }
            let bytes = STANDARD.decode(value.trim()).map_err(|_| wrong("is not base64"))?;
            String::from_utf8(bytes).map_err(|_| wrong("is not a PEM text"))
        };
        Ok(Self {
            ca_pem: text("ca", &context.ca)?,
            cert_pem: text("crt", &context.crt)?,
            key_pem: text("key", &context.key)?.into(),
        })
    }

    /// Issues a certificate from the bundle's authority of the machine API.
    ///
    /// `roles` are such as `os:admin`; `now` is in seconds since 1970. The certificate begins a
    /// minute earlier, for clocks that disagree, and is valid for `lifetime`.
    ///
    /// # Errors
    /// The bundle has no such authority, or its key cannot be used.
    pub fn from_bundle(
        bundle: &Bundle,
        roles: &[&str],
        now: i64,
        lifetime: Duration,
    ) -> Result<Self, Error> {
        let wrong = |what: &str| Error::config(OPERATION, format!("the bundle's certs.os {what}"));
        let pair = bundle.certs.as_ref().and_then(|certs| certs.os.as_ref());
        let pair = pair.ok_or_else(|| wrong("is absent"))?;
        let ca_pem = pair.crt.text().ok_or_else(|| wrong("is not text"))?.to_owned();
        let key = pair.key.text().ok_or_else(|| wrong("has a key that is not text"))?;
        let pki = |error: crate::pki::PkiError| wrong(&format!("cannot be used: {error}"));
        let certificate = Pem::parse(&ca_pem).map_err(pki)?;
        let key = Pem::parse(key).map_err(pki)?;
        let authority = Authority::new(&certificate, &key).map_err(pki)?;
        let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 2);
        let issued =
            issue_client(&authority, &roles, now.saturating_sub(60), lifetime + 60).map_err(pki)?;
        Ok(Self {
            ca_pem,
            cert_pem: issued.certificate.text().to_string(),
            key_pem: issued.key.text().to_string().into(),
        })
    }

    /// The same as [`Identity::from_bundle`] for an administrator, for one day from now.
    ///
    /// # Errors
    /// As there.
    pub fn admin(bundle: &Bundle) -> Result<Self, Error> {
        let now = jiff::Timestamp::now().as_second();
        Self::from_bundle(bundle, &["os:admin"], now, Duration::from_hours(24))
    }

    pub(crate) fn key(&self) -> &str {
        self.key_pem.expose_secret()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity { .. }")
    }
}

/// Whom to trust, and with what to be trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// A node in maintenance mode: no client certificate is shown, and the node's certificate is
    /// not verified. With a pin only a node whose key has that fingerprint is talked to; without
    /// one, **anybody at that address** is.
    Maintenance {
        /// Fingerprint of the node's key, as its console shows it.
        pin: Option<Fingerprint>,
    },
    /// A configured node: both sides show certificates of the cluster's authority.
    Mutual(Identity),
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// For the answer of a call that reads.
    pub call: Duration,
    /// For the answer of a call that changes something, and for streams that end by themselves.
    pub long: Duration,
    /// For calls to etcd: a control plane that waits for its bootstrap never answers them.
    pub etcd: Duration,
    /// For the effect of a bootstrap whose answer was lost.
    pub bootstrap: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(20),
            long: Duration::from_secs(90),
            etcd: Duration::from_secs(10),
            bootstrap: Duration::from_secs(20),
        }
    }
}

/// What a client is made of.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) trust: Trust,
    pub(crate) dialer: Dialer,
    pub(crate) timeouts: Timeouts,
    pub(crate) ping: Option<Duration>,
    pub(crate) target: Option<String>,
}

impl ClientConfig {
    /// For a configured node.
    pub fn new(address: IpAddr, identity: Identity) -> Self {
        Self::with(address, Trust::Mutual(identity))
    }

    /// For a node in maintenance mode, **without verifying who it is**; see [`Self::pin`].
    pub fn maintenance(address: IpAddr) -> Self {
        Self::with(address, Trust::Maintenance { pin: None })
    }

    /// With a trust of the caller's choice.
    pub fn with(address: IpAddr, trust: Trust) -> Self {
        Self {
            address,
            port: PORT,
            trust,
            dialer: Dialer::direct(),
            timeouts: Timeouts::default(),
            ping: None,
            target: None,
        }
    }

    /// Accept only this key of a node in maintenance mode. No effect with mutual TLS, which
    /// verifies the node anyway.
    #[must_use]
    pub fn pin(mut self, fingerprint: Fingerprint) -> Self {
        if let Trust::Maintenance { pin } = &mut self.trust {
            *pin = Some(fingerprint);
        }
        self
    }

    /// Connect to another socket than the address says.
    #[must_use]
    pub fn dialer(mut self, dialer: Dialer) -> Self {
        self.dialer = dialer;
        self
    }

    /// Another port than 50000.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Other time limits.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Ping the node so often while a call is open (at least every second), and give the
    /// connection up after three intervals without an answer. Off by default: the kernel's own
    /// probes find a dead peer in about half a minute. For following a reboot.
    #[must_use]
    pub fn ping(mut self, interval: Duration) -> Self {
        self.ping = Some(interval.max(Duration::from_secs(1)));
        self
    }

    /// Let the node forward every call to another one (only control planes do), named by address
    /// or host name.
    #[must_use]
    pub fn forward_to(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }
}
