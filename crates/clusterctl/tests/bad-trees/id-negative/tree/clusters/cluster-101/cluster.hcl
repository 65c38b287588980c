locals {
  cluster_id    = -1
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
}
