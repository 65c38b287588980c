locals {
  cluster_id    = "many"
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
}
