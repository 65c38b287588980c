//! What a node says of itself.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::kinds::{self, Kind};
use super::resource::Resource;
use crate::client::{Client, call};
use crate::error::{Error, ErrorKind};
use crate::proto::machine;

/// How far a machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// It does not say.
    #[default]
    Unknown,
    /// It boots. A control plane that waits for its bootstrap stays here.
    Booting,
    /// It installs itself to its disk.
    Installing,
    /// It waits for a configuration.
    Maintenance,
    /// It runs.
    Running,
    /// It reboots.
    Rebooting,
    /// It powers itself off.
    ShuttingDown,
    /// It wipes itself.
    Resetting,
    /// It installs another version.
    Upgrading,
    /// A stage that is not known here.
    Other(String),
}

impl Stage {
    fn read(text: &str) -> Self {
        match text {
            "" | "unknown" => Self::Unknown,
            "booting" => Self::Booting,
            "installing" => Self::Installing,
            "maintenance" => Self::Maintenance,
            "running" => Self::Running,
            "rebooting" => Self::Rebooting,
            "shutting down" => Self::ShuttingDown,
            "resetting" => Self::Resetting,
            "upgrading" => Self::Upgrading,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Booting => "booting",
            Self::Installing => "installing",
            Self::Maintenance => "maintenance",
            Self::Running => "running",
            Self::Rebooting => "rebooting",
            Self::ShuttingDown => "shutting down",
            Self::Resetting => "resetting",
            Self::Upgrading => "upgrading",
            Self::Other(text) => text,
        })
    }
}

/// What keeps a machine from being ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Unmet {
    /// Name of the condition, such as `network`.
    pub name: String,
    /// Why it is not met.
    pub reason: String,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

/// Stage and readiness of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MachineStatus {
    /// How far it is.
    pub stage: Stage,
    /// Nothing is missing for this stage.
    pub ready: bool,
    /// What is missing.
    pub unmet: Vec<Unmet>,
}

impl MachineStatus {
    /// Of a resource of the kind [`kinds::MACHINE_STATUS`], for those who watch it.
    ///
    /// # Errors
    /// Its content is another.
    pub fn from_resource(resource: &Resource) -> Result<Self, Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Status {
            ready: bool,
            #[serde(rename = "unmetConditions", deserialize_with = "listed")]
            unmet: Vec<Unmet>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Spec {
            stage: String,
            status: Status,
        }
        let spec: Spec = resource.typed()?;
        let stage = Stage::read(&spec.stage);
        Ok(Self { stage, ready: spec.status.ready, unmet: spec.status.unmet })
    }
}

/// A list that may be null.
fn listed<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A member of the cluster that discovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Member {
    /// Identity of the node within discovery.
    pub node_id: String,
    /// Addresses of the node.
    #[serde(deserialize_with = "listed")]
    pub addresses: Vec<IpAddr>,
    /// Host name.
    pub hostname: String,
    /// `controlplane` or `worker`.
    pub machine_type: String,
    /// Such as `Talos (v1.13.9)`.
    pub operating_system: String,
}

/// A network card or another link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Link {
    /// Name, such as `eth0`.
    #[serde(skip)]
    pub name: String,
    /// Address of the hardware.
    pub hardware_addr: String,
    /// Its address when it left the factory.
    pub permanent_addr: String,
    /// Other names.
    #[serde(deserialize_with = "listed")]
    pub alt_names: Vec<String>,
    /// Largest packet.
    pub mtu: u32,
    /// `ether`, `loopback` and others.
    #[serde(rename = "type")]
    pub link_type: String,
    /// Kind of a link that is no hardware, such as `vlan`, `bridge`, `bond`; empty for hardware.
    pub kind: String,
    /// The cable is in.
    pub link_state: bool,
    /// Such as `up` and `down`.
    pub operational_state: String,
    /// Where the card is attached.
    pub bus_path: String,
    /// Its driver.
    pub driver: String,
}

/// A system extension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Extension {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// What it is.
    pub description: String,
}

impl Client {
    async fn fact(&self, kind: Kind, id: &str) -> Result<Resource, Error> {
        self.get(kind.0, kind.1, id).await
    }

