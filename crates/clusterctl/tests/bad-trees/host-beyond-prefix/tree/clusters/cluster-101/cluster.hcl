locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  x = cidrhost("10.0.0.0/30", 9)
}
