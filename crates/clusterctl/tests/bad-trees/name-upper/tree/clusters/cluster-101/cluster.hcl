locals {
  cluster_id    = 101
  cluster_name  = "Sol"
  controlplanes = 1
  workers       = 1
}
