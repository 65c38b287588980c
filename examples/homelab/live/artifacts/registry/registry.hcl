# Puts the ISO on the Proxmox nodes.
#
# For a real site: nothing needs to change; `proxmox_datastore_id` names a storage when there are
# several that hold ISO files.

locals {
  infrastructure     = read_terragrunt_config("../../common/proxmox-infrastructure.hcl").locals
  proxmox_node_names = local.infrastructure.proxmox_nodes
}
