//! netplan.
