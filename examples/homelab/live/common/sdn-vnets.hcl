# The networks of the fabric: vnet100 for services that clusters share, one more for each cluster.
#
# For a real site: add a number here when you add a cluster. `clusterctl net check` proves that
# no two networks overlap.

locals {
  vnets = {
    for id in [100, 101, 102, 103] : "vnet${id}" => {
      alias        = "tenant ${id}"
      vxlan_id     = 10000 + id
      ipv6_subnet  = "fd00:${id}::/64"
      ipv6_gateway = "fd00:${id}::fffe"
      ipv4_subnet  = "10.${id}.0.0/24"
      ipv4_gateway = "10.${id}.0.254"
    }
  }
}
