//! Who may do what in the simulated Proxmox, and what must be there before anybody comes.

use std::path::Path;

use proxmox_client::sim::SimHandle;
use proxmox_client::{Auth, Client, ClientConfig, Method, Trust};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::error::{LabError, LabErrorKind};
use super::super::world::World;
use crate::state::{Mode, read_if_present, write};

/// The user that owns the token.
pub(super) const USER: &str = "clusterctl@pve";

/// The token's id.
pub(super) const TOKEN: &str = "lab";

/// Built-in roles of the user, with their paths.
pub(super) const ROLES: [(&str, &str); 6] = [
    ("/vms", "PVEVMAdmin"),
    ("/storage", "PVEDatastoreAdmin"),
    ("/sdn", "PVESDNAdmin"),
    ("/mapping", "PVEMappingAdmin"),
    ("/pool", "PVEPoolAdmin"),
    ("/", "PVEAuditor"),
];

/// A role that no built-in one covers: cluster-wide options and downloads of nodes.
const SYSTEM_ROLE: &str = "ClusterctlSystem";
const SYSTEM_PRIVILEGES: &str = "Sys.Audit Sys.Modify Sys.Console Sys.AccessNetwork";

/// Secrets of the user, which outlive the process.
#[derive(Serialize, Deserialize)]
pub(super) struct Secrets {
    pub(super) password: String,
    pub(super) token: String,
}

impl Secrets {
    /// Those of earlier runs, or new ones.
    ///
    /// # Errors
    /// They cannot be read or written.
    pub(super) fn open(path: &Path) -> Result<Self, LabError> {
        if let Some(bytes) = read_if_present(path).map_err(LabError::file("read", path))? {
            return serde_json::from_slice(&bytes).map_err(LabError::file("read", path));
        }
        let made = Self {
            password: uuid::Uuid::new_v4().simple().to_string(),
            token: uuid::Uuid::new_v4().to_string(),
        };
        let text = serde_json::to_vec(&made).map_err(LabError::file("write", path))?;
        write(path, &text, Mode::Private).map_err(LabError::file("write", path))?;
        Ok(made)
    }

    /// The whole token.
    pub(super) fn whole_token(&self) -> String {
        format!("{USER}!{TOKEN}={}", self.token)
    }
}

fn failed(error: proxmox_client::Error) -> LabError {
    LabError::new(LabErrorKind::Start, "prepare the simulated Proxmox").because(error)
}

/// The API as root.
///
/// # Errors
/// The client cannot be set up.
pub(super) fn root(pve: &SimHandle) -> Result<Client, LabError> {
    let odd = || LabError::new(LabErrorKind::Start, "the simulated Proxmox gave an odd token");
    let auth = Auth::token(&pve.token()).ok_or_else(odd)?;
    let trust = Trust::Ca(pve.ca_pem().into());
    Client::new(&ClientConfig::new(pve.base_url(), auth).trust(trust)).map_err(failed)
}

/// Gives the user the role that is not built in.
///
/// # Errors
/// The API refuses.
pub(super) async fn grant_system(root: &Client) -> Result<(), LabError> {
    let roles: Vec<Value> = root.get("/access/roles", &[]).await.map_err(failed)?;
    if !roles.iter().any(|role| role.get("roleid").is_some_and(|id| id == SYSTEM_ROLE)) {
        let role = [("roleid", SYSTEM_ROLE), ("privs", SYSTEM_PRIVILEGES)];
        root.call::<Option<Value>>(Method::POST, "/access/roles", &role).await.map_err(failed)?;
    }
    let rule = [("path", "/"), ("users", USER), ("roles", SYSTEM_ROLE), ("propagate", "1")];
    root.call::<Option<Value>>(Method::PUT, "/access/acl", &rule).await.map_err(failed)?;
    Ok(())
}

/// Makes the SDN controllers that a tree expects to find.
///
/// # Errors
/// The API refuses.
pub(super) async fn controllers(root: &Client, world: &World) -> Result<(), LabError> {
    if world.controllers.is_empty() {
        return Ok(());
    }
    let there: Vec<Value> = root.get("/cluster/sdn/controllers", &[]).await.map_err(failed)?;
    let is_there = |id: &String| {
        there.iter().any(|row| row.get("controller").is_some_and(|known| known == id))
    };
    let missing: Vec<&String> = world.controllers.iter().filter(|id| !is_there(id)).collect();
    for id in &missing {
        let keys = [
            ("controller", id.as_str()),
            ("type", "evpn"),
            ("asn", "65000"),
            ("peers", "10.99.0.1,10.99.0.2,10.99.0.3"),
        ];
        root.call::<Option<Value>>(Method::POST, "/cluster/sdn/controllers", &keys)
            .await
            .map_err(failed)?;
    }
    if !missing.is_empty() {
        root.sdn().apply(None).await.map_err(failed)?;
    }
    Ok(())
}
