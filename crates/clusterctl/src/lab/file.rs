//! `lab.json`: where everything of a running lab is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::error::{LabError, LabErrorKind};
use crate::state::{Mode, read_if_present, write};

/// Format of `lab.json`.
pub(super) const FORMAT: u32 = 1;

/// A secret that stands in `lab.json`, which is for its owner alone, and nowhere else.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Kept(pub(super) String);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// How the simulated Proxmox VE is reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProxmoxAccess {
    /// `https://127.0.0.1:PORT`.
    pub endpoint: String,
    /// SHA-256 fingerprint of its certificate.
    pub fingerprint: String,
    pub(super) token: Kept,
    pub(super) password: Kept,
}

impl ProxmoxAccess {
    /// A token with the rights that a site gives its automation: `USER@REALM!ID=SECRET`.
    pub fn token(&self) -> SecretString {
        self.token.0.clone().into()
    }

    /// The password of `root@pam`, for the few things that only root may do.
    pub fn root_password(&self) -> SecretString {
        self.password.0.clone().into()
    }
}

/// An address of the plan and the port that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressRoute {
    /// The address.
    pub address: IpAddr,
    /// 50000 is the machine API, 6443 Kubernetes.
    pub port: u16,
    /// Where it is reached.
    pub local: SocketAddr,
}

/// A name of the tree and the port that stands for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostRoute {
    /// The name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Where it is reached.
    pub local: SocketAddr,
}

/// Where everything of a running lab is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabFile {
    pub(super) format: u32,
    /// The process.
    pub pid: u32,
    /// When it started, in the clock ticks that `/proc` counts; where there is a `/proc`.
    pub start_ticks: Option<u64>,
    /// When it started.
    pub started: jiff::Timestamp,
    /// The build of the program that it is.
    pub build: String,
    /// The control socket.
    pub socket: PathBuf,
    /// The authorities of all its servers but the nodes, PEM.
    pub ca_pem: String,
    /// The simulated Proxmox VE.
    pub proxmox: ProxmoxAccess,
    /// The image factory.
    pub factory: SocketAddr,
    /// The registry.
    pub registry: SocketAddr,
    /// Names of factories and registries.
    pub hosts: Vec<HostRoute>,
    /// Addresses of nodes.
    pub addresses: Vec<AddressRoute>,
}

impl LabFile {
    /// Reads the file; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn read(path: &Path) -> Result<Option<Self>, LabError> {
        let bytes = read_if_present(path).map_err(LabError::file("read", path))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let unknown = || {
            LabError::new(LabErrorKind::OtherBuild, format!("{} is not understood", path.display()))
                .hint("the lab was started by another build: end it with that build's `clusterctl lab down`")
        };
        let file: Self =
            serde_json::from_slice(&bytes).map_err(|error| unknown().because(error))?;
        if file.format == FORMAT { Ok(Some(file)) } else { Err(unknown()) }
    }

    /// Writes the file for its owner alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), LabError> {
        let text = serde_json::to_vec_pretty(self).map_err(LabError::file("write", path))?;
        write(path, &text, Mode::Private).map_err(LabError::file("write", path))
    }

    pub(super) fn talos_dial(&self) -> BTreeMap<(IpAddr, u16), SocketAddr> {
        self.addresses.iter().map(|route| ((route.address, route.port), route.local)).collect()
    }

    pub(super) fn factory_dial(&self) -> BTreeMap<(String, u16), SocketAddr> {
        self.hosts.iter().map(|route| ((route.host.clone(), route.port), route.local)).collect()
    }
}
