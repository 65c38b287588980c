locals {
  zone_id    = "z1"
  exit_nodes = ["pve01"]
  rt_import  = "65000:1"
}
