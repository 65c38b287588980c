//! Messages of the machine API, generated from the files below `proto`.
//!
//! The client names its calls itself; services are not generated. Hidden from
//! the documentation: no promise is made about it.

#![expect(clippy::pedantic, reason = "generated: names of the wire")]

use std::fmt;

pub mod cluster;
pub mod common;
pub mod machine;
pub mod storage;
pub mod time;

#[path = "cosi.resource.rs"]
pub mod cosi_resource;
#[path = "google.rpc.rs"]
pub mod google_rpc;

/// Resources of a node.
pub mod cosi {
    pub use super::cosi_resource as resource;
}

/// Types that gRPC itself has.
pub mod google {
    pub use super::google_rpc as rpc;
}

/// Shows how long a secret is, and nothing of it.
macro_rules! closed {
    ($($type:path: $($field:ident),+;)+) => {
        $(impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($type));
                $(shown.field(stringify!($field), &format_args!("({} bytes)", self.$field.len()));)+
                shown.finish_non_exhaustive()
            }
        })+
    };
}

closed! {
    common::Data: bytes;
    cosi::resource::Spec: proto_spec, yaml_spec;
    machine::ApplyConfigurationRequest: data;
    machine::ApplyConfiguration: mode_details;
    machine::GenerateClientConfiguration: ca, crt, key, talosconfig;
}

impl fmt::Debug for machine::apply_configuration_request::Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str_name())
    }
}
