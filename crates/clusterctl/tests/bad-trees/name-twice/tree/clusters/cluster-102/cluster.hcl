locals {
  cluster_id    = 102
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
}
