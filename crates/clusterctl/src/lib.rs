//! clusterctl.
