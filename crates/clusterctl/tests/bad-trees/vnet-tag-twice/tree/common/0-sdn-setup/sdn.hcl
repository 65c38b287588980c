locals {
  zone_id = "z1"
  vnets   = { vnet101 = { vxlan_id = 7 }, vnet102 = { vxlan_id = 7 } }
}
