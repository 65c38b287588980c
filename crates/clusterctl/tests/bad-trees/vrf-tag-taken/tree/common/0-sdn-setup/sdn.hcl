locals {
  zone_id   = "z1"
  vrf_vxlan = 10101
}
