//! talos-client.
