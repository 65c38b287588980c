//! Version and host name.

use crate::client::{Client, call};
use crate::error::Error;
use crate::proto::machine;

/// What runs on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// Version of Talos, such as `v1.13.9`.
    pub tag: String,
    /// Commit it was built from.
    pub sha: String,
    /// When it was built; empty in releases.
    pub built: String,
    /// Version of the compiler.
    pub go_version: String,
    /// Operating system.
    pub os: String,
    /// Architecture, such as `amd64`.
    pub arch: String,
    /// The platform, where the node says it.
    pub platform: Option<Platform>,
    /// Roles are enforced. A node in maintenance mode says nothing about it.
    pub rbac: Option<bool>,
}

/// The platform of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Platform {
    /// Name, such as `nocloud` or `metal`.
    pub name: String,
    /// Mode, such as `cloud` or `metal`.
    pub mode: String,
}

impl Version {
    /// Major and minor version; none if the tag is no version.
    pub fn minor(&self) -> Option<(u64, u64)> {
        let version = semver::Version::parse(self.tag.trim_start_matches('v')).ok()?;
        Some((version.major, version.minor))
    }
}

impl Client {
    /// What runs on the node. Nodes up to 1.12 do not tell it in maintenance mode.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn version(&self) -> Result<Version, Error> {
        let answer = self.ask::<_, machine::VersionResponse>(&call::VERSION, ()).await?;
        let info =
            answer.version.ok_or_else(|| self.odd(&call::VERSION, "the answer has no version"))?;
        Ok(Version {
            tag: info.tag,
            sha: info.sha,
            built: info.built,
            go_version: info.go_version,
            os: info.os,
            arch: info.arch,
            platform: answer.platform.map(|p| Platform { name: p.name, mode: p.mode }),
            rbac: answer.features.map(|features| features.rbac),
        })
    }

    /// The host name; none while the node has none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn hostname(&self) -> Result<Option<String>, Error> {
        let answer = self.ask::<_, machine::HostnameResponse>(&call::HOSTNAME, ()).await?;
        Ok((!matches!(answer.hostname.as_str(), "" | "(none)")).then_some(answer.hostname))
    }
}
