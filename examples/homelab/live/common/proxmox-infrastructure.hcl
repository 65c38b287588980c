# The Proxmox VE cluster that carries everything.
#
# For a real site: your node names as `pvecm nodes` prints them, and your storages. Without
# `storage` the one shared storage that can hold ISO files or disks is taken.

locals {
  site = "homelab"

  proxmox_nodes        = ["pve01", "pve02", "pve03"]
  proxmox_primary_node = local.proxmox_nodes[0]
}
