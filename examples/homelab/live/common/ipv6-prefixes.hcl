# Prefixes that your provider delegated, by VNet. Nodes take an address from them only with
# `network.node_gua = true` in their `cluster.hcl`.
#
# For a real site: replace the documentation prefixes (2001:db8::/32) by your own.

locals {
  delegated_prefixes = {
    for id in [100, 101, 102, 103] : "vnet${id}" => "2001:db8:0:${id}::/64"
  }

  delegated_gateways = {
    for vnet, prefix in local.delegated_prefixes : vnet => cidrhost(prefix, 65534)
  }
}
