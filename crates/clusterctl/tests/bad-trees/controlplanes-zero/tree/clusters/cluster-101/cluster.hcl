locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 0
  workers       = 1
}
