locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 11
  workers       = 1
}
