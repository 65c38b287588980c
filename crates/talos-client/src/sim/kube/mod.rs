//! A small Kubernetes API: enough to see nodes come up and to apply objects.

mod object;
mod serve;
mod workload;

pub(crate) use object::tend;
pub(crate) use serve::serve;
