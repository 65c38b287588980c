//! Settings of a client.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;

use crate::tls::Trust;

/// How the client proves who it is. The secrets never appear in a debug print.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Auth {
    /// An API token.
    Token {
        /// `user@realm!name`.
        id: String,
        /// The UUID that was shown once.
        secret: SecretString,
    },
    /// A ticket, got with a password and renewed in time.
    Password {
        /// `user@realm`.
        user: String,
        /// The password.
        password: SecretString,
        /// The answer to a second factor, where one is asked for.
        otp: Option<SecretString>,
    },
}

impl Auth {
    /// Reads a token as Proxmox VE shows it: `user@realm!name=SECRET`. `None` where a part is missing.
    pub fn token(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('=')?;
        let (user, name) = id.split_once('!')?;
        if !user.contains('@') || name.is_empty() || secret.is_empty() {
            return None;
        }
        Some(Self::Token { id: id.to_owned(), secret: secret.to_owned().into() })
    }

    /// A user with a password.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        let password = SecretString::from(password.into());
        Self::Password { user: user.into(), password, otp: None }
    }

    /// With a one-time password, for a user that has a second factor: `123456`, or
    /// `recovery:CODE`. It is used once; as long as the client is in use its ticket is renewed
    /// without another. A token has no second factor.
    #[must_use]
    pub fn one_time_password(self, code: impl Into<String>) -> Self {
        match self {
            Self::Password { user, password, .. } => {
                Self::Password { user, password, otp: Some(SecretString::from(code.into())) }
            }
            token @ Self::Token { .. } => token,
        }
    }
}

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub(crate) endpoints: Vec<String>,
    pub(crate) auth: Auth,
    pub(crate) trust: Trust,
    pub(crate) mapped: Vec<(String, u16, SocketAddr)>,
    pub(crate) concurrency: usize,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

impl ClientConfig {
    /// Settings for one endpoint, such as `https://pve01.example:8006`.
    pub fn new(endpoint: impl Into<String>, auth: Auth) -> Self {
        Self {
            endpoints: vec![endpoint.into()],
            auth,
            trust: Trust::System,
            mapped: Vec::new(),
            concurrency: 16,
            timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// Another node of the same cluster, asked only where nothing was sent to the ones before.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// Which certificates are trusted.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Connects to `address` for `host` and `port`; name and certificate stay those of `host`.
    #[must_use]
    pub fn connect_to(mut self, host: impl Into<String>, port: u16, address: SocketAddr) -> Self {
        self.mapped.push((host.into(), port, address));
        self
    }

    /// How many calls run at a time; 16 unless told, at least one.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.max(1);
        self
    }

    /// How long one call may take; 60 s unless told.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a connection may take to stand; 10 s unless told.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_needs_all_parts_and_hides_its_secret() {
        let token = Auth::token("root@pam!lab=11-22").unwrap();
        assert!(!format!("{token:?}").contains("11-22"));
        for bad in ["", "root@pam=x", "root!lab=x", "root@pam!lab", "root@pam!=x", "root@pam!lab="]
        {
            assert!(Auth::token(bad).is_none(), "{bad}");
        }
    }
}
