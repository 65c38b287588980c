locals {
  proxmox_nodes     = ["pve01", "pve02"]
  proxmox_hostnames = ["a"]
}
