locals {
  cluster_id    = 1000
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
}
