locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  x = file("${get_repo_root()}/live/common/outside")
}
