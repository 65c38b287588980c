locals {
  cluster_id    = 0
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
}
