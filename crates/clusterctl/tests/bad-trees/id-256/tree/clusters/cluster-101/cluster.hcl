locals {
  cluster_id    = 256
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
}
