locals {
  zone_id = "z1"
  vnets   = { vnetnumber1 = { vxlan_id = 7 } }
}
