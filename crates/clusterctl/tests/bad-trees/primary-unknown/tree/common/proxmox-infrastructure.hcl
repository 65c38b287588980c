locals {
  proxmox_nodes        = ["pve01"]
  proxmox_primary_node = "pve07"
}
