locals {
  proxmox_nodes = "pve01"
}
