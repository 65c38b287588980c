locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  x = get_env("NO_SUCH_VARIABLE")
}
