locals {
  zone_id = "z1"
}
