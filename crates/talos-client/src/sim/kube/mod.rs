//! A small Kubernetes API: enough to see nodes come up and to apply objects.

mod evict;
mod object;
mod serve;
mod workload;

pub(crate) use evict::{drain, uncordon};
pub(crate) use object::tend;
pub(crate) use serve::serve;
