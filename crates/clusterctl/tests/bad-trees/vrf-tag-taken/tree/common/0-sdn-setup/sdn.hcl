locals {
  zone_id    = "z1"
  controller = "c1"
  vrf_vxlan  = 10101
}
