locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 3
  workers       = 14
}
