//! Roles of certificates, and what each of them may do.

use std::fmt;
use std::str::FromStr;

/// A role that a client's certificate has, as a name of its organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Everything.
    Admin,
    /// What keeps a node running, without its secrets.
    Operator,
    /// What is no secret.
    Reader,
    /// Snapshots of etcd, and nothing else: not even the version.
    EtcdBackup,
    /// Signatures of images, from 1.13 on.
    ImageVerifier,
    /// Keys of META, from 1.13 on.
    MetaWriter,
    /// Nodes among one another, when they forward calls; alone it may do nothing.
    Impersonator,
}

/// What a role may be needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Deed {
    /// Versions, services, logs, events, folders, disks, and resources that are no secrets.
    Read,
    /// Files, archives, machine configurations, kubeconfigs.
    ReadSecrets,
    /// Members, status and alarms of etcd.
    ReadEtcd,
    /// Applying a configuration, bootstrap, reset, upgrade, rollback, wiping.
    Change,
    /// Reboot and shutdown; starting, stopping and restarting services.
    Power,
    /// A snapshot of etcd.
    SnapshotEtcd,
    /// Defragmenting etcd and disarming its alarms.
    TendEtcd,
    /// Members of etcd: leaving, removing, leadership, recovery.
    ChangeEtcd,
    /// Pulling images.
    PullImages,
    /// Removing images.
    RemoveImages,
    /// Writing and deleting keys of META.
    WriteMeta,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::ReadSecrets,
        Self::ReadEtcd,
        Self::Change,
        Self::Power,
        Self::SnapshotEtcd,
        Self::TendEtcd,
        Self::ChangeEtcd,
        Self::PullImages,
        Self::RemoveImages,
        Self::WriteMeta,
    ];
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Admin,
        Self::Operator,
        Self::Reader,
        Self::EtcdBackup,
        Self::ImageVerifier,
        Self::MetaWriter,
        Self::Impersonator,
    ];

    /// Its name, as certificates have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "os:admin",
            Self::Operator => "os:operator",
            Self::Reader => "os:reader",
            Self::EtcdBackup => "os:etcd:backup",
            Self::ImageVerifier => "os:image:verifier",
            Self::MetaWriter => "os:meta:writer",
            Self::Impersonator => "os:impersonator",
        }
    }

    /// Whether nodes let it do that. Roles that a version does not have may do nothing there.
    pub fn may(self, deed: Deed) -> bool {
        match self {
            Self::Admin => true,
            Self::Operator => matches!(
                deed,
                Deed::Read
                    | Deed::ReadEtcd
                    | Deed::Power
                    | Deed::SnapshotEtcd
                    | Deed::TendEtcd
                    | Deed::PullImages
            ),
            Self::Reader => matches!(deed, Deed::Read | Deed::ReadEtcd),
            Self::EtcdBackup => matches!(deed, Deed::ReadEtcd | Deed::SnapshotEtcd),
            Self::MetaWriter => deed == Deed::WriteMeta,
            Self::ImageVerifier | Self::Impersonator => false,
        }
    }

    /// The roles that may, the least powerful first.
    pub fn that_may(deed: Deed) -> impl Iterator<Item = Self> {
        let powers = |role: &Self| Deed::ALL.iter().filter(|deed| role.may(**deed)).count();
        let mut roles: Vec<Self> = Self::ALL.into_iter().filter(|role| role.may(deed)).collect();
        roles.sort_by_key(powers);
        roles.into_iter()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("{text:?} is no role of the machine API"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_powerful_role_is_named_first() {
        let least = |deed| Role::that_may(deed).next().unwrap();
        assert_eq!(least(Deed::SnapshotEtcd), Role::EtcdBackup);
        assert_eq!(least(Deed::WriteMeta), Role::MetaWriter);
        assert_eq!(least(Deed::Power), Role::Operator);
        assert_eq!(least(Deed::Change), Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("admin".parse::<Role>().is_err());
    }
}
