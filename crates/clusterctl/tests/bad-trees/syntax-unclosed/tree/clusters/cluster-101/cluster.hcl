locals {
  cluster_id = 101
