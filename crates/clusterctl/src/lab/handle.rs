//! What a verb holds of the lab.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;
use serde_json::Value;

use super::control;
use super::error::LabError;
use super::file::LabFile;
use super::launch::{self, Down, Launch};
use super::paths::Paths;
use super::protocol::{LabStatus, Request};
use super::world::World;
use crate::spec::root::Root;
use crate::spec::site::Site;

/// A lab that runs and knows the tree. Calls block for as long as the lab takes to answer.
#[derive(Debug, Clone)]
pub struct Lab {
    paths: Paths,
    file: LabFile,
    is_new: bool,
}

impl Lab {
    /// The lab of this tree: started when it is not there, told what the tree plans.
    ///
    /// # Errors
    /// It does not start, was started by another build of this program, or cannot be what the
    /// tree wants.
    pub fn ensure(root: &Root, site: &Site) -> Result<Self, LabError> {
        Self::ensure_with(root, site, &Launch::this()?)
    }

    /// As [`ensure`](Self::ensure), with a program other than this one, as tests need it.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub fn ensure_with(root: &Root, site: &Site, launch: &Launch) -> Result<Self, LabError> {
        let started = launch.up(root, &World::of(site))?;
        Ok(Self { paths: Paths::of(&root.live), file: started.file, is_new: started.is_new })
    }

    /// The lab of this tree, if it runs; of whichever build it is, told nothing.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn running(root: &Root) -> Result<Option<Self>, LabError> {
        let paths = Paths::of(&root.live);
        let file = launch::running(&paths)?;
        Ok(file.map(|file| Self { paths, file, is_new: false }))
    }

    /// Ends the lab of this tree; what the simulators hold is kept for the next one.
    ///
    /// # Errors
    /// It does not end, or its files cannot be removed.
    pub fn down(root: &Root) -> Result<Down, LabError> {
        launch::down(&Paths::of(&root.live))
    }

    /// It was started by this call.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Everything about where it is.
    pub fn file(&self) -> &LabFile {
        &self.file
    }

    /// `https://127.0.0.1:PORT`.
    pub fn proxmox_endpoint(&self) -> &str {
        &self.file.proxmox.endpoint
    }

    /// A token with the rights that a site gives its automation, `USER@REALM!ID=SECRET`.
    pub fn proxmox_token(&self) -> SecretString {
        self.file.proxmox.token()
    }

    /// User and password of root, for the few things that only root may do, such as giving a
    /// machine a PCI device by its address.
    pub fn proxmox_root(&self) -> (&'static str, SecretString) {
        ("root@pam", self.file.proxmox.root_password())
    }

    /// The authorities of the simulated Proxmox, factory and registry: several certificates, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.file.ca_pem
    }

    /// The port on loopback for every planned address and port: 50000 and 6443 of nodes and of
    /// virtual addresses.
    pub fn talos_dial(&self) -> BTreeMap<(IpAddr, u16), SocketAddr> {
        self.file.talos_dial()
    }

    /// The port on loopback for the names of the factory and of every registry of the tree.
    pub fn factory_dial(&self) -> BTreeMap<(String, u16), SocketAddr> {
        self.file.factory_dial()
    }

    /// The overlay: every file that would be written to the tree is written here.
    pub fn tree_dir(&self) -> PathBuf {
        self.paths.tree()
    }

    /// What runs in it.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn status(&self) -> Result<LabStatus, LabError> {
        control::ask(&self.file.socket, &Request::Status)
    }

    /// The truth, for those who judge: `{"pve": …, "talos": …, "factory": …}`, each from the
    /// simulator's own state.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn snapshot(&self) -> Result<Value, LabError> {
        control::ask(&self.file.socket, &Request::Snapshot)
    }

    /// Breaks or changes something; `docs/lab.md` lists what.
    ///
    /// # Errors
    /// It cannot be reached, or does not understand.
    pub fn faults(&self, spec: Value) -> Result<(), LabError> {
        control::tell(&self.file.socket, &Request::Faults { spec })
    }
}
