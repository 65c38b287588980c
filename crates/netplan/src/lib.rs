#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! - [`id`]: identifiers with their ranges.
//! - [`pattern`]: how a number becomes a prefix or an address.
//! - [`input`]: what a plan is made from.
//! - [`plan`]: what it says, every value with its formula.
//! - [`finding`]: what is wrong with it, with codes that stay.
//! - [`identity`]: MAC addresses and UUIDs.

mod conflict;
mod derive;
pub mod finding;
pub mod id;
pub mod identity;
pub mod input;
pub mod pattern;
pub mod plan;
mod rule;

pub use derive::plan_site;
pub use finding::{Code, Finding, Owner, Severity};
pub use id::{Asn, ClusterId, ClusterName, MacAddr, Suffix, TenantId, VlanId, VmId, Vni};
pub use input::{ClusterInput, Scheme, SiteInput};
pub use pattern::{Family, Pattern};
pub use plan::{ClusterPlan, Derived, NodePlan, Role, SitePlan};
