# The SDN zone with its controller and networks.
#
# For a real site: the AS number and peers of your fabric; `exit_nodes` lead out of it.

locals {
  infrastructure = read_terragrunt_config("../proxmox-infrastructure.hcl").locals
  networks       = read_terragrunt_config("../sdn-vnets.hcl").locals

  zone_id   = "evpnz1"
  vrf_vxlan = 4096
  mtu       = 1450

  nodes             = local.infrastructure.proxmox_nodes
  exit_nodes        = local.infrastructure.proxmox_nodes
  primary_exit_node = local.infrastructure.proxmox_primary_node

  controller = {
    id    = "evpnc1"
    asn   = 65000
    peers = ["10.10.0.1", "10.10.0.2", "10.10.0.3"]
  }

  vnets = local.networks.vnets

  # No delegated prefix is attached in this example.
  delegated_prefixes = {}
}
