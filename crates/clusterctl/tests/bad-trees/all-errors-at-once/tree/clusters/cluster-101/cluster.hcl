locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  a = local.nope
  b = nope()
  c = 1 / 0
}
