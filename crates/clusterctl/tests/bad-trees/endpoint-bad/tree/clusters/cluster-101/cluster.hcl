locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  network = { cluster_endpoint = "10.0.0.1" }
}
