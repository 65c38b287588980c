locals {
  vnets = { vnet101 = { vxlan_id = 7 } }
}
