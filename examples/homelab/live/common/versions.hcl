# Versions that every cluster shares. This file also marks the root of the tree: clusterctl
# looks upward for `common/versions.hcl`.
#
# For a real site: raise `talos_version` first, then `kubernetes_version`, one minor at a time.

locals {
  talos_version      = "v1.11.5"
  kubernetes_version = "v1.31.4"
  cilium_version     = "1.18.4"

  talos_platform     = "nocloud"
  talos_architecture = "amd64"

  # Upgrades go from the first ring to the last.
  rings = [["terra"], ["luna"], ["sol"]]
}
