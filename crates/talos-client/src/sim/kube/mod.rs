//! A small Kubernetes API: enough to see nodes come up and to apply objects.

mod object;
mod serve;

pub(crate) use object::tend;
pub(crate) use serve::serve;
