locals {
  proxmox_nodes = ["pve01", "pve02"]
}
