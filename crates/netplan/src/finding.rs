//! Findings: what is wrong with a plan, with codes that stay.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Works, but hardly as meant.
    Warning,
    /// The plan cannot be carried out.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $title:literal;)+) => {
        /// What a finding is about. A code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $number)] $name,)+
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as text, such as `net-0001`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $number,)+ }
            }

            /// What it is about, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// Two clusters have one id.
    ClusterId = "net-0001", "two clusters have one id";
    /// Two clusters have one tenant id.
    TenantId = "net-0002", "two clusters have one tenant id";
    /// Two clusters have one name.
    ClusterName = "net-0003", "two clusters have one name";
    /// Two nodes have one name.
    NodeName = "net-0004", "two nodes have one name";
    /// Two nodes have one VM id.
    VmId = "net-0005", "two nodes have one VM id";
    /// Two cards have one MAC address.
    Mac = "net-0006", "two cards have one MAC address";
    /// Two nodes have one UUID.
    Uuid = "net-0007", "two nodes have one UUID";
    /// Two segments have one VXLAN tag.
    Vni = "net-0008", "two segments have one VXLAN tag";
    /// Two routers have one AS number.
    Asn = "net-0009", "two routers have one AS number";
    /// Two prefixes overlap.
    Prefix = "net-0010", "two prefixes overlap";
    /// Two things have one address.
    Address = "net-0011", "two things have one address";
    /// Two clusters use one VLAN of a bridge, or one VNet.
    Segment = "net-0012", "two clusters are on one segment";
    /// Two VNets are described with one VLAN tag.
    Vlan = "net-0013", "two VNets have one VLAN tag";
    /// The number has no place in an IPv4 pattern.
    Octet = "net-0020", "the number has no place in a pattern";
    /// A pattern gives no address.
    Pattern = "net-0021", "a pattern gives no address";
    /// A suffix is out of range.
    Suffix = "net-0022", "a suffix is out of range";
    /// Control planes reach the workers' suffixes.
    Offset = "net-0023", "control planes reach the workers' suffixes";
    /// A node's name is too long.
    NameLength = "net-0024", "a node's name is too long";
    /// An AS number is outside of the range for private use.
    AsnRange = "net-0025", "an AS number is not for private use";
    /// More nodes than the pod range has room for.
    PodCapacity = "net-0026", "more nodes than the pod range holds";
    /// The chain of MTUs does not hold.
    Mtu = "net-0027", "the chain of MTUs does not hold";
    /// A VNet's subnet is not the one of the nodes on it.
    VnetSubnet = "net-0028", "a VNet's subnet is not that of its nodes";
    /// A delegated address is asked for, but there is no prefix.
    Delegated = "net-0029", "there is no delegated prefix";
    /// Nodes have no address of any family.
    NoAddress = "net-0030", "nodes have no address";
    /// A cluster has no range of pods or services of its families.
    Families = "net-0031", "pods and services have other families than nodes";
    /// A derived tag is out of range.
    Tag = "net-0032", "a tag is out of range";
    /// A managed cluster has no control plane.
    NoControlPlane = "net-0033", "there is no control plane";
    /// An even number of control planes.
    EvenControlPlanes = "net-0034", "an even number of control planes";
    /// A service range that Kubernetes does not take.
    ServiceRange = "net-0035", "a service range that Kubernetes does not take";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something to know about a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// Its code.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: a cluster, a node, a pattern.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
    /// Whose it is; in a conflict the first owner.
    pub owner: Owner,
    /// The second owner of a conflict.
    pub other: Option<Owner>,
}

/// Who uses something, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// Who and what for, such as `node solcp01: public IPv4 address`.
    pub what: String,
    /// The folder name or id of the cluster that it belongs to, if any.
    pub cluster: Option<String>,
    /// Where it is written.
    pub origin: Option<String>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {}: {}", self.severity, self.code, self.subject, self.message)
    }
}