    /// Stage and readiness, in maintenance mode too.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn machine_status(&self) -> Result<MachineStatus, Error> {
        let resource = self.fact(kinds::MACHINE_STATUS, "machine").await?;
        MachineStatus::from_resource(&resource).map_err(|error| self.named(error))
    }

    /// `controlplane`, `worker`, or `unknown` without a configuration.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn machine_type(&self) -> Result<String, Error> {
        let resource = self.fact(kinds::MACHINE_TYPE, "machine-type").await?;
        let text = resource.spec.as_str();
        let text = text.ok_or_else(|| self.odd(&call::GET, "the machine type is no text"))?;
        Ok(text.to_owned())
    }

    /// SMBIOS UUID of the machine: for Proxmox that of the virtual machine. In maintenance mode
    /// too.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn system_uuid(&self) -> Result<Uuid, Error> {
        let resource = self.fact(kinds::SYSTEM_INFORMATION, "systeminformation").await?;
        let text = resource.text("/uuid").unwrap_or_default();
        let wrong = |_| self.odd(&call::GET, "the system's information has no UUID");
        Uuid::parse_str(text).map_err(wrong)
    }

    /// Makes sure that the node is the machine with that UUID, before anything is sent to it.
    ///
    /// # Errors
    /// [`ErrorKind::WrongNode`] if it is another; else see [`Error`].
    pub async fn expect_uuid(&self, uuid: Uuid) -> Result<(), Error> {
        let found = self.system_uuid().await?;
        if found == uuid {
            return Ok(());
        }
        let text = format!("the machine at this address has the UUID {found}, expected is {uuid}");
        Err(Error::new(ErrorKind::WrongNode, "identify the node", text).at(self.address()))
    }

    /// Addresses of the node with their prefixes, without those of pods and services where they
    /// are told apart.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn addresses(&self) -> Result<Vec<IpNet>, Error> {
        let resource = self.fact(kinds::NODE_ADDRESS, "current").await?;
        let list = resource.spec.pointer("/addresses").and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        Ok(texts.filter_map(|text| text.parse().ok()).collect())
    }

    /// Network cards and other links, ordered by name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let (namespace, kind) = kinds::LINK;
        let mut links = Vec::new();
        for resource in self.list(namespace, kind).await? {
            let mut link: Link = resource.typed().map_err(|error| self.named(error))?;
            link.name = resource.id;
            links.push(link);
        }
        links.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(links)
    }

    /// Members of the cluster that discovery found, this node among them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let (namespace, kind) = kinds::MEMBER;
        let resources = self.list(namespace, kind).await?;
        let members: Result<Vec<Member>, Error> = resources.iter().map(Resource::typed).collect();
        members.map_err(|error| self.named(error))
    }

    /// Problems that the node sees itself, one line each.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn diagnostics(&self) -> Result<Vec<String>, Error> {
        let (namespace, kind) = kinds::DIAGNOSTIC;
        let resources = self.list(namespace, kind).await?;
        let line = |resource: &Resource| match resource.text("/message") {
            Some(message) => format!("{}: {message}", resource.id),
            None => resource.id.clone(),
        };
        Ok(resources.iter().map(line).collect())
    }

    /// System extensions of the node; the schematic of a factory is among them, see
    /// [`Client::schematic`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn extensions(&self) -> Result<Vec<Extension>, Error> {
        #[derive(Deserialize)]
        struct Spec {
            #[serde(default)]
            metadata: Extension,
        }
        let (namespace, kind) = kinds::EXTENSION_STATUS;
        let mut all = Vec::new();
        for resource in self.list(namespace, kind).await? {
            let spec: Spec = resource.typed().map_err(|error| self.named(error))?;
            all.push(spec.metadata);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The schematic that the node's image was made of by an image factory; none if it was not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn schematic(&self) -> Result<Option<String>, Error> {
        let extensions = self.extensions().await?;
        let found = extensions.into_iter().find(|extension| extension.name == "schematic");
        Ok(found.map(|extension| extension.version).filter(|version| !version.is_empty()))
    }

    /// Bytes of memory.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn memory(&self) -> Result<u64, Error> {
        let answer = self.ask::<_, machine::MemoryResponse>(&call::MEMORY, ()).await?;
        let info = answer.meminfo.unwrap_or_default();
        Ok(info.memtotal.saturating_mul(1024))
    }

    /// The active machine configuration, all its documents; none without one. **Secret**;
    /// administrators only.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn machine_config(&self) -> Result<Option<SecretString>, Error> {
        self.config_resource("v1alpha1").await
    }

    /// The machine configuration that the node has kept for its next boot, when one was applied since
    /// it started: another one than the active when it was staged. **Secret**; administrators only.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stored_machine_config(&self) -> Result<Option<SecretString>, Error> {
        self.config_resource("persistent").await
    }

    async fn config_resource(&self, id: &str) -> Result<Option<SecretString>, Error> {
        let (namespace, kind) = kinds::MACHINE_CONFIG;
        let Some(resource) = self.find(namespace, kind, id).await? else {
            return Ok(None);
        };
        // A text of several documents within one; older nodes send the document itself.
        let text = match &resource.spec {
            Value::String(text) => text.as_str(),
            _ => resource.yaml(),
        };
        Ok(Some(text.to_owned().into()))
    }

    /// Name of the Kubernetes node; none before it is known.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn node_name(&self) -> Result<Option<String>, Error> {
        let (namespace, kind) = kinds::NODENAME;
        let resource = self.find(namespace, kind, "nodename").await?;
        Ok(resource.and_then(|resource| resource.text("/nodename").map(str::to_owned)))
    }
}
