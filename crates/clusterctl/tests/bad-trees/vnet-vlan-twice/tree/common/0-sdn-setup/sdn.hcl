locals {
  zone_id = "z1"
  vnets   = { vnet101 = { vlan_id = 7 }, vnet102 = { vlan_id = 7 } }
}
