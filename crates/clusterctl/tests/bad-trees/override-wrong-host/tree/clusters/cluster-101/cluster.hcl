locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  node_overrides = { solwk01 = { node_name = "pve09" } }
}
