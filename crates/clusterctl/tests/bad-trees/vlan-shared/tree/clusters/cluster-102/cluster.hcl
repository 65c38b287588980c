locals {
  cluster_id    = 102
  cluster_name  = "luna"
  controlplanes = 1
  workers       = 1
  network = { vlan_public = 101 }
}
