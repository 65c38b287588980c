locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  node_overrides = { solwk01 = { disks = [{ size_gb = 10, storage = "fast" }] } }
}
