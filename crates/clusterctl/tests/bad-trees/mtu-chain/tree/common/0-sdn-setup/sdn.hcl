locals {
  zone_id = "z1"
  mtu     = 1450
}
