locals {
  zone_id = "z1"
  vnets   = { vnet101 = { ipv4_subnet = "10.9.0.0/24" } }
}
