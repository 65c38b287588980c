//! What a node can be asked and told, by subject.

mod apply;
mod boot;
mod bootstrap;
mod disk;
mod etcd;
mod event;
mod fact;
mod file;
mod kubeconfig;
mod log;
mod power;
mod redact;
mod resource;
mod service;
mod snapshot;
mod upgrade;
mod version;
mod watch;

pub use apply::{Applied, ApplyMode, Difference};
pub use bootstrap::Bootstrap;
pub use disk::{Disk, Wipe};
pub use etcd::{Alarm, EtcdMember, EtcdStatus};
pub use event::{EventOptions, Events, Happening, NodeEvent};
pub use fact::{Link, MachineStatus, Member, Stage, Unmet};
pub use kubeconfig::Kubeconfig;
pub use log::LogOptions;
pub use power::{RebootMode, ResetOptions, WipeMode};
pub use resource::{Query, Resource, kinds};
pub use service::{Service, ServiceEvent};
pub use snapshot::Snapshot;
pub use upgrade::{Image, ImageStore, PullProgress, UpgradeOptions};
pub use version::{Platform, Version};
pub use watch::{Event, EventKind, Watch, WatchOptions};
