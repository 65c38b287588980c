locals {
  cluster_id    = 255
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
}
