locals {
  zone_id    = "z1"
  controller = { peers = [] }
}
